"""Ask the daemon to change the configuration, and say what came of it."""

from pathlib import Path
from typing import Any

from hagw.cli import session
from hagw.cli.client import post
from hagw.cli.texts import read_config
from hagw.control.places import api_socket, config_file


def put_in_force(file: Path | None, note: str = "", confirm_within_s: float | None = None) -> dict[str, Any]:
    """Have a file, by default the configuration file, put in force; return the daemon's answer. Raise HagwError."""
    chosen = file or config_file()
    body = {
        "text": read_config(chosen),
        "filename": str(chosen),
        "by": session.user(),
        "note": note,
        "confirm_within_s": confirm_within_s,
        "write_file": chosen.resolve() != config_file().resolve(),
        "caller": session.caller(),
    }
    return post(api_socket(), "/config/apply", body)


def show(document: dict[str, Any]) -> None:
    """Say what became of a change."""
    for line in document["changes"]:
        print(f"  {line}")
    number = document["generation"]
    match document["result"]:
        case "unchanged":
            print(f"Nothing to do: generation {number} says just this.")
        case "pending":
            print(f"Generation {number} is in force for {document['pending_confirm_s']:g} s; `hagw confirm` keeps it.")
        case "rolled back":
            print(f"Generation {number} is in force again.")
        case _:
            print(f"Generation {number} is in force.")
    if document["notice"]:
        print(document["notice"])
