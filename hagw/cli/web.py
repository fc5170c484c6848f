"""`hagw web`: run the process that browsers speak to."""

from typing import Annotated

import typer


def web(
    fingerprint: Annotated[
        bool, typer.Option("--fingerprint", help="Print the fingerprint of its own certificate and end.")
    ] = False,
) -> None:
    """Serve the admin page over TLS until SIGTERM; needs no rights, and gives up those it has."""
    if fingerprint:
        from hagw.web.certificate import CERTIFICATE_FILE
        from hagw.web.certificate import fingerprint as fingerprint_of
        from hagw.web.settings import web_state_dir

        print(fingerprint_of(web_state_dir() / CERTIFICATE_FILE))
        return
    from hagw.log import set_up
    from hagw.web.main import run

    set_up()
    run()
