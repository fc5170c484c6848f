"""`hagw flows`: each connection, what was done with it, and why."""

from typing import Annotated, Any

import typer

from hagw.cli.client import get
from hagw.cli.output import print_document, print_table, size
from hagw.control.places import api_socket


def flows(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
    recent: Annotated[
        float, typer.Option("--recent", min=0, max=3600, help="Also flows closed up to this many seconds ago.")
    ] = 60.0,
) -> None:
    """List the flows of the running daemon, newest first."""
    document = get(api_socket(), f"/flows?recent={recent:g}")
    if as_json:
        print_document(document)
        return
    print_table(
        ("CLIENT", "SERVER", "PATH", "STATE", "DOWN", "UP", "UPLINKS", "RULE", "WHY"),
        [_flow(flow) for flow in document["flows"]],
    )
    if document["incomplete"]:
        print(f"Workers {', '.join(map(str, document['incomplete']))} did not answer; their flows are missing.")


def _flow(flow: dict[str, Any]) -> list[str]:
    by_uplink = flow.get("by_uplink") or {}
    server = flow.get("domain") or flow.get("server") or "?"
    return [
        f"{_host(flow.get('client') or '?')}:{flow.get('client_port')}",
        f"{_host(server)}:{flow.get('server_port')}",
        flow.get("path") or "-",
        flow.get("state") or "-",
        size(flow.get("bytes_down")),
        size(flow.get("bytes_up")),
        " ".join(f"{name} {size(way['down'] + way['up'])}" for name, way in by_uplink.items()) or "-",
        flow.get("rule") or "-",
        flow.get("why") or "",
    ]


def _host(text: str) -> str:
    return f"[{text}]" if ":" in text else text
