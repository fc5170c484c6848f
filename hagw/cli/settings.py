"""`hagw set` and `hagw get`: one value of the configuration file."""

import difflib
from pathlib import Path
from typing import Annotated

import typer

from hagw.control.places import config_file

PathArgument = Annotated[
    str, typer.Argument(metavar="PATH", help="Where: uplinks.lte.metered, pool.size_min, rules[0].steering.mode.")
]
FileOption = Annotated[
    Path | None, typer.Option("--file", help="The configuration; HAGW_CONFIG or /etc/hagw/hagw.yaml if left out.")
]


def set_(
    path: PathArgument,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="A word or number, or a list: '[dsl, wifi]'.")],
    file: FileOption = None,
) -> None:
    """Change one value in the configuration file; comments and layout stay, a bad value changes nothing."""
    from hagw.config.file import change_file
    from hagw.config.secrets import masked
    from hagw.config.write import parse_value

    before, after = change_file(file or config_file(), path, parse_value(value))
    for line in difflib.ndiff(masked(before).splitlines(), masked(after).splitlines()):
        if line[:2] in ("- ", "+ "):
            print(line)


def get(path: PathArgument, file: FileOption = None) -> None:
    """Print one value as the configuration file has it."""
    from hagw.config.load import read_text
    from hagw.config.render import block
    from hagw.config.write import get_value

    file = file or config_file()
    value = get_value(read_text(file), path, str(file))
    print(value if isinstance(value, str) else block(value, -2, "\n").lstrip("\n"))
