"""What an Error TLV's Value field holds, by error code (RFC 8803 section 6.2.8): written and read here.

Values as received include their zero padding (see `hagw.convert.tlv.Error`).
"""

from collections.abc import Iterable
from typing import Final

ECHO_SIZE: Final = 253 * 4  # of the 255 words, one is the fixed header and one the Error TLV's own
RETRY_DEFAULT_S: Final = 30
RETRY_MAX_S: Final = 3600


def echo(message: bytes) -> bytes:
    """Return the value of Malformed and Unsupported Message: the offending message, cut to what fits."""
    return b"\x00" + message[:ECHO_SIZE]


def missing_cookie(cookie: bytes) -> bytes:
    """Return the value of Missing Cookie: the cookie to come back with."""
    return b"\x00" + cookie


def read_missing_cookie(value: bytes) -> bytes:
    """Return the cookie; empty if there is none."""
    return value[1:]


def byte_list(items: Iterable[int]) -> bytes:
    """Return the value of Unsupported Version (the versions we speak) or Unsupported TCP Option (the kinds)."""
    return bytes(items)


def read_byte_list(value: bytes) -> tuple[int, ...]:
    """Return the versions or kinds listed; zero bytes are padding."""
    return tuple(item for item in value if item)


def retry(delay_s: int) -> bytes:
    """Return the value of Resource Exceeded and Network Failure: 1 to 255 s, or 0 to suggest no delay."""
    return bytes((min(max(delay_s, 0), 255),))


def read_retry_s(value: bytes) -> int:
    """Return how many seconds to leave the converter alone: RETRY_DEFAULT_S if it does not say, at most an hour."""
    return min(int.from_bytes(value, "big"), RETRY_MAX_S) or RETRY_DEFAULT_S


def unreachable(icmp_code: int) -> bytes:
    """Return the value of Destination Unreachable: the Code byte of the ICMP message."""
    return bytes((icmp_code,))


def read_unreachable(value: bytes) -> int:
    """Return the ICMP Code byte."""
    return value[0] if value else 0
