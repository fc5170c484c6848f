"""The cookie with which a customer's CPE opens a converter: keyed, stateless to verify, never handed out.

Layout, 28 bytes: epoch (4, big-endian) · customer tag (8) · MAC (16). The epoch counts periods of the HAG's
clock, which the CPE knows from authenticated echoes; a cookie lives one to two periods, so that rotation needs
no message. The MAC is HMAC-SHA256 with the customer's pre-shared key, cut to 128 bits.

A cookie says who the customer is, not from where: it must work over every access line. Whoever reads it on the
path can use it until its epoch is over; a HAG that faces such listeners limits the customer's source prefixes.
"""

import hashlib
import hmac
from dataclasses import dataclass
from struct import Struct
from typing import Final

PERIOD_S: Final = 3600.0
TAG_SIZE: Final = 8
MAC_SIZE: Final = 16
COOKIE_SIZE: Final = 4 + TAG_SIZE + MAC_SIZE

_FIELDS: Final = Struct(f"!I{TAG_SIZE}s{MAC_SIZE}s")
_TAG_LABEL: Final = b"hagw customer tag\x00"
_MAC_LABEL: Final = b"hagw cookie\x00"


@dataclass(frozen=True, slots=True)
class PresentedCookie:
    """A cookie's fields, not verified: `tag` tells whose key to verify it with."""

    epoch: int
    tag: bytes
    mac: bytes


def customer_tag(customer: str) -> bytes:
    """Return the 8 bytes that stand for a customer's name in a cookie."""
    return hashlib.sha256(_TAG_LABEL + customer.encode()).digest()[:TAG_SIZE]


def mint(key: bytes, customer: str, hag_time_s: float) -> bytes:
    """Return the cookie for this customer at this time of the HAG's clock (seconds, not negative)."""
    epoch = _epoch(hag_time_s)
    return _FIELDS.pack(epoch, customer_tag(customer), _mac(key, customer, epoch))


def parse(value: bytes) -> PresentedCookie | None:
    """Return the fields of a Cookie TLV's value; None if it is not one of ours."""
    return PresentedCookie(*_FIELDS.unpack(value)) if len(value) == COOKIE_SIZE else None


def verify(cookie: PresentedCookie, key: bytes, customer: str, hag_time_s: float) -> bool:
    """Say whether the cookie was minted with this key for this customer, in this epoch or one beside it.

    The time it takes does not depend on how much of the MAC is right.
    """
    genuine = hmac.compare_digest(cookie.mac, _mac(key, customer, cookie.epoch))
    fresh = abs(cookie.epoch - _epoch(hag_time_s)) <= 1
    return genuine and fresh and cookie.tag == customer_tag(customer)


def _epoch(hag_time_s: float) -> int:
    return int(hag_time_s // PERIOD_S)


def _mac(key: bytes, customer: str, epoch: int) -> bytes:
    message = _MAC_LABEL + epoch.to_bytes(4, "big") + customer.encode()
    return hmac.digest(key, message, "sha256")[:MAC_SIZE]
