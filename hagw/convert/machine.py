"""The two sides of a Convert connection (RFC 8803 sections 4 and 6): bytes in, events out, bytes to send returned.

A machine lives for one connection and only until user data flows: once `Connected` was reported or `accept`
was called, the caller may go on without it. Sockets, timers, cookies' validity and which servers may be
reached are the caller's.
"""

from collections.abc import Iterable
from enum import Enum, auto
from ipaddress import IPv4Address, IPv6Address
from typing import Final, assert_never

from hagw.convert import address as address_rules
from hagw.convert import error_value
from hagw.convert.errors import ErrorCode, Malformed, Misuse
from hagw.convert.events import (
    ClientEvent,
    ClosedEarly,
    Connected,
    ConnectRequested,
    ConverterEvent,
    CookiePresented,
    Data,
    EarlyData,
    ExtensionsListed,
    Failed,
    InfoRequested,
    ProtocolViolation,
    Rejected,
)
from hagw.convert.message import HEADER_SIZE, VERSION, Buffer, Decoder, Message, encode, encode_header, find_cookie
from hagw.convert.tlv import (
    Connect,
    Cookie,
    Error,
    ExtendedTcpHeader,
    Info,
    SupportedTcpExtensions,
    TcpOption,
    Tlv,
)

KIND_SACK_PERMITTED: Final = 4
KIND_TIMESTAMP: Final = 8
KIND_MPTCP: Final = 30
CONVERTIBLE: Final = (KIND_MPTCP, KIND_SACK_PERMITTED, KIND_TIMESTAMP)  # what user space can do; the most offered

_IGNORED_KINDS: Final = frozenset((0, 1, 2, 3, 5))  # section 7.1: not errors in a Connect TLV
_BASE_CONNECT_SIZE: Final = 20


class _Client(Enum):
    FRESH = auto()
    PREPARED = auto()
    ASKED = auto()
    CONNECTING = auto()
    CONNECTED = auto()
    CLOSED = auto()


class ClientMachine:
    """The client's side of one connection to a converter.

    Cold: `connect` with a cookie returns the whole message. Warm: `prepare` returns its front, to be sent
    on an idle connection; `connect` later returns only the Connect TLV, and early data.
    """

    __slots__ = ("_decoder", "_state")

    def __init__(self) -> None:
        self._state = _Client.FRESH
        self._decoder = Decoder()

    def prepare(self, cookie: bytes) -> bytes:
        """Return the fixed header and Cookie TLV of a message that a Connect TLV without options completes.

        Raise Misuse if something was sent already.
        """
        self._expect(_Client.FRESH)
        tlv = Cookie(cookie).encode()
        self._state = _Client.PREPARED
        return encode_header(HEADER_SIZE + len(tlv) + _BASE_CONNECT_SIZE) + tlv

    def connect(
        self,
        address: IPv4Address | IPv6Address,
        port: int,
        *,
        cookie: bytes | None = None,
        options: tuple[TcpOption, ...] = (),
        with_info: bool = False,
        early: bytes = b"",
    ) -> bytes:
        """Return what asks for this server, followed by `early` user data.

        On a prepared connection cookie, options and `with_info` cannot be given any more. Raise Misuse for
        that, and if a server was asked for already.
        """
        connect = Connect(port, address, options)
        if self._state is _Client.PREPARED:
            if options or with_info or cookie is not None:
                raise Misuse("a prepared message takes a Connect TLV without options and nothing else")
            wire = connect.encode()
        else:
            self._expect(_Client.FRESH)
            tlvs: tuple[Tlv, ...] = (Info(), connect) if with_info else (connect,)
            wire = encode(tlvs if cookie is None else (*tlvs, Cookie(cookie)))
        self._state = _Client.CONNECTING
        return wire + early if early else wire

    def ask_extensions(self, cookie: bytes | None = None) -> bytes:
        """Return a message that only asks what is converted. Raise Misuse if something was sent already."""
        self._expect(_Client.FRESH)
        wire = encode((Info(),) if cookie is None else (Info(), Cookie(cookie)))
        self._state = _Client.ASKED
        return wire

    def receive(self, chunk: Buffer) -> list[ClientEvent]:
        """Take what the converter sent. After Rejected or ProtocolViolation everything is ignored."""
        if self._state is _Client.CLOSED or not chunk:
            return []
        if self._state is _Client.CONNECTED:
            return [Data(memoryview(chunk))]
        try:
            rest = self._decoder.feed(chunk)
        except Malformed as why:
            return [self._violated(why.reason)]
        message = self._decoder.message
        if rest is None or message is None:
            return []
        event = self._answered(message)
        if isinstance(event, Connected) and rest:
            return [event, Data(rest)]
        return [event]

    def receive_eof(self) -> list[ClientEvent]:
        """Take the end of what the converter sends; before the reply it means that there is none."""
        if self._state in (_Client.CONNECTED, _Client.CLOSED):
            return []
        self._state = _Client.CLOSED
        return [ClosedEarly()]

    def _answered(self, message: Message) -> ClientEvent:
        error: Error | None = None
        options: bytes | None = None
        kinds: tuple[int, ...] = ()
        for tlv in message.tlvs:
            match tlv:
                case Error():
                    error = tlv
                case ExtendedTcpHeader():
                    options = tlv.options
                case SupportedTcpExtensions():
                    kinds = tlv.kinds
                case Info() | Connect() | Cookie():
                    return self._violated(f"{type(tlv).__name__} TLV in a reply")
                case _:
                    assert_never(tlv)
        if error is not None:
            self._state = _Client.CLOSED
            return Rejected(error.code, error.value)
        return self._granted(options, kinds)

    def _granted(self, options: bytes | None, kinds: tuple[int, ...]) -> ClientEvent:
        if self._state is _Client.CONNECTING:
            self._state = _Client.CONNECTED
            return Connected(options, kinds)
        if self._state is _Client.ASKED:
            self._state = _Client.CLOSED
            return ExtensionsListed(kinds)
        return self._violated("reply before anything was asked")

    def _violated(self, reason: str) -> ProtocolViolation:
        self._state = _Client.CLOSED
        return ProtocolViolation(reason)

    def _expect(self, state: _Client) -> None:
        if self._state is not state:
            raise Misuse(f"connection is {self._state.name.lower()}, not {state.name.lower()}")


class _Converter(Enum):
    READING = auto()
    ASKED_INFO = auto()
    ASKED_SERVER = auto()
    RELAYING = auto()
    CLOSED = auto()


class ConverterMachine:
    """The converter's side of one connection from a client.

    `extensions` are the kinds offered, some of CONVERTIBLE. With `requires_cookie` a message without a
    Cookie TLV fails as Not Authorized; whether a presented one is valid is for the caller to say.
    After an error reply (Failed or `reject`): send it, shut down sending, discard what comes until the
    client resets or a timer ends, then close (section 6.2.2; a close with unread input would reset).
    """

    __slots__ = ("_decoder", "_extensions", "_looked", "_presented", "_requires_cookie", "_state", "_wants_info")

    def __init__(self, extensions: Iterable[int] = CONVERTIBLE, requires_cookie: bool = False) -> None:
        self._extensions = tuple(extensions)
        if not set(self._extensions) <= set(CONVERTIBLE):
            raise Misuse(f"only TCP options {CONVERTIBLE} can be converted")
        self._requires_cookie = requires_cookie
        self._state = _Converter.READING
        self._decoder = Decoder()
        self._looked = HEADER_SIZE  # where in the unfinished message the next TLV starts
        self._presented = False
        self._wants_info = False

    def receive(self, chunk: Buffer) -> list[ConverterEvent]:
        """Take what the client sent. After an error reply everything is ignored.

        One chunk can bring several events; a caller that rejects at one of them drops the following.
        """
        if not chunk or self._state in (_Converter.CLOSED, _Converter.ASKED_INFO):
            return []
        if self._state is not _Converter.READING:
            return [EarlyData(memoryview(chunk))]
        try:
            rest = self._decoder.feed(chunk)
        except Malformed as why:
            return [*self._look_for_cookie(), self._failed(why.code, why.reason)]
        events = self._look_for_cookie()
        message = self._decoder.message
        if rest is None or message is None:
            return events
        event = self._judge(message)
        events.append(event)
        if rest and isinstance(event, ConnectRequested):
            events.append(EarlyData(rest))
        return events

    def receive_eof(self) -> list[ConverterEvent]:
        """Take the end of what the client sends; before its message is complete there is nothing to serve."""
        if self._state is not _Converter.READING:
            return []
        self._state = _Converter.CLOSED
        return [ClosedEarly()]

    def accept(self, options: bytes = b"") -> bytes:
        """Return the reply that the server is connected; `options` are those of its SYN+ACK, as far as known.

        Raise Misuse unless a server was asked for and not answered yet, or if the options do not fit.
        """
        self._expect(_Converter.ASKED_SERVER)
        header = ExtendedTcpHeader(options)
        reply = encode((SupportedTcpExtensions(self._extensions), header) if self._wants_info else (header,))
        self._state = _Converter.RELAYING
        return reply

    def answer_info(self) -> bytes:
        """Return the reply to InfoRequested. Raise Misuse if there was none."""
        self._expect(_Converter.ASKED_INFO)
        self._state = _Converter.CLOSED
        return encode((SupportedTcpExtensions(self._extensions),))

    def reject(self, code: ErrorCode, value: bytes = b"") -> bytes:
        """Return the reply that refuses; `value` as `hagw.convert.error_value` makes it.

        Raise Misuse once there was a reply: an error after `accept` can only be told by a reset.
        """
        if self._state in (_Converter.RELAYING, _Converter.CLOSED):
            raise Misuse(f"connection is {self._state.name.lower()}: too late for an Error TLV")
        reply = encode((Error(code, value),))
        self._state = _Converter.CLOSED
        return reply

    def _look_for_cookie(self) -> list[ConverterEvent]:
        if self._presented or not self._decoder.size:
            return []
        cookie, self._looked = find_cookie(self._decoder.raw, self._looked)
        if cookie is None:
            return []
        self._presented = True
        return [CookiePresented(cookie.value)]

    def _judge(self, message: Message) -> ConverterEvent:
        """Say what the complete message asks for, or why that cannot be. TLVs first, then server, rights, options."""
        for tlv in message.tlvs:
            match tlv:
                case ExtendedTcpHeader() | SupportedTcpExtensions() | Error():
                    return self._failed(ErrorCode.UNSUPPORTED_MESSAGE, f"{type(tlv).__name__} TLV from a client")
                case Info():
                    self._wants_info = True
                case Connect() | Cookie():
                    pass
                case _:
                    assert_never(tlv)
        connect = message.find(Connect)
        if connect is None and not self._wants_info:
            return self._failed(ErrorCode.MALFORMED_MESSAGE, "neither Info nor Connect TLV")
        refusal = connect and address_rules.refusal(connect.address, connect.port)
        if refusal:
            return self._failed(*refusal)
        if self._requires_cookie and not self._presented:
            return self._failed(ErrorCode.NOT_AUTHORIZED, "no cookie")
        if connect is None:
            self._state = _Converter.ASKED_INFO
            return InfoRequested()
        return self._judge_options(connect)

    def _judge_options(self, connect: Connect) -> ConverterEvent:
        """Leave out the options that section 7 ignores; the others must be ours to ask, without a ready value."""
        options = tuple(option for option in connect.options if option.kind not in _IGNORED_KINDS)
        bad = [option.kind for option in options if option.value or option.kind not in self._extensions]
        if bad:
            reason = f"TCP options {bad} cannot be converted"
            return self._failed(ErrorCode.UNSUPPORTED_TCP_OPTION, reason, error_value.byte_list(dict.fromkeys(bad)))
        self._state = _Converter.ASKED_SERVER
        return ConnectRequested(connect.address, connect.port, options, self._wants_info)

    def _failed(self, code: ErrorCode | None, reason: str, value: bytes = b"") -> Failed:
        if code is None:
            self._state = _Converter.CLOSED
            return Failed(None, None, reason)
        if code in (ErrorCode.MALFORMED_MESSAGE, ErrorCode.UNSUPPORTED_MESSAGE):
            value = error_value.echo(bytes(self._decoder.raw))
        elif code is ErrorCode.UNSUPPORTED_VERSION:
            value = error_value.byte_list((VERSION,))
        return Failed(self.reject(code, value), code, reason)

    def _expect(self, state: _Converter) -> None:
        if self._state is not state:
            raise Misuse(f"connection is {self._state.name.lower()}, not {state.name.lower()}")
