"""How the two ends of a control channel prove who they are; both proofs are bound to this very TLS certificate.

The CPE signs with the device key it made when it enrolled. The gateway shows the certificate whose fingerprint the CPE
keeps, or, as another gateway of the same registry, an HMAC with the customer's key. Somebody in between has another
certificate, for which neither proof holds.
"""

import hashlib
import hmac
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

DEVICE_KEY_SIZE: Final = 32
SIGNATURE_SIZE: Final = 64
PROOF_SIZE: Final = 32
_LOGIN: Final = b"hagw control login 1\0"
_WELCOME: Final = b"hagw control welcome 1\0"


def new_device_key() -> bytes:
    """Return a private device key."""
    return Ed25519PrivateKey.generate().private_bytes_raw()


def public_key(device_key: bytes) -> bytes:
    """Return what the registry may know of a device key."""
    return Ed25519PrivateKey.from_private_bytes(device_key).public_key().public_bytes_raw()


def transcript(gateway_nonce: bytes, cpe_nonce: bytes, fingerprint: bytes, customer: str) -> bytes:
    """Return what both proofs are about: fixed sizes first, so that nothing can be read in two ways."""
    return gateway_nonce + cpe_nonce + fingerprint + customer.encode()


def sign(device_key: bytes, about: bytes) -> bytes:
    """Return the CPE's proof."""
    return Ed25519PrivateKey.from_private_bytes(device_key).sign(_LOGIN + about)


def is_signed(public: bytes, signature: bytes, about: bytes) -> bool:
    """Say whether the CPE with this public key has signed this."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _LOGIN + about)
    except (InvalidSignature, ValueError):
        return False
    return True


def gateway_proof(key: bytes, about: bytes) -> bytes:
    """Return the gateway's proof by one of the customer's keys."""
    return hmac.digest(key, _WELCOME + about, "sha256")


def is_proven(key: bytes, proof: bytes, about: bytes) -> bool:
    """Say whether the gateway knows this key of ours."""
    return hmac.compare_digest(gateway_proof(key, about), proof)


def key_id(key: bytes) -> str:
    """Return what a key is called, from which it cannot be found."""
    return hashlib.sha256(b"hagw customer key\0" + key).hexdigest()[:16]
