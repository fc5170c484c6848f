"""`hagw speedtest`: what one line can carry, tried for some seconds."""

import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from hagw.cli.client import ask, get, post
from hagw.cli.output import print_document, rate, size
from hagw.config.values import parse_bytes
from hagw.control.places import api_socket
from hagw.errors import HagwError

if TYPE_CHECKING:
    from rich.progress import Progress

LOOK_S: Final = 0.2
LASTS_S: Final = 60.0  # a test takes 8 s; a daemon that does not end it has other troubles


def speedtest(
    uplink: Annotated[str, typer.Argument(metavar="UPLINK", help="The line to test.")],
    up: Annotated[bool, typer.Option("--up", help="From us, instead of towards us.")] = False,
    most: Annotated[str | None, typer.Option("--max", help="Move no more than this: '5 MB'.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Test what a line can carry; metered lines and lines with a data cap are spared. Interrupting ends the test."""
    body: dict[str, Any] = {"uplink": uplink, "direction": "up" if up else "down"}
    if most is not None:
        body["max_bytes"] = _bytes(most)
    test = post(api_socket(), "/speedtests", body)
    try:
        found = _watch(test)
    except KeyboardInterrupt:
        ask(api_socket(), "DELETE", f"/speedtests/{test['id']}", None)
        raise
    if as_json:
        print_document(found)
    elif found["state"] == "done":
        print(f"{uplink} {found['direction']}: {rate(found['rate_bps'])} ({size(found['bytes'])} moved)")
    if found["state"] != "done":
        raise HagwError(f"The test of {uplink} was {found['state']}: {found['reason']}.")


def _watch(test: dict[str, Any]) -> dict[str, Any]:
    """Show how a test goes until it is over; return it."""
    until = time.monotonic() + LASTS_S
    with _progress() as progress:
        task = progress.add_task(f"{test['uplink']} {test['direction']}", total=1.0)
        while test["state"] == "running" and time.monotonic() < until:
            time.sleep(LOOK_S)
            test = get(api_socket(), f"/speedtests/{test['id']}")
            words = f"{test['uplink']} {test['direction']} {rate(test['rate_bps'])}"
            progress.update(task, completed=test["progress"], description=words)
    return test


def _progress() -> "Progress":
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)


def _bytes(text: str) -> int:
    try:
        return parse_bytes(text)
    except ValueError as why:
        raise typer.BadParameter(str(why)) from None
