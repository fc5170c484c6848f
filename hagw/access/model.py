"""What access is made of: roles, scopes, users, sessions, API tokens, and the login behind one request."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Role = Literal["viewer", "operator", "admin"]
Scope = Literal["read", "metrics", "change", "customers", "access"]
Via = Literal["local", "session", "token"]

RANKS: Final[Mapping[Role, int]] = {"viewer": 0, "operator": 1, "admin": 2}
# `access` (users, tokens, passwords, sessions) is not among them: a token must not be able to make another one.
TOKEN_SCOPES: Final[tuple[Scope, ...]] = ("read", "metrics", "change", "customers")
ALL_SCOPES: Final[tuple[Scope, ...]] = (*TOKEN_SCOPES, "access")


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who may log in. Times are Unix time; `last_login_s` None = never."""

    name: str
    role: Role
    password_hash: str
    must_change: bool
    created_s: float
    changed_s: float
    last_login_s: float | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A login from a browser. `digest` is that of its secret, which nobody keeps; `mark` names it in public."""

    mark: str
    user: str
    digest: str
    created_s: float
    seen_s: float
    address: str
    agent: str


@dataclass(frozen=True, slots=True)
class Token:
    """An API token. It is worth no more than its user's role is now."""

    mark: str
    name: str
    user: str
    role: Role
    scopes: tuple[Scope, ...]
    digest: str
    created_s: float
    expires_s: float
    used_s: float | None = None


@dataclass(frozen=True, slots=True)
class Book:
    """All that is kept of it, as it is on disk."""

    users: tuple[User, ...] = ()
    sessions: tuple[Session, ...] = ()
    tokens: tuple[Token, ...] = ()

    def user(self, name: str) -> User | None:
        """Return the user of this name."""
        return next((user for user in self.users if user.name == name), None)


@dataclass(frozen=True, slots=True)
class Login:
    """Who asks, by what the daemon itself knows. `mark` is the session's or token's, "" on the machine itself."""

    user: str
    role: Role
    via: Via
    scopes: tuple[Scope, ...] = ALL_SCOPES
    must_change: bool = False
    mark: str = ""
    address: str = ""
    expires_s: float | None = None

    def reaches(self, role: Role) -> bool:
        """Say whether this login's role is at least `role`."""
        return RANKS[self.role] >= RANKS[role]


def lesser(one: Role, other: Role) -> Role:
    """Return the role that may do less."""
    return one if RANKS[one] <= RANKS[other] else other
