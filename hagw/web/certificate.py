"""The certificate browsers see: our own, made at the first start and known by its fingerprint, or the owner's.

STATE/web-key.pem     mode 0600
STATE/web-cert.pem    renewed, with the same key, a month before it ends

Who makes ours is a process that ends (`issuing`).
"""

import datetime
import hashlib
import json
import socket
import ssl
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hagw.errors import HagwError
from hagw.web.settings import Settings

KEY_FILE: Final = "web-key.pem"
CERTIFICATE_FILE: Final = "web-cert.pem"
RENEW: Final = datetime.timedelta(days=30)
ISSUING_S: Final = 30.0
AGAIN: Final = datetime.timedelta(seconds=60)


class CertificateUnusable(HagwError):
    """A certificate or its key cannot be read or do not belong together."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Files of a certificate and its key, and what tells that they are others."""

    certificate: Path
    key: Path
    stamp: tuple[int, ...]


class Certificates:
    """Which certificate to use; remembers how long ours is good, or why there is none."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._good: tuple[Pair, list[str], datetime.datetime, datetime.datetime] | None = None
        self._bad: tuple[str, list[str], datetime.datetime] | None = None

    def pair(self, settings: Settings, now: datetime.datetime) -> Pair:
        """Return the pair to use now; ours is made or renewed if needed. Raises CertificateUnusable."""
        if settings.certificate:
            return _pair(Path(settings.certificate), Path(settings.key))
        certificate, key, names = self._state / CERTIFICATE_FILE, self._state / KEY_FILE, _names(settings)
        if self._good is not None:
            pair, covered, since, until = self._good
            if names == covered and since <= now < until - RENEW and _is_there(pair):
                return pair
        if self._bad is not None and self._bad[1] == names and abs(now - self._bad[2]) < AGAIN:
            raise CertificateUnusable(self._bad[0])
        try:
            since, until = _issued(certificate, key, names, now)
        except CertificateUnusable as why:
            self._bad = str(why), names, now
            raise
        pair = _pair(certificate, key)
        self._good, self._bad = (pair, names, since, until), None
        return pair


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
        text = certificate.read_bytes().decode("latin-1")  # an owner may have written around it whatever
        first = text[text.index(ssl.PEM_HEADER) : text.index(ssl.PEM_FOOTER) + len(ssl.PEM_FOOTER)]
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(first)).hexdigest().upper()
    except (OSError, ValueError) as why:
        raise CertificateUnusable(f"{certificate} cannot be read: {why}.") from why
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))


def _pair(certificate: Path, key: Path) -> Pair:
    try:
        stamp = tuple(part for path in (certificate, key) for part in (path.stat().st_mtime_ns, path.stat().st_ino))
    except OSError as why:
        raise CertificateUnusable(f"{why.filename} cannot be read: {why.strerror}.") from why
    return Pair(certificate, key, stamp)


def _is_there(pair: Pair) -> bool:
    try:
        return _pair(pair.certificate, pair.key) == pair
    except CertificateUnusable:
        return False


def _issued(
    certificate: Path, key: Path, names: list[str], now: datetime.datetime
) -> tuple[datetime.datetime, datetime.datetime]:
    """Have ours made if needed; return from and until when it is good. Raises CertificateUnusable."""
    asked = {"certificate": str(certificate), "key": str(key), "names": names, "now": now.isoformat()}
    isolated = ("-P",) if sys.flags.safe_path else ()
    command = (sys.executable, *isolated, "-m", "hagw.web.issuing")
    try:
        done = subprocess.run(
            command, input=json.dumps(asked), capture_output=True, text=True, timeout=ISSUING_S, check=False
        )
        if done.returncode != 0:
            raise ValueError((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
        since, until = map(datetime.datetime.fromisoformat, json.loads(done.stdout))
    except (OSError, ValueError, subprocess.SubprocessError) as why:
        raise CertificateUnusable(f"{certificate.parent} does not take a certificate: {why}.") from why
    return since, until


def _names(settings: Settings) -> list[str]:
    found = [socket.gethostname(), "localhost", "127.0.0.1", "::1", *settings.names, *settings.addresses]
    return [name for name in dict.fromkeys(found) if name and name not in ("0.0.0.0", "::")]
