"""`hagw drain`: have a HAG take no new flows, and wait until those it has are over."""

import time
from typing import Annotated, Any

import typer

from hagw.cli.client import get, post
from hagw.cli.output import print_document
from hagw.control.places import api_socket
from hagw.errors import HagwError

POLL_S = 0.5


class StillBusy(HagwError):
    """Flows were left when the time to wait was over; the HAG goes on draining."""


def drain(
    undo: Annotated[bool, typer.Option("--undo", help="Take new flows again.")] = False,
    wait: Annotated[
        float | None, typer.Option("--wait", metavar="S", min=0, help="Wait at most so long; for ever if left out.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Have this HAG take no new flows: they go through other gateways. Waits for the flows it has."""
    document = post(api_socket(), "/drain", {"draining": not undo})
    deadline = None if wait is None else time.monotonic() + wait
    while document["draining"] and document["flows_active"]:
        if deadline is not None and time.monotonic() >= deadline:
            break
        time.sleep(POLL_S)
        document = get(api_socket(), "/drain")
    _show(document, as_json)
    if document["draining"] and document["flows_active"]:
        raise StillBusy(f"{document['flows_active']} flows are left; the HAG goes on draining.")


def _show(document: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_document(document)
    elif not document["draining"]:
        print("New flows are taken.")
    elif not document["flows_active"]:
        print("No flow is left, and no new one is taken; `hagw drain --undo` takes them again.")
