"""A gateway's identity towards its CPEs: a self-signed certificate, made once, known by its fingerprint alone."""

import datetime
import hashlib
import os
import ssl
from pathlib import Path
from typing import Final

from hagw.errors import Refused

FILE: Final = "control.pem"  # private key and certificate, in the state directory
_LIFE: Final = datetime.timedelta(days=36_500)  # nobody looks: what counts is the fingerprint


def fingerprint_of(state_dir: Path) -> bytes:
    """Return the SHA-256 of this gateway's certificate, made now if there is none. Raise Refused."""
    text = _pem(state_dir).decode()
    begin = text.index("-----BEGIN CERTIFICATE-----")
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(text[begin:])).digest()


def server_context(state_dir: Path) -> ssl.SSLContext:
    """Return how the gateway speaks TLS. Raise Refused."""
    _pem(state_dir)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(state_dir / FILE)
    except (OSError, ssl.SSLError) as why:
        raise Refused(f"{state_dir / FILE} is not a certificate with its key: {why}.") from why
    return context


def client_context() -> ssl.SSLContext:
    """Return how a CPE speaks TLS: no authority vouches for gateways, the CPE compares fingerprints itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def peer_fingerprint(connection: ssl.SSLObject) -> bytes:
    """Return the SHA-256 of the certificate that the other end has shown."""
    return hashlib.sha256(connection.getpeercert(binary_form=True) or b"").digest()


def _pem(state_dir: Path) -> bytes:
    path = state_dir / FILE
    try:
        if not path.exists():
            _write_once(path, _made())
        return path.read_bytes()
    except OSError as why:
        raise Refused(f"{path} cannot be used: {why.strerror}.") from why


def _write_once(path: Path, pem: bytes) -> None:
    """Write the file as a whole; of two who make one at a time, both use the first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(descriptor)
        os.link(beside, path)
    except FileExistsError:
        pass
    finally:
        beside.unlink()


def _made() -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hagw gateway")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + _LIFE)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)
