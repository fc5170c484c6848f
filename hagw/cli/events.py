"""`hagw events`: what happened, as the daemon tells it."""

import json
import sys
import time
from typing import Annotated, Any, Final

import typer

from hagw.cli.client import get
from hagw.cli.output import print_document, print_table
from hagw.control.places import api_socket

LOOK_S: Final = 1.0


def events(
    last: Annotated[int, typer.Option("--last", min=1, max=5000, help="How many, at most.")] = 50,
    kind: Annotated[str | None, typer.Option("--kind", help="Of these kinds only: `uplink,change`.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens, until interrupted.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document; with --follow one a line, an event each.")
    ] = False,
) -> None:
    """Show what happened, oldest first: lines lost and back, gateways, changes, data caps, repairs, conflicts."""
    document = _ask(0, last, kind)
    if not follow:
        if as_json:
            print_document(document)
        else:
            print_table(("WHEN", "KIND", "WHAT"), [_row(event) for event in reversed(document["events"])])
        return
    newest = 0
    while True:
        for event in reversed(document["events"]):
            newest = max(newest, event["id"])
            print(json.dumps(event) if as_json else "  ".join(_row(event)))
        sys.stdout.flush()
        time.sleep(LOOK_S)
        document = _ask(newest, 5000, kind)


def _ask(since_id: int, limit: int, kind: str | None) -> dict[str, Any]:
    return get(api_socket(), f"/events?since_id={since_id}&limit={limit}&kind={kind or ''}")


def _row(event: dict[str, Any]) -> list[str]:
    return [event["at"].replace("T", " ")[:19], event["kind"], event["text"]]
