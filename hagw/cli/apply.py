"""`hagw apply`: put a configuration in force, all of it or nothing; `hagw confirm`: keep it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from hagw.cli import session
from hagw.cli.change import put_in_force, show
from hagw.cli.client import post
from hagw.cli.output import print_document
from hagw.control.places import api_socket, config_file

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


def apply(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="The configuration; HAGW_CONFIG or /etc/hagw/hagw.yaml if left out."),
    ] = None,
    confirm_within: Annotated[
        float | None,
        typer.Option(
            "--confirm-within", metavar="S", min=1, max=86400, help="Revert unless confirmed within so many seconds."
        ),
    ] = None,
    note: Annotated[str, typer.Option("--note", help="Why, for the history.")] = "",
    offline: Annotated[
        bool, typer.Option("--offline", help="With no daemon running: have the next one run it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put a configuration in force; if traffic does not flow as before, everything is put back."""
    if offline:
        _adopt(file or config_file(), as_json)
        return
    _show(put_in_force(file, note, confirm_within), as_json)


def confirm(as_json: AsJson = False) -> None:
    """Keep the configuration that waits for its confirmation."""
    _show(post(api_socket(), "/config/confirm", {}), as_json)


def rollback(
    generation: Annotated[
        int | None, typer.Argument(metavar="[GENERATION]", min=1, help="As `hagw history` numbers them.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take back what waits for its confirmation; else put the generation before, or this one, in force again."""
    body = {"generation": generation, "by": session.user(), "caller": session.caller()}
    _show(post(api_socket(), "/config/rollback", body), as_json)


def _adopt(file: Path, as_json: bool) -> None:
    from hagw.daemon import adopt

    number = adopt(config_file(), file, session.user())
    if as_json:
        print_document({"schema": 1, "result": "in force", "generation": number})
    else:
        print(f"Generation {number} is what the next daemon runs.")


def _show(document: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_document(document)
    else:
        show(document)
