"""What a CPE keeps of its enrolment at a gateway: a file of its own in the state directory, secret."""

import json
from dataclasses import dataclass
from pathlib import Path

from hagw.channel.proof import DEVICE_KEY_SIZE

KEY_SIZE = 32
FINGERPRINT_SIZE = 32


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are at a gateway, and by which certificate we know it. `key` makes cookies and echoes."""

    customer: str
    key: bytes
    device_key: bytes
    fingerprint: bytes


def credentials_file(state_dir: Path, gateway: str) -> Path:
    """Return where the credentials for a gateway are."""
    return state_dir / f"enrolment-{gateway}.json"


def encode_credentials(credentials: Credentials) -> str:
    """Return them as the file's text."""
    return json.dumps(
        {
            "version": 1,
            "customer": credentials.customer,
            "key": credentials.key.hex(),
            "device_key": credentials.device_key.hex(),
            "fingerprint": credentials.fingerprint.hex(),
        }
    )


def decode_credentials(text: str) -> Credentials | None:
    """Return what a file's text says, None where it is something else."""
    try:
        document = json.loads(text)
        if document["version"] != 1:
            return None
        found = Credentials(
            str(document["customer"]),
            bytes.fromhex(document["key"]),
            bytes.fromhex(document["device_key"]),
            bytes.fromhex(document["fingerprint"]),
        )
    except (ValueError, KeyError, TypeError):
        return None
    sizes = (len(found.key), len(found.device_key), len(found.fingerprint))
    return found if sizes == (KEY_SIZE, DEVICE_KEY_SIZE, FINGERPRINT_SIZE) else None


def load_credentials(state_dir: Path, gateway: str) -> Credentials | None:
    """Return the credentials for a gateway, None where there are none that can be used."""
    try:
        return decode_credentials(credentials_file(state_dir, gateway).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None
