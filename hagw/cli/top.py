"""`hagw top`: lines and busiest flows, live."""

import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from hagw.cli.client import get
from hagw.cli.output import number, rate, size
from hagw.control.places import api_socket

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

FLOWS: Final = 100
Bytes = dict[str, tuple[int, int]]


def top(
    interval: Annotated[float, typer.Option("--interval", min=0.5, max=60, help="Seconds between two looks.")] = 1.0,
    looks: Annotated[int, typer.Option("--looks", min=0, help="End after so many looks; 0 = when interrupted.")] = 0,
) -> None:
    """Show lines and the flows that carry most, until interrupted."""
    from rich.console import Console
    from rich.live import Live

    console = Console()
    before: Bytes = {}
    seen = 0
    with Live(console=console, screen=console.is_terminal, auto_refresh=False) as live:
        while True:
            status = get(api_socket(), "/status")
            flows = get(api_socket(), f"/flows?state=open&limit={FLOWS}&sort=-bytes_down&recent=0")
            live.update(shown(status, flows, before, interval, console.height), refresh=True)
            before = {flow["id"]: (flow["bytes_down"], flow["bytes_up"]) for flow in flows["flows"]}
            seen += 1
            if seen == looks:
                return
            time.sleep(interval)


def shown(status: dict[str, Any], flows: dict[str, Any], before: Bytes, interval_s: float, height: int) -> "Group":
    """Return a page of it."""
    from rich.console import Group
    from rich.text import Text

    head = f"hagw {status['version']} ({status['role']}): {status['state']}. {status['reason']}"
    if status["pending_confirm_s"] is not None:
        head += f" A change waits for its confirmation: {status['pending_confirm_s']:.0f} s."
    room = max(3, height - len(status["uplinks"]) - 8)
    return Group(Text(head), _lines(status), _flows(flows, before, interval_s, room))


def _lines(status: dict[str, Any]) -> "Table":
    table = _table("UPLINK", "STATE", "DOWN", "UP", "RTT", "LOSS", "REASON")
    for line in status["uplinks"]:
        loss = None if line["loss"] is None else line["loss"] * 100
        cells = (rate(line["down_bps"]), rate(line["up_bps"]), number(line["rtt_ms"], " ms"), number(loss, " %", 1))
        table.add_row(line["name"], line["state"], *cells, line["reason"])
    return table


def _flows(found: dict[str, Any], before: Bytes, interval_s: float, room: int) -> "Table":
    table = _table("CLIENT", "SERVER", "DOWN", "UP", "BYTES", "RULE", "UPLINKS")

    def moved(flow: dict[str, Any]) -> tuple[int, int]:
        down, up = before.get(flow["id"], (flow["bytes_down"], flow["bytes_up"]))
        return flow["bytes_down"] - down, flow["bytes_up"] - up

    for flow in sorted(found["flows"], key=lambda flow: -sum(moved(flow)))[:room]:
        down, up = moved(flow)
        server = f"{flow['domain'] or flow['server']}:{flow['server_port']}"
        rates = rate(down * 8 / interval_s), rate(up * 8 / interval_s)
        total = size(flow["bytes_down"] + flow["bytes_up"])
        table.add_row(flow["client"], server, *rates, total, flow["rule"] or "-", " ".join(flow["by_uplink"]))
    return table


def _table(*columns: str) -> "Table":
    from rich import box
    from rich.table import Table

    return Table(*columns, box=box.SIMPLE_HEAD)
