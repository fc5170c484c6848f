"""`hagw plan`: what applying a configuration would do. `hagw diff`: what differs. `hagw history`: what was."""

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from hagw.cli import session
from hagw.cli.client import get, post
from hagw.cli.output import print_document, print_table
from hagw.cli.texts import read_config
from hagw.control.places import api_socket, config_file
from hagw.errors import Refused

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


def plan(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="The configuration; HAGW_CONFIG or /etc/hagw/hagw.yaml if left out."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what applying a configuration would do, step by step; changes nothing."""
    chosen = file or config_file()
    body = {"text": read_config(chosen), "filename": str(chosen), "caller": session.caller()}
    document = post(api_socket(), "/config/plan", body)
    if as_json:
        print_document(document)
    else:
        _print_list("The configuration changes:", document["changes"], "The configuration means the same as now.")
        _print_list("The kernel is changed in this order:", document["steps"], "Nothing is changed in the kernel.")
    if document["obstacles"]:
        raise Refused("It cannot be applied: " + "; ".join(document["obstacles"]) + ".")


def diff(
    a: Annotated[str, typer.Argument(metavar="[A]", help="A generation's number; what is in force if left out.")] = "",
    b: Annotated[
        str, typer.Argument(metavar="[B]", help="A generation's number, or `file`: the configuration file.")
    ] = "file",
    as_json: AsJson = False,
) -> None:
    """Show what differs between two configurations, line by line: what is in force, a generation, the file."""
    document = get(api_socket(), "/config/diff?" + urlencode({"a": a, "b": b}))
    if as_json:
        print_document(document)
    else:
        print(document["diff"], end="")


def history(as_json: AsJson = False) -> None:
    """List the configurations that were in force or tried, newest first, and what became of each."""
    document = get(api_socket(), "/config/history")
    if as_json:
        print_document(document)
        return
    rows = [_row(each, document["generation"]) for each in reversed(document["generations"])]
    print_table(("GENERATION", "WHEN", "BY", "STATE", "NOTE", "REASON"), rows)
    if document["file_differs"]:
        print("The configuration file says something else; `hagw diff` shows it, `hagw apply` puts it in force.")


def _row(generation: dict[str, Any], current: int) -> list[str]:
    result = generation["result"]
    if generation["number"] == current and result == "committed":
        result = "in force"
    return [
        str(generation["number"]),
        generation["created"],
        generation["by"],
        result,
        generation["note"],
        generation["reason"],
    ]


def _print_list(title: str, lines: list[str], none: str) -> None:
    print(title if lines else none)
    for line in lines:
        print(f"  {line}")
