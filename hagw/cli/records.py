"""`hagw alerts`, `hagw audit`, `hagw series`: what is wrong, who changed what, and how it was, as the daemon tells."""

from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from hagw.cli.client import get
from hagw.cli.output import print_document, print_table
from hagw.cli.user import AsJson, when
from hagw.control.places import api_socket


def alerts(as_json: AsJson = False) -> None:
    """Show what is wrong now and since when, and which webhooks do not take notices."""
    document = get(api_socket(), "/alerts")
    if as_json:
        print_document(document)
        return
    for each in document["alerts"]:
        print(f"{when(each['since_unix_s'])}  {each['severity']}: {each['text']}")
    for hook in document["webhooks"]:
        state = hook["reason"] or "takes notices"
        print(f"webhook {hook['name']}: {state} ({hook['delivered']} delivered, {hook['waiting']} waiting)")
    if not document["alerts"]:
        print("Nothing is wrong.")


def audit(
    last: Annotated[int, typer.Option("--last", min=1, help="How many, at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show who changed what through page or API, or was refused, newest first."""
    document = get(api_socket(), f"/audit?limit={last}")
    if as_json:
        print_document(document)
        return
    print_table(("WHEN", "USER", "FROM", "WHAT", "STATUS"), [_deed(each) for each in document["audit"]])


def series(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Names or patterns: `uplink.dsl.*`; none = all names."),
    ] = None,
    span: Annotated[str, typer.Option("--range", help="How far back: 1h, 24h, 30d or 1y.")] = "1h",
    as_json: AsJson = False,
) -> None:
    """Show what was recorded: rates, round trips, losses by line. Without a name, which names there are."""
    asked = {"range": span, "series": ",".join(names or ())}
    document = get(api_socket(), f"/history?{urlencode(asked)}")
    if as_json:
        print_document(document)
        return
    found: dict[str, list[float | None]] = document["series"]
    if not names:
        print("\n".join(sorted(found)))
        return
    shown = sorted(found)
    rows = [
        (_at(document["begin_unix_s"] + index * document["step_s"]), *map(_value, values))
        for index, values in enumerate(zip(*(found[name] for name in shown), strict=True))
        if any(value is not None for value in values)
    ]
    print_table(("WHEN", *shown), rows)


def _deed(each: dict[str, Any]) -> tuple[str, ...]:
    what = f"{each['action']} {each['detail']}".strip()
    return when(each["at_unix_s"]), each["user"], each["address"] or each["via"], what, str(each["status"])


def _at(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _value(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"
