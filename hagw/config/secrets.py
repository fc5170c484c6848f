"""Keeps keys out of what is shown of a configuration: differences are printed and pasted into mails."""

import hashlib
import re
from typing import Final

_KEY: Final = re.compile(r"\b[0-9a-fA-F]{64}\b")


_PASSWORD: Final = re.compile(r"(://[^\s:/@]*:)[^\s@]+(?=@)")


def masked(text: str) -> str:
    """Return the text with each key replaced by a mark that differs when the key does, and without URLs' passwords."""
    return _PASSWORD.sub(r"\1<password>", _KEY.sub(lambda found: f"<key {_mark(found.group())}>", text))


def _mark(key: str) -> str:
    """Return eight digits that nobody can turn back into the key, which has 256 random bits."""
    return hashlib.sha256(b"hagw mark of a key:" + key.lower().encode()).hexdigest()[:8]
