"""`hagw check`: whether a configuration file would be accepted; changes nothing."""

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
    from hagw.config.load import load_file

    file = file or config_file()
    intent = load_file(file)
    if isinstance(intent, CpeIntent):
        uplinks, gateways = len(intent.uplinks), len(intent.gateways)
        print(f"{file} is a valid CPE configuration: {_count(uplinks, 'uplink')}, {_count(gateways, 'gateway')}.")
    else:
        print(f"{file} is a valid HAG configuration: {_count(len(intent.customers), 'customer')}.")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
