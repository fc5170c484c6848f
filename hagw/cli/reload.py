"""`hagw reload-workers`: have new processes take over from the workers, without losing a connection."""

from typing import Annotated

import typer

from hagw.cli.client import post
from hagw.cli.output import print_document
from hagw.control.places import api_socket


def reload_workers(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Replace the workers by new processes; the old ones finish their flows. Nothing is lost."""
    document = post(api_socket(), "/workers/renew", {})
    if as_json:
        print_document(document)
    else:
        print(f"{len(document['workers'])} workers were replaced; {len(document['retired'])} finish their flows.")
