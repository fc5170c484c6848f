"""Passwords: what is asked of them, how they are kept (argon2id), and how one is made up.

The costs are OWASP's second choice for argon2id: 19 MiB and two passes, for machines with little memory to spare. The
desk looks at one password at a time.
"""

import secrets
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

LENGTH_MIN: Final = 10
LENGTH_MAX: Final = 256
DIFFERENT_MIN: Final = 5
MEMORY_KIB: Final = 19_456
PASSES: Final = 2
_GROUPS: Final = 4
_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"  # none that is taken for another one

_hasher: Final = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=1)


def made_up() -> str:
    """Return a password that nobody can guess (79 bits) and somebody can type: four groups of four letters."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(_GROUPS))


def fault_of(password: str, user: str) -> str | None:
    """Return what is wrong with a password as one sentence, None if it will do."""
    if len(password) < LENGTH_MIN:
        return f"A password has at least {LENGTH_MIN} characters."
    if len(password) > LENGTH_MAX:
        return f"A password has at most {LENGTH_MAX} characters."
    if len(set(password)) < DIFFERENT_MIN:
        return f"A password has at least {DIFFERENT_MIN} different characters."
    if user.lower() in password.lower():
        return "A password does not contain its user's name."
    return None


def hashed(password: str) -> str:
    """Return what is kept of a password; takes its time on purpose."""
    return _hasher.hash(password)


def fits(kept: str, password: str) -> bool:
    """Say whether this is the password; takes as long when it is not."""
    try:
        return _hasher.verify(kept, password)
    except (VerificationError, InvalidHashError):
        return False


def is_outdated(kept: str) -> bool:
    """Say whether a hash was made at other costs than today's."""
    return _hasher.check_needs_rehash(kept)
