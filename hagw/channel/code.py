"""The enrolment code a customer is invited with: a secret to show once, and the gateway's certificate to show it to.

32 letters and digits in groups: 10 bytes of secret, 10 bytes of the SHA-256 of the gateway's certificate.
"""

import base64
import secrets
from dataclasses import dataclass
from typing import Final

from hagw.errors import Refused

SECRET_SIZE: Final = 10
MARK_SIZE: Final = 10
_GROUP: Final = 4


@dataclass(frozen=True, slots=True)
class Code:
    """What an enrolment code says: `mark` is the beginning of the certificate's fingerprint."""

    secret: bytes
    mark: bytes

    def __str__(self) -> str:
        letters = base64.b32encode(self.secret + self.mark).decode()
        return "-".join(letters[at : at + _GROUP] for at in range(0, len(letters), _GROUP))


def new_code(fingerprint: bytes) -> Code:
    """Return a fresh code for the gateway with this certificate's fingerprint."""
    return Code(secrets.token_bytes(SECRET_SIZE), fingerprint[:MARK_SIZE])


def parse_code(text: str) -> Code:
    """Return what a code says, however it is grouped and cased. Raise Refused."""
    letters = text.replace("-", "").replace(" ", "").upper().replace("0", "O").replace("1", "I").replace("8", "B")
    try:
        raw = base64.b32decode(letters)
    except ValueError:
        raw = b""
    if len(raw) != SECRET_SIZE + MARK_SIZE:
        raise Refused(
            "This is not an enrolment code: it has 32 letters and digits, as `hagw customer add` prints them."
        )
    return Code(raw[:SECRET_SIZE], raw[SECRET_SIZE:])
