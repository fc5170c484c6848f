"""`hagw token …`: API tokens for scripts that ask through `hagw web`."""

from enum import StrEnum
from typing import Annotated

import typer

from hagw.cli.client import delete, get, post
from hagw.cli.output import print_document, print_table
from hagw.cli.user import AsJson, Role, when
from hagw.control.places import api_socket
from hagw.errors import HagwError

token = typer.Typer(no_args_is_help=True, help="API tokens: add, list, revoke.")


class Scope(StrEnum):
    """What a token may be used for."""

    READ = "read"
    METRICS = "metrics"
    CHANGE = "change"
    CUSTOMERS = "customers"


@token.command()
def add(
    user: Annotated[str, typer.Argument(metavar="USER", help="Whose token: it is worth no more than the user's role.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    scope: Annotated[
        list[Scope] | None, typer.Option("--scope", help="read, metrics, change or customers; repeat. [default: read]")
    ] = None,
    role: Annotated[Role, typer.Option("--role", help="viewer, operator or admin.")] = Role.VIEWER,
    days: Annotated[float, typer.Option("--days", min=0.001, max=3650, help="How long it is valid.")] = 90.0,
    as_json: AsJson = False,
) -> None:
    """Make a token and print it, once."""
    wanted = {"user": user, "name": name, "role": role.value, "expires_in_days": days}
    scopes = [each.value for each in scope or [Scope.READ]]
    document = post(api_socket(), "/tokens", {**wanted, "scopes": scopes})
    if as_json:
        print_document(document)
    else:
        print(document["secret"])


@token.command("list")
def list_(as_json: AsJson = False) -> None:
    """List tokens, also those that are over."""
    document = get(api_socket(), "/tokens")
    if as_json:
        print_document(document)
        return
    print_table(
        ("ID", "USER", "NAME", "ROLE", "SCOPES", "UNTIL", "LAST USED"),
        [
            (
                each["id"],
                each["user"],
                each["name"],
                each["role"],
                ",".join(each["scopes"]),
                when(each["expires_unix_s"]),
                when(each["used_unix_s"]),
            )
            for each in document["tokens"]
        ],
    )


@token.command()
def remove(which: Annotated[str, typer.Argument(metavar="ID", help="As `hagw token list` shows it.")]) -> None:
    """Make a token worth nothing, at once."""
    if not which.isalnum():
        raise HagwError(f"{which!r} is no token's id; `hagw token list` shows them.")
    delete(api_socket(), f"/tokens/{which}")
