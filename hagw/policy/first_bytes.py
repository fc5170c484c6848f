"""The server's name from the first bytes of a TCP connection: TLS ClientHello (RFC 8446, RFC 6066) or HTTP/1 request.

Any bytes may come: what is neither is `OTHER`, what could still become one is `MORE`, and nothing raises. Each loop
consumes or stops; a hello longer than MAX_BYTES is not waited for.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

MAX_BYTES: Final = 16 * 1024

_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0
_HOST_NAME: Final = 0
_ENCRYPTED_CLIENT_HELLO: Final = 0xFE0D
_RECORD_MAX: Final = (1 << 14) + 256
_METHOD: Final = re.compile(rb"[A-Z]{3,16} ")
_METHOD_BEGUN: Final = re.compile(rb"[A-Z]{0,16}")
_LINE_END: Final = re.compile(rb"\r?\n")
_NAME: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_][a-z0-9_-]{0,62})*", re.ASCII)
_ONLY_DIGITS: Final = re.compile(r"[0-9.]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Named:
    """A name was found. `is_outer`: an encrypted hello may be inside, whose name is another one (or it is GREASE)."""

    domain: str
    source: Literal["sni", "host"]
    is_outer: bool = False


MORE: Final = "more"
OTHER: Final = "other"
FirstBytes = Named | Literal["more", "other"]


def read(data: bytes) -> FirstBytes:
    """Say what the first bytes tell; `data` begins where the connection began."""
    if not data:
        return MORE
    found = _tls(data) if data[0] == _HANDSHAKE else _http(data)
    return OTHER if found == MORE and len(data) >= MAX_BYTES else found


def domain_name(text: str) -> str | None:
    """Return a name as rules have it: lower case, no final dot; None for an address or what is no name."""
    name = text.lower().removesuffix(".")
    return name if _NAME.fullmatch(name) and not _ONLY_DIGITS.fullmatch(name) else None


# --- TLS


def _tls(data: bytes) -> FirstBytes:
    """Put the handshake together from its records, which may cut it anywhere; read the hello as far as it goes."""
    handshake = bytearray()
    offset = 0
    while len(handshake) < 4 or len(handshake) < 4 + int.from_bytes(handshake[1:4], "big"):
        header = data[offset : offset + 5]
        if header[:1] not in (b"", b"\x16") or header[1:2] not in (b"", b"\x03"):
            return OTHER
        if handshake and handshake[0] != _CLIENT_HELLO:
            return OTHER
        if len(header) < 5:
            return _hello(bytes(handshake[4:])) or MORE
        size = int.from_bytes(header[3:5], "big")
        if not 0 < size <= _RECORD_MAX:
            return OTHER
        handshake += data[offset + 5 : offset + 5 + size]
        offset += 5 + size
    if handshake[0] != _CLIENT_HELLO:
        return OTHER
    return _hello(bytes(handshake[4 : 4 + int.from_bytes(handshake[1:4], "big")])) or OTHER


def _hello(hello: bytes) -> Named | None:
    """Return the name a ClientHello asks for, None where there is none (in what has arrived).

    An extension may come once only (RFC 8446 section 4.2): where server_name comes twice, the first one stands.
    """
    offset = 2 + 32
    for length_size in (1, 2, 1):  # session id, cipher suites, compression methods
        if offset + length_size > len(hello):
            return None
        offset += length_size + int.from_bytes(hello[offset : offset + length_size], "big")
    end = min(offset + 2 + int.from_bytes(hello[offset : offset + 2], "big"), len(hello))
    offset += 2
    domain: str | None = None
    is_asked = is_outer = False
    while offset + 4 <= end:
        kind = int.from_bytes(hello[offset : offset + 2], "big")
        size = int.from_bytes(hello[offset + 2 : offset + 4], "big")
        body = hello[offset + 4 : offset + 4 + size]
        if kind == _SERVER_NAME and len(body) == size and not is_asked:
            is_asked = True
            domain = _server_name(body)
        is_outer |= kind == _ENCRYPTED_CLIENT_HELLO
        offset += 4 + size
    return None if domain is None else Named(domain, "sni", is_outer)


def _server_name(body: bytes) -> str | None:
    """Return the first host name of a server_name extension."""
    offset = 2
    while offset + 3 <= len(body):
        size = int.from_bytes(body[offset + 1 : offset + 3], "big")
        name = body[offset + 3 : offset + 3 + size]
        if body[offset] == _HOST_NAME:
            return domain_name(name.decode("latin-1")) if len(name) == size else None
        offset += 3 + size
    return None


# --- HTTP/1


def _http(data: bytes) -> FirstBytes:
    """Read the Host of a request, or the authority of an absolute target; HTTP/2's preface has neither."""
    if not _METHOD.match(data):
        is_begun = len(data) <= 16 and _METHOD_BEGUN.fullmatch(data)
        return MORE if is_begun else OTHER
    lines = _LINE_END.split(data[:MAX_BYTES])
    request = lines[0].split(b" ")
    if len(lines) > 1 and (len(request) != 3 or not request[2].startswith(b"HTTP/1.")):
        return OTHER
    for line in lines[1:-1]:  # what follows the last line end has not arrived in full
        if not line:
            return OTHER
        name, _, value = line.partition(b":")
        if name.lower() == b"host":
            return _host(value.strip(b" \t"))
    return MORE


def _host(value: bytes) -> FirstBytes:
    """Return the name of a Host field, without its port."""
    name = domain_name(value.rpartition(b":")[0].decode("latin-1") if b":" in value else value.decode("latin-1"))
    return OTHER if name is None else Named(name, "host")
