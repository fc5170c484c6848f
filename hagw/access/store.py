"""Users, sessions and tokens on disk: one file in the state directory, readable by root alone, replaced as a whole.

    STATE/access.json          hashes only: no password, no secret of a session or token
    STATE/web-password         the password of the first start, until it is changed

A loss of power leaves the old file or the new one.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Protocol

from hagw.access.model import RANKS, TOKEN_SCOPES, Book, Role, Scope, Session, Token, User

FILE: Final = "access.json"
FIRST_PASSWORD_FILE: Final = "web-password"
_SCHEMA: Final = 1


class AccessDamaged(Exception):
    """What the file says cannot be used; the message says why."""


class DiskPort(Protocol):
    """Files that a loss of power leaves as they were or as they shall be. Methods raise OSError."""

    def replace(self, path: Path, text: str, mode: int = 0o600) -> None: ...

    def remove(self, path: Path) -> None: ...


class AccessFile:
    """Where the book is kept. Methods raise OSError where the disk refuses."""

    def __init__(self, directory: Path, disk: DiskPort) -> None:
        self._disk = disk
        self._file = directory / FILE
        self._first = directory / FIRST_PASSWORD_FILE

    def load(self) -> Book | None:
        """Return what was kept last, None where nothing was. Raises AccessDamaged."""
        try:
            document = json.loads(self._file.read_text(encoding="utf-8"))
            if document["schema"] != _SCHEMA:
                raise AccessDamaged(f"{self._file} was written by a newer hagw")
            return _parse(document)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as why:
            raise AccessDamaged(f"{self._file} is damaged: {why}") from why

    def save(self, book: Book) -> None:
        """Replace it; on the disk when this returns."""
        self._file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._disk.replace(self._file, json.dumps({"schema": _SCHEMA, **asdict(book)}, indent=1) + "\n")

    def keep_first_password(self, user: str, password: str) -> None:
        """Keep the password of the first start where only root reads it."""
        self._file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._disk.replace(self._first, f"{user} {password}\n")

    def forget_first_password(self) -> None:
        """Remove it: it was changed."""
        if self._first.exists():
            self._disk.remove(self._first)

    def set_aside(self) -> None:
        """Keep a damaged file under another name, for whoever wants to look."""
        if self._file.exists():
            self._file.replace(self._file.with_name(f"{FILE}.damaged"))


def first_password(directory: Path) -> tuple[str, str] | None:
    """Return user and password of the first start, None once it was changed. Raises OSError."""
    try:
        user, _, password = (directory / FIRST_PASSWORD_FILE).read_text(encoding="utf-8").strip().partition(" ")
    except FileNotFoundError:
        return None
    return user, password


def _parse(document: Mapping[str, Any]) -> Book:
    return Book(
        users=tuple(User(**{**each, "role": _role(each["role"])}) for each in document["users"]),
        sessions=tuple(Session(**each) for each in document["sessions"]),
        tokens=tuple(
            Token(**{**each, "role": _role(each["role"]), "scopes": tuple(map(_scope, each["scopes"]))})
            for each in document["tokens"]
        ),
    )


def _role(text: str) -> Role:
    for role in RANKS:
        if role == text:
            return role
    raise ValueError(f"{text!r} is no role")


def _scope(text: str) -> Scope:
    for scope in TOKEN_SCOPES:
        if scope == text:
            return scope
    raise ValueError(f"{text!r} is no scope")
