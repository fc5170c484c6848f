"""Error codes of the Convert protocol, and the exceptions of its codec, each with who is to blame.

What an Error TLV's Value field holds for each code is `hagw.convert.error_value`'s.
"""

from enum import IntEnum
from typing import ClassVar, Final, Literal


class ErrorCode(IntEnum):
    """RFC 8803 section 6.2.8. A peer may send others (128-255), so a received code is a plain int."""

    UNSUPPORTED_VERSION = 0
    MALFORMED_MESSAGE = 1
    UNSUPPORTED_MESSAGE = 2
    MISSING_COOKIE = 3
    NOT_AUTHORIZED = 32
    UNSUPPORTED_TCP_OPTION = 33
    RESOURCE_EXCEEDED = 64
    NETWORK_FAILURE = 65
    CONNECTION_RESET = 96
    DESTINATION_UNREACHABLE = 97


class ProtocolError(Exception):
    """The protocol was broken by the side named in `blame`."""

    blame: ClassVar[Literal["local", "remote"]]


class Malformed(ProtocolError):
    """The peer's bytes are no valid message.

    `code` is what a converter answers with an Error TLV; None = answer nothing, reset the connection
    (a Total Length of 0, or not the Convert protocol at all). A client resets in either case.
    """

    blame = "remote"

    def __init__(self, code: ErrorCode | None, reason: str) -> None:
        self.code: Final = code
        self.reason: Final = reason
        super().__init__(reason)


class Misuse(ProtocolError):
    """Our own caller asked for a message that cannot be sent, or not now."""

    blame = "local"
