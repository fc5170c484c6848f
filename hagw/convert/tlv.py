"""The TLVs of RFC 8803 section 6.2: one frozen class each, which knows its own bytes.

`Tlv` is the registry: a class named there is encoded, decoded and tested. Where a TLV may appear and what
it then means is left to `hagw.convert.machine`.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from struct import Struct
from typing import ClassVar, Final, Self, get_args

from hagw.convert.errors import ErrorCode, Malformed, Misuse

WORD_SIZE: Final = 4
MAX_TLV_SIZE: Final = 254 * WORD_SIZE  # a message has 255 words, one of them is its fixed header

_V4_MAPPED: Final = 0xFFFF << 32
_CONNECT: Final = Struct("!BBHQQ")
_CONNECT_BODY: Final = Struct("!HQQ")
_CONNECT_BASE_WORDS: Final = 5
_END_OF_OPTIONS: Final = 0
_NO_OPERATION: Final = 1


@dataclass(frozen=True, slots=True)
class TcpOption:
    """A TCP option to put in the SYN towards the server. An empty value lets the converter choose its own."""

    kind: int
    value: bytes = b""


@dataclass(frozen=True, slots=True)
class Info:
    """Ask which TCP options the converter converts (section 6.2.3)."""

    TYPE: ClassVar[int] = 0x01

    def encode(self) -> bytes:
        """Return the TLV's bytes."""
        return b"\x01\x01\x00\x00"

    @classmethod
    def decode(cls, tlv: bytes) -> Self:
        """Read the TLV. Raise Malformed if it is not one word."""
        if len(tlv) != WORD_SIZE:
            raise Malformed(ErrorCode.MALFORMED_MESSAGE, "Info TLV is not one word")
        return cls()


@dataclass(frozen=True, slots=True)
class Connect:
    """Name the server (section 6.2.5). An IPv4 server is an IPv4Address here and ::ffff:a.b.c.d on the wire."""

    TYPE: ClassVar[int] = 0x0A

    port: int
    address: IPv4Address | IPv6Address
    options: tuple[TcpOption, ...] = ()

    def encode(self) -> bytes:
        """Return the TLV's bytes; 20 of them without options. Raise Misuse for options that cannot be asked."""
        number = int(self.address)
        if self.address.version == 4:
            number |= _V4_MAPPED
        options = encode_options(self.options) if self.options else b""
        words = _CONNECT_BASE_WORDS + len(options) // WORD_SIZE
        if words > MAX_TLV_SIZE // WORD_SIZE:
            raise Misuse("TCP options do not fit a Connect TLV")
        return _CONNECT.pack(self.TYPE, words, self.port, number >> 64, number & 0xFFFF_FFFF_FFFF_FFFF) + options

    @classmethod
    def decode(cls, tlv: bytes) -> Self:
        """Read the TLV. Raise Malformed if it is too short or its options do not fit."""
        if len(tlv) < _CONNECT.size:
            raise Malformed(ErrorCode.MALFORMED_MESSAGE, "Connect TLV is shorter than five words")
        port, high, low = _CONNECT_BODY.unpack_from(tlv, 2)
        if not high and low >> 32 == 0xFFFF:
            address: IPv4Address | IPv6Address = IPv4Address(low & 0xFFFF_FFFF)
        else:
            address = IPv6Address(high << 64 | low)
        options = decode_options(tlv[_CONNECT.size :]) if len(tlv) > _CONNECT.size else ()
        return cls(port, address, options)


@dataclass(frozen=True, slots=True)
class ExtendedTcpHeader:
    """The TCP options of the server's SYN+ACK, verbatim and zero-padded to a word (section 6.2.6)."""

    TYPE: ClassVar[int] = 0x14

    options: bytes = b""

    def encode(self) -> bytes:
        """Return the TLV's bytes. Raise Misuse if the options are too long."""
        return _pack(self.TYPE, b"\x00\x00" + self.options)

    @classmethod
    def decode(cls, tlv: bytes) -> Self:
        """Read the TLV; the options keep their padding."""
        return cls(tlv[WORD_SIZE:])


@dataclass(frozen=True, slots=True)
class SupportedTcpExtensions:
    """The kinds of TCP options that the converter converts (section 6.2.4)."""

    TYPE: ClassVar[int] = 0x15

    kinds: tuple[int, ...] = ()

    def encode(self) -> bytes:
        """Return the TLV's bytes. Raise Misuse for kind 0, which is padding."""
        if 0 in self.kinds:
            raise Misuse("kind 0 cannot be listed")
        return _pack(self.TYPE, b"\x00\x00" + bytes(self.kinds))

    @classmethod
    def decode(cls, tlv: bytes) -> Self:
        """Read the TLV; zero bytes are padding wherever they stand."""
        return cls(tuple(kind for kind in tlv[WORD_SIZE:] if kind))


@dataclass(frozen=True, slots=True)
class Cookie:
    """Proof that the client may use the converter (section 6.2.7). The value is whole words, so never padded."""

    TYPE: ClassVar[int] = 0x16

    value: bytes

    def encode(self) -> bytes:
        """Return the TLV's bytes. Raise Misuse if the value is not a multiple of 4 bytes."""
        if len(self.value) % WORD_SIZE:
            raise Misuse("a cookie is a multiple of 4 bytes")
        return _pack(self.TYPE, b"\x00\x00" + self.value)

    @classmethod
    def decode(cls, tlv: bytes) -> Self:
        """Read the TLV."""
        return cls(tlv[WORD_SIZE:])


@dataclass(frozen=True, slots=True)
class Error:
    """Why the converter did not do it (section 6.2.8).

    `code` is an ErrorCode or one we do not know. `value` starts at the TLV's byte 3 and, when received,
    includes its padding, so its length is then 1 modulo 4; `hagw.convert.error_value` writes and reads it.
    """

    TYPE: ClassVar[int] = 0x1E

    code: int
    value: bytes = b""

    def encode(self) -> bytes:
        """Return the TLV's bytes. Raise Misuse if the value is too long."""
        return _pack(self.TYPE, bytes((self.code,)) + self.value)

    @classmethod
    def decode(cls, tlv: bytes) -> Self:
        """Read the TLV."""
        return cls(tlv[2], tlv[3:])


Tlv = Info | Connect | ExtendedTcpHeader | SupportedTcpExtensions | Cookie | Error

TLV_BY_TYPE: Final[dict[int, type[Tlv]]] = {tlv.TYPE: tlv for tlv in get_args(Tlv)}


def encode_options(options: tuple[TcpOption, ...]) -> bytes:
    """Return TCP options as in a TCP header, zero-padded to a word. Raise Misuse for kinds 0 and 1."""
    wire = bytearray()
    for option in options:
        if option.kind in (_END_OF_OPTIONS, _NO_OPERATION):
            raise Misuse("TCP option kinds 0 and 1 cannot be asked for")
        if len(option.value) > 253:
            raise Misuse("a TCP option has at most 253 bytes of value")
        wire += bytes((option.kind, 2 + len(option.value))) + option.value
    return bytes(wire) + bytes(-len(wire) % WORD_SIZE)


def decode_options(wire: bytes) -> tuple[TcpOption, ...]:
    """Read TCP options up to their end, kind 0. Raise Malformed for one shorter than 2 bytes or cut short."""
    options = []
    at, end = 0, len(wire)
    while at < end and wire[at] != _END_OF_OPTIONS:
        if wire[at] == _NO_OPERATION:
            at += 1
            continue
        size = wire[at + 1] if at + 1 < end else 0
        if size < 2 or at + size > end:
            raise Malformed(ErrorCode.MALFORMED_MESSAGE, "TCP option does not fit its TLV")
        options.append(TcpOption(wire[at], wire[at + 2 : at + size]))
        at += size
    return tuple(options)


def _pack(type_: int, rest: bytes) -> bytes:
    """Put type and length before the TLV's bytes from its third on, and zeros after them up to a word."""
    words = (2 + len(rest) + WORD_SIZE - 1) // WORD_SIZE
    if words > MAX_TLV_SIZE // WORD_SIZE:
        raise Misuse("value does not fit a TLV")
    return bytes((type_, words)) + rest + bytes(words * WORD_SIZE - 2 - len(rest))
