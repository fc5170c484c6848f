"""`hagw doctor`: what this machine has, lacks and runs beside hagw, with a sentence to act on."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hagw.cli.client import get
from hagw.cli.output import print_document
from hagw.control.places import api_socket, config_file, state_dir
from hagw.errors import DaemonUnreachable, HagwError, UnsupportedEnvironment

if TYPE_CHECKING:
    from hagw.doctor.evidence import Daemon
    from hagw.model.finding import Finding

SCHEMA = 1
_PROBLEM = 1


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
    config: Annotated[
        Path | None, typer.Option("--config", help="The configuration; HAGW_CONFIG or /etc/hagw/hagw.yaml if left out.")
    ] = None,
) -> None:
    """Examine kernel, rivals, lines and the machine; works with and without a daemon, best as root."""
    from hagw.doctor.examine import examine

    found = examine(config or config_file(), _daemon(), state_dir())
    if as_json:
        print_document({"schema": SCHEMA, "findings": [asdict(finding) for finding in found]})
    else:
        _print(found)
    problems = [finding for finding in found if finding.severity == "problem"]
    if any(finding.id.startswith("kernel.") for finding in problems):
        raise typer.Exit(UnsupportedEnvironment.exit_code)
    if problems:
        raise typer.Exit(_PROBLEM)


def _daemon() -> "Daemon":
    from hagw.doctor.evidence import Daemon

    try:
        status = get(api_socket(), "/status")
    except DaemonUnreachable as why:
        return Daemon(None, str(why))
    except HagwError as why:
        return Daemon("unknown", str(why))
    return Daemon(status["state"], status["reason"])


def _print(found: "tuple[Finding, ...]") -> None:
    for finding in found:
        print(f"{finding.severity:<8} {finding.id}: {finding.found}")
        if finding.act:
            print(f"{'':<8} -> {finding.act}")
    counts = {severity: sum(f.severity == severity for f in found) for severity in ("problem", "warning", "note")}
    print(", ".join(f"{count} {severity}{'' if count == 1 else 's'}" for severity, count in counts.items()))
