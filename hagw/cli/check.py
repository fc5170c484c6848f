"""`hagw check`: whether a configuration file would be accepted; changes nothing."""

from pathlib import Path
from typing import Annotated

import typer

from hagw.model.intent import CpeIntent


def check(file: Annotated[Path, typer.Argument(metavar="FILE", help="The configuration to check.")]) -> None:
    """Check a configuration file; every fault is named with its line."""
    from hagw.config.load import load_file

    intent = load_file(file)
    if isinstance(intent, CpeIntent):
        uplinks, gateways = len(intent.uplinks), len(intent.gateways)
        print(f"{file} is a valid CPE configuration: {_count(uplinks, 'uplink')}, {_count(gateways, 'gateway')}.")
    else:
        print(f"{file} is a valid HAG configuration: {_count(len(intent.customers), 'customer')}.")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
