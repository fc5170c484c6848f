"""`hagw worker`: one data-plane process; started by the daemon, not by people."""

from typing import Annotated, Literal

import typer


def worker(
    role: Annotated[Literal["cpe", "hag"], typer.Option("--role")],
    index: Annotated[int, typer.Option("--index", min=0)],
) -> None:
    """Run one worker."""
    from hagw.worker import main

    raise typer.Exit(main(role, index))
