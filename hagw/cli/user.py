"""`hagw user …` and `hagw web-password`: who may log in through `hagw web`."""

import getpass
import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from hagw.cli.client import delete, get, patch, post
from hagw.cli.output import print_document, print_table
from hagw.control.places import api_socket, state_dir
from hagw.errors import HagwError, Refused

SCHEMA = 1

user = typer.Typer(no_args_is_help=True, help="Who may log in: add, list, change, remove users of `hagw web`.")


class Role(StrEnum):
    """What a user may do."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


Name = Annotated[str, typer.Argument(metavar="NAME", help="The user's name.")]
RoleName = Annotated[Role, typer.Argument(metavar="ROLE", help="viewer, operator or admin.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
FromInput = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input instead of making one up.")
]


@user.command()
def add(name: Name, role: RoleName, password_stdin: FromInput = False, as_json: AsJson = False) -> None:
    """Add a user and print the password, which has to be changed at the first login."""
    given = {"password": _read_password()} if password_stdin else {}
    _tell_password(post(api_socket(), "/users", {"name": name, "role": role.value, **given}), as_json)


@user.command("list")
def list_(as_json: AsJson = False) -> None:
    """List users and roles."""
    document = get(api_socket(), "/users")
    if as_json:
        print_document(document)
        return
    print_table(
        ("USER", "ROLE", "LAST LOGIN", "PASSWORD"),
        [
            (
                each["name"],
                each["role"],
                when(each["last_login_unix_s"]),
                "to be changed" if each["must_change_password"] else f"of {when(each['password_changed_unix_s'])}",
            )
            for each in document["users"]
        ],
    )


@user.command()
def passwd(name: Name, password_stdin: FromInput = False, as_json: AsJson = False) -> None:
    """Give a user another password and print it; the user's sessions end."""
    change = {"password": _read_password()} if password_stdin else {"reset_password": True}
    _tell_password(patch(api_socket(), f"/users/{_path(name)}", change), as_json)


@user.command()
def role(name: Name, role: RoleName) -> None:
    """Give a user another role; it counts at once."""
    patch(api_socket(), f"/users/{_path(name)}", {"role": role.value})


@user.command()
def remove(name: Name) -> None:
    """Remove a user with all sessions and tokens, at once."""
    delete(api_socket(), f"/users/{_path(name)}")


@user.command()
def sessions(as_json: AsJson = False) -> None:
    """List who is logged in, from where and since when."""
    document = get(api_socket(), "/sessions")
    if as_json:
        print_document(document)
        return
    rows = [
        (each["id"], each["user"], each["address"], when(each["created_unix_s"]), when(each["seen_unix_s"]))
        for each in document["sessions"]
    ]
    print_table(("ID", "USER", "FROM", "SINCE", "SEEN"), rows)


@user.command("log-out")
def log_out(session: Annotated[str, typer.Argument(metavar="ID", help="The session's id, of `sessions`.")]) -> None:
    """End a session, at once."""
    delete(api_socket(), f"/sessions/{_path(session)}")


def web_password(as_json: AsJson = False) -> None:
    """Print the user and password of the first login; once it was changed, nobody knows it any more."""
    from hagw.access.store import first_password

    try:
        found = first_password(state_dir())
    except OSError as why:
        raise Refused(f"The password cannot be read: {why.strerror}.") from why
    if found is None:
        raise HagwError("There is no first password (any more). `hagw user passwd admin` makes another one.")
    if as_json:
        print_document({"schema": SCHEMA, "user": found[0], "password": found[1]})
    else:
        print(f"user: {found[0]}\npassword: {found[1]}")


def when(unix_s: float | None) -> str:
    """Return a time as tables show it."""
    return "-" if unix_s is None else datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M")


def _read_password() -> str:
    if sys.stdin.isatty():
        return getpass.getpass("Password: ")
    return sys.stdin.readline().rstrip("\r\n")


def _tell_password(document: dict[str, object], as_json: bool) -> None:
    if as_json:
        print_document(document)
    elif document["password"] is not None:
        print(f"password: {document['password']}")


def _path(name: str) -> str:
    from urllib.parse import quote

    return quote(name, safe="")
