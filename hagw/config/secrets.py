"""Keeps keys out of what is shown of a configuration: differences are printed and pasted into mails."""

import hashlib
import re
from typing import Final

_KEY: Final = re.compile(r"\b[0-9a-fA-F]{64}\b")


# A webhook's path is as good as a password, and so is what follows `secret:`.
_WEBHOOK: Final = re.compile(r"(\burl:\s*[\"']?https?://[^/\s\"']+/)[^\s\"',}]+")
_SECRET: Final = re.compile(r"(\bsecret:\s*)(\"[^\"\n]*\"|'[^'\n]*'|[^\s,}]+)")
_PASSWORD: Final = re.compile(r"(://[^\s:/@]*:)[^\s@]+(?=@)")


def masked(text: str) -> str:
    """Return the text with each secret replaced by a mark that differs when it does, and without URLs' passwords."""
    text = _KEY.sub(lambda found: f"<key {_mark(found.group())}>", text)
    text = _WEBHOOK.sub(lambda found: f"{found[1]}<path {_mark(found[0])}>", text)
    text = _SECRET.sub(lambda found: f"{found[1]}<secret {_mark(found[0])}>", text)
    return _PASSWORD.sub(r"\1<password>", text)


def _mark(key: str) -> str:
    """Return eight digits that nobody can turn back into the key, which has 256 random bits."""
    return hashlib.sha256(b"hagw mark of a key:" + key.lower().encode()).hexdigest()[:8]
