"""What the machines of `hagw.convert.machine` report: things that happened on the connection."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from hagw.convert import error_value
from hagw.convert.errors import ErrorCode, Malformed
from hagw.convert.tlv import TcpOption, decode_options


@dataclass(frozen=True, slots=True)
class Connected:
    """The server is connected; user data follows in both directions.

    `options` are those of the server's SYN+ACK, zero-padded; None = the converter did not tell them.
    `supported` are the kinds the converter converts, empty unless asked.
    """

    options: bytes | None
    supported: tuple[int, ...] = ()

    @property
    def server_kinds(self) -> tuple[int, ...]:
        """Kinds of the server's options, empty if they are not told or make no sense; 30 = it speaks MPTCP."""
        try:
            return tuple(option.kind for option in decode_options(self.options or b""))
        except Malformed:
            return ()


@dataclass(frozen=True, slots=True)
class ExtensionsListed:
    """The converter answered a question without a server: the kinds it converts. Close the connection."""

    kinds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Rejected:
    """The converter answered with an Error TLV: reset the connection (section 6.2.2).

    `value` is the Value field with its padding; the properties read it for the codes that define it.
    """

    code: int
    value: bytes

    @property
    def retry_after_s(self) -> int | None:
        """Seconds to leave this converter alone; None = the error is not about the converter's own state."""
        if self.code in (ErrorCode.RESOURCE_EXCEEDED, ErrorCode.NETWORK_FAILURE):
            return error_value.read_retry_s(self.value)
        return None

    @property
    def cookie(self) -> bytes | None:
        """The cookie to come back with, once."""
        return error_value.read_missing_cookie(self.value) if self.code == ErrorCode.MISSING_COOKIE else None

    @property
    def unreachable_code(self) -> int | None:
        """The Code of the ICMP message about the server."""
        if self.code == ErrorCode.DESTINATION_UNREACHABLE:
            return error_value.read_unreachable(self.value)
        return None

    @property
    def versions(self) -> tuple[int, ...]:
        """The protocol versions the converter speaks, where ours is not among them."""
        return error_value.read_byte_list(self.value) if self.code == ErrorCode.UNSUPPORTED_VERSION else ()

    @property
    def kinds(self) -> tuple[int, ...]:
        """The TCP options the converter cannot ask the server for."""
        return error_value.read_byte_list(self.value) if self.code == ErrorCode.UNSUPPORTED_TCP_OPTION else ()


@dataclass(frozen=True, slots=True)
class ProtocolViolation:
    """What the converter sent is no valid reply: reset the connection."""

    reason: str


@dataclass(frozen=True, slots=True)
class Data:
    """User data from the server: a view of the chunk that was received, not a copy."""

    data: memoryview


@dataclass(frozen=True, slots=True)
class ClosedEarly:
    """The peer closed before its message was complete: nothing was, or will be, connected."""


@dataclass(frozen=True, slots=True)
class CookiePresented:
    """The client's cookie is here, the rest of its message may not be. Reject it at once if it is not valid."""

    value: bytes


@dataclass(frozen=True, slots=True)
class ConnectRequested:
    """The client wants a server: connect, then `accept` or `reject`. All protocol checks are passed.

    `options` are those to put in the SYN, each one convertible and without a value; empty = by own policy.
    """

    address: IPv4Address | IPv6Address
    port: int
    options: tuple[TcpOption, ...]
    wants_info: bool


@dataclass(frozen=True, slots=True)
class InfoRequested:
    """The client asks what is converted and wants no server: `answer_info`, then close."""


@dataclass(frozen=True, slots=True)
class EarlyData:
    """User data for the server, perhaps before it is connected: a view of the received chunk, not a copy."""

    data: memoryview


@dataclass(frozen=True, slots=True)
class Failed:
    """The client's message cannot be served. Send `reply` and close as after `reject`; no reply = reset.

    `code` is None when the bytes are not Convert at all.
    """

    reply: bytes | None
    code: ErrorCode | None
    reason: str

    @property
    def reset(self) -> bool:
        """Whether to reset the connection without an answer."""
        return self.reply is None


ClientEvent = Connected | ExtensionsListed | Rejected | ProtocolViolation | Data | ClosedEarly
ConverterEvent = CookiePresented | ConnectRequested | InfoRequested | EarlyData | Failed | ClosedEarly
