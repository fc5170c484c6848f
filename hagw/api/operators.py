"""What the text in a request means: admins' word for word, of who sees none of its secrets the share that is theirs."""

from typing import Protocol

from fastapi import Request

from hagw.api.access import login_of
from hagw.config.secrets import masked
from hagw.config.share import is_masked, meant


class InForce(Protocol):
    """What is asked of the daemon's transactions."""

    def text(self, generation: int | None) -> str: ...


def is_admin(request: Request) -> bool:
    """Say whether a request comes from who sees and may change everything."""
    return login_of(request).reaches("admin")


def shown(request: Request, daemon: InForce) -> str:
    """Return the text in force as whoever asks may see it."""
    text = daemon.text(None)
    return text if is_admin(request) else masked(text)


def whole(request: Request, daemon: InForce, text: str, file: str) -> str:
    """Return a text with its secrets, where it was shown without them. Raise NotYours or ConfigError."""
    if is_admin(request) or not is_masked(text):
        return text
    return meant(daemon.text(None), text, file)
