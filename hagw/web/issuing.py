"""Make or renew the page's own certificate: `python -m hagw.web.issuing`, a process that lives for this alone.

The library that signs takes 10 MB, and is wanted once a year. Asked in JSON on stdin, by `certificate`; answers with
the time for which the certificate is good, or ends with 1 and the reason on stderr.
"""

import datetime
import json
import os
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from hagw.web.certificate import RENEW

LIFE: Final = datetime.timedelta(days=397)  # more, browsers take for a mistake
_BACKDATED: Final = datetime.timedelta(days=1)


def make_sure(
    certificate: Path, key: Path, names: list[str], now: datetime.datetime
) -> tuple[datetime.datetime, datetime.datetime]:
    """Have a certificate that is good for a month at least, and for these names; return from and until when it is.

    Raises OSError and ValueError.
    """
    if key.exists() and certificate.exists():
        there = x509.load_pem_x509_certificate(certificate.read_bytes())
        covered = set(there.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
        life = there.not_valid_before_utc, there.not_valid_after_utc
        if life[0] <= now < life[1] - RENEW and set(_alternatives(names)) <= covered:
            return life
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
    return now - _BACKDATED, now + LIFE


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


def _main() -> int:
    asked = json.load(sys.stdin)
    now = datetime.datetime.fromisoformat(asked["now"])
    try:
        life = make_sure(Path(asked["certificate"]), Path(asked["key"]), asked["names"], now)
    except (OSError, ValueError) as why:
        print(why, file=sys.stderr)
        return 1
    json.dump([each.isoformat() for each in life], sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(_main())
