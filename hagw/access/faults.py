"""What the desk refuses, each with what its caller needs to say so."""

from hagw.errors import HagwError, Refused


class Denied(Refused):
    """Who asks is not who they say."""


class TooMany(Refused):
    """Too many tries; the next one is in `wait_s` seconds."""

    def __init__(self, wait_s: float) -> None:
        self.wait_s = wait_s
        super().__init__(f"Too many tries. The next one is in {max(1, round(wait_s))} s.")


class Unknown(Refused):
    """There is no such user, session or token."""


class Unwanted(Refused):
    """A value cannot be taken; `field` is its name in the request."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)


class NotKept(HagwError):
    """The disk refuses."""
