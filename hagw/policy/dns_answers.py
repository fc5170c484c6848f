"""What a DNS answer tells: which name was asked for, and which addresses it has (RFC 1035, RFC 3596).

Any bytes may come: what is no complete, successful answer to one question tells nothing, and nothing raises. Each loop
consumes or stops; a chain of aliases is followed for ALIASES_MAX links.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from hagw.model.intent import IPAddress
from hagw.policy.first_bytes import domain_name

MESSAGE_MAX: Final = 65_535
RECORDS_MAX: Final = 256
ALIASES_MAX: Final = 16
ADDRESSES_MAX: Final = 32  # of one answer

_HEADER_BYTES: Final = 12
_QR_OPCODE_TC_RCODE: Final = 0xFA0F
_ANSWER: Final = 0x8000  # a response to a standard query, whole and without an error
_POINTERS_MAX: Final = 32
_NAME_MAX: Final = 255
_A: Final = 1
_CNAME: Final = 5
_AAAA: Final = 28
_IN: Final = 1

_Record = tuple[str, int, int, bytes | str]  # owner, type, TTL, address or alias


@dataclass(frozen=True, slots=True)
class Resolved:
    """A name that was asked for and the addresses it was answered with; the TTL is the shortest on the way to them."""

    domain: str
    addresses: tuple[IPAddress, ...]
    ttl_s: int


def resolved(message: bytes) -> Resolved | None:
    """Return what a DNS message (the payload of a UDP datagram) tells, None where that is nothing."""
    if not _HEADER_BYTES <= len(message) <= MESSAGE_MAX:
        return None
    flags, questions, answers = (int.from_bytes(message[at : at + 2]) for at in (2, 4, 6))
    if flags & _QR_OPCODE_TC_RCODE != _ANSWER or questions != 1:
        return None
    asked = _name(message, _HEADER_BYTES)
    if asked is None or asked[1] + 4 > len(message):
        return None
    name, offset = asked
    domain = domain_name(name)
    if domain is None:
        return None
    return _addresses(domain, name, _records(message, offset + 4, min(answers, RECORDS_MAX)))


def _addresses(domain: str, name: str, records: list[_Record]) -> Resolved | None:
    """Follow the aliases from the name that was asked for to the addresses at their end."""
    ttls = []
    for _ in range(ALIASES_MAX):
        here = [each for each in records if each[0] == name]
        found = [
            (_parsed(value), ttl) for _, kind, ttl, value in here if kind in (_A, _AAAA) and not isinstance(value, str)
        ]
        if found:
            ttls += [ttl for _, ttl in found]
            return Resolved(domain, tuple(address for address, _ in found[:ADDRESSES_MAX]), min(ttls))
        alias = next(((value, ttl) for _, kind, ttl, value in here if kind == _CNAME and isinstance(value, str)), None)
        if alias is None:
            return None
        name = alias[0]
        ttls.append(alias[1])
    return None


def _parsed(value: bytes) -> IPAddress:
    return IPv4Address(value) if len(value) == 4 else IPv6Address(value)


def _records(message: bytes, offset: int, count: int) -> list[_Record]:
    """Read the records as far as they are whole."""
    found: list[_Record] = []
    for _ in range(count):
        owner = _name(message, offset)
        if owner is None or owner[1] + 10 > len(message):
            break
        name, at = owner
        kind, of, ttl, size = (int.from_bytes(message[at + a : at + b]) for a, b in ((0, 2), (2, 4), (4, 8), (8, 10)))
        begin, offset = at + 10, at + 10 + size
        if offset > len(message):
            break
        if of != _IN:
            continue
        ttl = 0 if ttl >= 1 << 31 else ttl  # RFC 2181 section 8
        if (kind, size) in ((_A, 4), (_AAAA, 16)):
            found.append((name, kind, ttl, message[begin:offset]))
        elif kind == _CNAME and (alias := _name(message, begin)) is not None:
            found.append((name, kind, ttl, alias[0]))
    return found


def _name(message: bytes, offset: int) -> tuple[str, int] | None:
    """Read a name, compressed or not (RFC 1035 section 4.1.4); return it in lower case and where it ends."""
    labels: list[str] = []
    end: int | None = None
    size = jumps = 0
    while offset < len(message):
        length = message[offset]
        if length >= 0xC0:
            jumps += 1
            if offset + 2 > len(message) or jumps > _POINTERS_MAX:
                return None
            end = offset + 2 if end is None else end
            offset = int.from_bytes(message[offset : offset + 2]) & 0x3FFF
        elif length > 63:
            return None
        elif length == 0:
            return ".".join(labels), offset + 1 if end is None else end
        else:
            label = message[offset + 1 : offset + 1 + length]
            size += length + 1
            if len(label) < length or size > _NAME_MAX:
                return None
            labels.append(label.decode("latin-1").lower())
            offset += 1 + length
    return None
