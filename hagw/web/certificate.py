"""The certificate browsers see: our own, made at the first start and known by its fingerprint, or the owner's.

STATE/web-key.pem     mode 0600
STATE/web-cert.pem    renewed, with the same key, a month before it ends
"""

import datetime
import hashlib
import os
import socket
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from hagw.errors import HagwError
from hagw.web.settings import Settings

KEY_FILE: Final = "web-key.pem"
CERTIFICATE_FILE: Final = "web-cert.pem"
LIFE: Final = datetime.timedelta(days=397)  # more, browsers take for a mistake
RENEW: Final = datetime.timedelta(days=30)
_BACKDATED: Final = datetime.timedelta(days=1)


class CertificateUnusable(HagwError):
    """A certificate or its key cannot be read or do not belong together."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Files of a certificate and its key, and what tells that they are others."""

    certificate: Path
    key: Path
    stamp: tuple[int, ...]


def pair_of(settings: Settings, state: Path, now: datetime.datetime) -> Pair:
    """Return the pair to use now; ours is made or renewed if needed. Raises CertificateUnusable."""
    if settings.certificate:
        certificate, key = Path(settings.certificate), Path(settings.key)
    else:
        certificate, key = state / CERTIFICATE_FILE, state / KEY_FILE
        try:
            _make_sure(certificate, key, settings, now)
        except (OSError, ValueError) as why:
            raise CertificateUnusable(f"{state} does not take a certificate: {why}.") from why
    try:
        stamp = tuple(part for path in (certificate, key) for part in (path.stat().st_mtime_ns, path.stat().st_ino))
    except OSError as why:
        raise CertificateUnusable(f"{why.filename} cannot be read: {why.strerror}.") from why
    return Pair(certificate, key, stamp)


def context_for(pair: Pair) -> ssl.SSLContext:
    """Return how we speak TLS. Raises CertificateUnusable."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(pair.certificate, pair.key)
    except (OSError, ssl.SSLError) as why:
        raise CertificateUnusable(f"{pair.certificate} is not a certificate with its key: {why}.") from why
    return context


def fingerprint(certificate: Path) -> str:
    """Return the SHA-256 of a certificate as browsers show it. Raises CertificateUnusable."""
    try:
        parsed = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError) as why:
        raise CertificateUnusable(f"{certificate} cannot be read: {why}.") from why
    digest = hashlib.sha256(parsed.public_bytes(serialization.Encoding.DER)).hexdigest().upper()
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))


def _make_sure(certificate: Path, key: Path, settings: Settings, now: datetime.datetime) -> None:
    """Have a certificate that is good for a month at least, and for the names there are."""
    names = _names(settings)
    if key.exists() and certificate.exists():
        there = x509.load_pem_x509_certificate(certificate.read_bytes())
        covers = set(_alternatives(names)) <= set(
            there.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        )
        if there.not_valid_before_utc <= now < there.not_valid_after_utc - RENEW and covers:
            return
    if not key.exists():
        private = ec.generate_private_key(ec.SECP256R1())
        text = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _write(key, text, 0o600)
    loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    if not isinstance(loaded, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{key} is not a key of ours")
    _write(certificate, _signed(loaded, names, now), 0o644)


def _signed(key: ec.EllipticCurvePrivateKey, names: list[str], now: datetime.datetime) -> bytes:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"hagw {names[0]}"[:64])])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + LIFE)
        .add_extension(x509.SubjectAlternativeName(_alternatives(names)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )


def _names(settings: Settings) -> list[str]:
    found = [socket.gethostname(), "localhost", "127.0.0.1", "::1", *settings.names, *settings.addresses]
    return [name for name in dict.fromkeys(found) if name and name not in ("0.0.0.0", "::")]


def _alternatives(names: list[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name.encode("idna").decode()))
    return found


def _write(path: Path, text: bytes, mode: int) -> None:
    """Replace a file as a whole."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with open(descriptor, "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    os.replace(beside, path)
