"""`hagw daemon`: run the gateway in the foreground."""

from pathlib import Path
from typing import Annotated

import typer

from hagw.control.places import config_file


def daemon(
    config: Annotated[
        Path | None, typer.Option("--config", help="The configuration; HAGW_CONFIG or /etc/hagw/hagw.yaml if left out.")
    ] = None,
    fake_kernel: Annotated[
        bool, typer.Option("--fake-kernel", help="Pretend machine, lines and traffic; touches nothing, needs no root.")
    ] = False,
    pretend_flows: Annotated[
        int, typer.Option("--pretend-flows", min=1, max=20_000, help="With --fake-kernel: flows at a time.")
    ] = 60,
    pretend_outages: Annotated[bool, typer.Option(help="With --fake-kernel: lines are lost now and then.")] = True,
    pretend_stripped: Annotated[
        list[str] | None,
        typer.Option("--pretend-stripped", help="With --fake-kernel: a line on whose way MP_JOIN is stripped."),
    ] = None,
) -> None:
    """Run the daemon until SIGTERM; workers and kernel state stay, `hagw clear` removes them."""
    if fake_kernel:
        from hagw.pretend import daemon as pretended

        pretended.run(config, pretended.Pretence(pretend_flows, pretend_outages, tuple(pretend_stripped or ())))
        return
    from hagw.daemon import run

    run(config or config_file())
