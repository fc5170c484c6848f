"""`hagw explain`: why a flow takes the way it takes, or would take if it existed."""

from pathlib import Path
from typing import Annotated
from urllib.parse import quote, urlencode

import typer

from hagw.cli.client import get, post
from hagw.cli.output import print_document
from hagw.config.load import read_text
from hagw.control.places import api_socket
from hagw.errors import HagwError
from hagw.model.flow import PROTOCOLS


class NotAFlow(HagwError):
    """The arguments do not name a flow."""

    exit_code = 2


def explain(
    source: Annotated[str | None, typer.Argument(metavar="[SRC]", help="Address of the LAN host.")] = None,
    destination: Annotated[
        str | None,
        typer.Argument(metavar="[DST[:PORT]]", help="Address of the server, as 203.0.113.10:443."),
    ] = None,
    flow: Annotated[str | None, typer.Option("--flow", help="This flow of `hagw flows --json` instead.")] = None,
    proto: Annotated[str, typer.Option("--proto", help="tcp, udp, icmp, esp, … or a number.")] = "tcp",
    domain: Annotated[str | None, typer.Option("--domain", help="Name of the server.")] = None,
    dscp: Annotated[int | None, typer.Option("--dscp", min=0, max=63, help="DSCP of the first packet.")] = None,
    mac: Annotated[str | None, typer.Option("--mac", help="MAC address of the LAN host.")] = None,
    interface: Annotated[str | None, typer.Option("--interface", help="LAN interface it comes from.")] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="By this configuration, not by the one in force.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Say which rule decides a flow and why, which lines it may use, and what happened to it so far."""
    if flow is not None:
        document = get(api_socket(), f"/flows/{quote(flow, safe='')}")
    elif source is None or destination is None:
        raise NotAFlow("Name a flow: `hagw explain SRC DST[:PORT]`, or `hagw explain --flow ID`.")
    else:
        server, port = endpoint(destination)
        given = {"domain": domain, "dscp": dscp, "mac": mac, "interface": interface}
        asked = {"client": source, "server": server, "port": port, "protocol": _protocol(proto, ":" in server)}
        asked |= {name: value for name, value in given.items() if value is not None}
        if config is None:
            document = get(api_socket(), f"/explain?{urlencode(asked)}")
        else:
            document = post(api_socket(), "/explain", {**asked, "text": read_text(config), "filename": str(config)})
    if as_json:
        print_document(document)
        return
    for line in document["text"]:
        print(line)


def endpoint(text: str) -> tuple[str, int]:
    """Return address and port (0 = none) from "203.0.113.10:443", "[2001:db8::1]:443", or an address alone."""
    if text.startswith("["):
        address, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    else:
        address, port = text, ""
    if port and not (port.isdecimal() and int(port) <= 65535):
        raise NotAFlow(f"{port!r} is not a port.")
    return address, int(port or 0)


def _protocol(text: str, ipv6: bool) -> int:
    numbers = PROTOCOLS.get(text.lower())
    if numbers is not None:
        return numbers[-1] if ipv6 else numbers[0]
    if not text.isdecimal() or int(text) > 255:
        raise NotAFlow(f"{text!r} is not a protocol: {', '.join(PROTOCOLS)}, or a number up to 255.")
    return int(text)
