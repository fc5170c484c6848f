"""`hagw rules …`: steering rules in the words of 3GPP (TS 29.512), out of the configuration file and into it."""

import difflib
import sys
from pathlib import Path
from typing import Annotated

import typer

from hagw.cli.output import print_document
from hagw.cli.settings import FileOption
from hagw.control.places import config_file
from hagw.errors import HagwError

rules = typer.Typer(no_args_is_help=True, help="Steering rules out and in, as TS 29.512 writes them.")

ThreeGpp = Annotated[
    str | None, typer.Option("--3gpp", help="The line that is the 3GPP access; the one of kind wwan if left out.")
]
NonThreeGpp = Annotated[str | None, typer.Option("--non-3gpp", help="The line that is the non-3GPP access.")]


@rules.command("export")
def export_(three_gpp: ThreeGpp = None, non_three_gpp: NonThreeGpp = None, file: FileOption = None) -> None:
    """Print the file's rules as JSON; a rule that does not reduce to two accesses is a mistake."""
    from hagw.config.exchange import exported
    from hagw.config.load import read_text

    file = file or config_file()
    print_document(exported(read_text(file), str(file), three_gpp, non_three_gpp)[0])


@rules.command("import")
def import_(
    document: Annotated[Path, typer.Argument(metavar="JSON", help="The document, - for standard input.")],
    three_gpp: ThreeGpp = None,
    non_three_gpp: NonThreeGpp = None,
    file: FileOption = None,
) -> None:
    """Replace the file's rules by those of a document; `hagw apply` puts them in force."""
    from hagw.config.exchange import read_document, with_imported
    from hagw.config.file import replace_file
    from hagw.config.load import load, read_text

    file = file or config_file()
    try:
        text = sys.stdin.read() if str(document) == "-" else document.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as why:
        raise HagwError(f"{document} cannot be read: {why}.") from None
    before = read_text(file)
    read = read_document(text, str(document))
    after = with_imported(before, str(file), read, str(document), three_gpp, non_three_gpp)
    load(after, str(file))
    if after != before:
        replace_file(file, before, after)
    for line in difflib.ndiff(before.splitlines(), after.splitlines()):
        if line[:2] in ("- ", "+ "):
            print(line)
