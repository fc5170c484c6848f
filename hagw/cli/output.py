"""How verbs speak: documents and tables on stdout, one clear sentence of error on stderr."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any


def print_document(document: dict[str, Any]) -> None:
    """Print the one JSON document of a `--json` run."""
    json.dump(document, sys.stdout, indent=2)
    sys.stdout.write("\n")


def print_error(message: str) -> None:
    """Say what went wrong, one line an issue."""
    for line in message.splitlines():
        print(f"hagw: {line}", file=sys.stderr)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table: with rich on a terminal, else plain aligned columns for grep and awk."""
    listed = [list(row) for row in rows]
    if sys.stdout.isatty():
        _rich_table(columns, listed)
        return
    widths = [max(len(cell) for cell in column) for column in zip(columns, *listed, strict=True)]
    for row in (columns, *listed):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _rich_table(columns: Sequence[str], rows: list[list[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def number(value: float | None, unit: str = "", digits: int = 0) -> str:
    """Return a measured value, "-" where it is unknown."""
    return "-" if value is None else f"{value:.{digits}f}{unit}"


def rate(bits_per_s: float | None) -> str:
    """Return a rate in Mbit/s."""
    return "-" if bits_per_s is None else f"{bits_per_s / 1e6:.1f} Mbit/s"


def size(size_bytes: float | None) -> str:
    """Return a size with a decimal unit."""
    if size_bytes is None:
        return "-"
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} TB"
