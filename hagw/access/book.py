"""The book with one thing changed: pure, and with the rules that no change may break."""

from dataclasses import replace
from typing import TypeVar

from hagw.access.faults import Unknown, Unwanted
from hagw.access.model import Book, Role, Session, Token, User
from hagw.access.passwords import fault_of

Marked = TypeVar("Marked", Session, Token)


def check_password(password: str, name: str) -> None:
    """Raise Unwanted unless a user may have this password."""
    fault = fault_of(password, name)
    if fault is not None:
        raise Unwanted("password", fault)


def user_of(book: Book, name: str) -> User:
    """Return the user of this name. Raise Unknown."""
    user = book.user(name)
    if user is None:
        raise Unknown(f"There is no user {name}.")
    return user


def with_user(book: Book, user: User) -> Book:
    """Return the book with this user instead of the one of that name."""
    return replace(book, users=tuple(user if each.name == user.name else each for each in book.users))


def with_role(book: Book, name: str, role: Role) -> Book:
    """Return the book with a user in another role. Raise Unknown, or Unwanted where nobody could undo it."""
    user = user_of(book, name)
    if role != "admin":
        _keep_an_admin(book, name)
    return with_user(book, replace(user, role=role))


def without_user(book: Book, name: str) -> Book:
    """Return the book without a user and all that was the user's. Raise as `with_role`."""
    user_of(book, name)
    _keep_an_admin(book, name)
    return Book(
        tuple(each for each in book.users if each.name != name),
        tuple(each for each in book.sessions if each.user != name),
        tuple(each for each in book.tokens if each.user != name),
    )


def without(entries: tuple[Marked, ...], mark: str) -> tuple[Marked, ...]:
    """Return the entries without the one of this mark."""
    return tuple(each for each in entries if each.mark != mark)


def _keep_an_admin(book: Book, name: str) -> None:
    if [user.name for user in book.users if user.role == "admin"] == [name]:
        raise Unwanted("role", f"{name} is the only admin.")
