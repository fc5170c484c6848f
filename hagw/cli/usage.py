"""`hagw usage`: what is left of each line's volume, and the operator's own figure for it."""

from typing import Annotated, Any

import typer

from hagw.cli.client import get, post
from hagw.cli.output import number, print_document, print_table, size
from hagw.config.values import parse_bytes
from hagw.control.places import api_socket
from hagw.errors import HagwError


class NotAFigure(HagwError):
    """The arguments do not say what is to be corrected."""

    exit_code = 2


def usage(
    cap: Annotated[str | None, typer.Argument(metavar="[CAP]", help="This data cap only.")] = None,
    used: Annotated[
        str | None, typer.Option("--set", help="The operator's figure for the present period, as '12.3 GB'.")
    ] = None,
    down: Annotated[str | None, typer.Option("--set-down", help="Likewise, towards us only.")] = None,
    up: Annotated[str | None, typer.Option("--set-up", help="Likewise, from us only.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Show how much of each data cap is used, and how it will end; or correct what was counted."""
    figures = {"used_bytes": used, "used_down_bytes": down, "used_up_bytes": up}
    given = {name: _bytes(text) for name, text in figures.items() if text is not None}
    if given and cap is None:
        raise NotAFigure("Name the data cap: `hagw usage CAP --set '12.3 GB'`.")
    document = post(api_socket(), "/usage", {"cap": cap, **given}) if given else get(api_socket(), "/usage")
    if cap is not None:
        document["data_caps"] = [each for each in document["data_caps"] if each["name"] == cap]
        if not document["data_caps"]:
            raise HagwError(f"There is no data cap {cap!r}; `hagw usage` shows them all.")
    if as_json:
        print_document(document)
        return
    if not document["data_caps"]:
        print("No data caps are configured.")
        return
    print_table(
        ("CAP", "UPLINKS", "STAGE", "USED", "OF", "DOWN", "UP", "PERCENT", "PERIOD", "FORECAST", "USED UP"),
        [_row(each) for each in document["data_caps"]],
    )


def _row(cap: dict[str, Any]) -> list[str]:
    volumes = (
        ("", cap["volume_bytes"]),
        (" down", cap["volume_down_bytes"]),
        (" up", cap["volume_up_bytes"]),
    )
    return [
        cap["name"],
        ",".join(cap["uplinks"]),
        cap["stage"],
        size(cap["used_bytes"]),
        ", ".join(f"{size(volume)}{which}" for which, volume in volumes if volume is not None),
        size(cap["used_down_bytes"]),
        size(cap["used_up_bytes"]),
        number(cap["percent"], " %"),
        f"{cap['period_begin'][:10]} to {cap['period_end'][:10]}",
        "-" if cap["forecast_bytes"] is None else f"{size(cap['forecast_bytes'])} ({cap['forecast_percent']:.0f} %)",
        "-" if cap["reached_at"] is None else cap["reached_at"][:16].replace("T", " "),
    ]


def _bytes(text: str) -> int:
    try:
        return parse_bytes(text)
    except ValueError as why:
        raise NotAFigure(f"{why}.") from None
