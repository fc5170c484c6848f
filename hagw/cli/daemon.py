"""`hagw daemon`: run the gateway in the foreground."""

from pathlib import Path
from typing import Annotated

import typer

from hagw.control.places import config_file


def daemon(
    config: Annotated[
        Path | None, typer.Option("--config", help="The configuration; HAGW_CONFIG or /etc/hagw/hagw.yaml if left out.")
    ] = None,
) -> None:
    """Run the daemon until SIGTERM; workers and kernel state stay, `hagw clear` removes them."""
    from hagw.daemon import run

    run(config or config_file())
