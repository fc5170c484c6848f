"""`hagw check`: whether a configuration file would be accepted; changes nothing."""

import os
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

import typer

from hagw.control.places import config_file
from hagw.model.intent import CpeIntent


def check(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="The configuration; HAGW_CONFIG or /etc/hagw/hagw.yaml if left out."),
    ] = None,
    schema: Annotated[
        Literal["cpe", "hag"] | None, typer.Option("--schema", help="Print the JSON Schema of a role's files instead.")
    ] = None,
) -> None:
    """Check a configuration file; every fault is named with its line."""
    if schema is not None:
        from hagw.config.editors import json_schema

        print(json_schema(schema), end="")
        return
    from hagw.config.load import load_file, read_text
    from hagw.config.rule_warnings import find_warnings

    file = file or config_file()
    intent = load_file(file)
    for doubt in find_warnings(read_text(file), str(file)):
        print(f"warning: {doubt}", file=sys.stderr)
    if isinstance(intent, CpeIntent):
        uplinks, gateways = len(intent.uplinks), len(intent.gateways)
        print(f"{file} is a valid CPE configuration: {_count(uplinks, 'uplink')}, {_count(gateways, 'gateway')}.")
        if warning := _lockout(intent, os.environ.get("SSH_CONNECTION", "")):
            print(warning, file=sys.stderr)
    else:
        print(f"{file} is a valid HAG configuration: {_count(len(intent.customers), 'customer')}.")


def _lockout(intent: CpeIntent, session: str) -> str | None:
    """Return a warning if the firewall would refuse the next session of the kind we run in; it spares this one.

    `session` is what sshd tells: the client's address and port, ours and its port.
    """
    words = session.split()
    if len(words) != 4 or not intent.firewall.enabled:
        return None
    from hagw.kernel.facts import FactsReader
    from hagw.plan.firewall import admits

    client, _, own, port = words
    reader = FactsReader()
    try:
        facts = reader.read(intent).uplinks
    finally:
        reader.close()
    for name, fact in facts.items():
        is_over_it = own in (str(fact.address4), str(fact.address6))
        if is_over_it and not admits(intent.firewall, name, "tcp", int(port), ip_address(client)):
            return (
                f"Your ssh session comes in over uplink {name}. It will go on, but the firewall refuses the next one."
                f' Add {{name: ssh, protocol: tcp, destination_port: ["{port}"], source: ["{client}"]}}'
                " to firewall.allow, or come in from the LAN."
            )
    return None


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
