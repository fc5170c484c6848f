"""Secrets of sessions and tokens: 256 random bits that say what they are, kept as a digest only."""

import hashlib
import secrets
from typing import Final

LENGTH_MAX: Final = 128


def new_secret(prefix: str) -> str:
    """Return a fresh secret."""
    return prefix + secrets.token_urlsafe(32)


def new_mark() -> str:
    """Return a fresh public name of a session or token."""
    return secrets.token_hex(8)


def digest(secret: str) -> str:
    """Return what is kept of a secret; it is random, so that no slow hash is needed."""
    return hashlib.sha256(secret.encode()).hexdigest()
