"""The `hagw` command line: puts the verbs together and turns errors into exit codes."""

import typer

from hagw.errors import HagwError
from hagw.lab.commands import app as lab_app

app = typer.Typer(name="hagw", no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
app.add_typer(lab_app, name="lab")


@app.callback()
def hagw() -> None:
    """Hybrid-access gateway: a LAN's plain TCP over all access lines at once."""


def run(argv: list[str]) -> int:
    """Run the command line and return the exit code of a failure a person is told about; else exit."""
    try:
        app(args=argv, prog_name="hagw")
    except HagwError as error:
        typer.echo(f"hagw: {error}", err=True)
        return error.exit_code
    return 0
