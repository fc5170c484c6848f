"""Both machines and the codec against the vectors worked by hand."""

import pytest
from convert_playbook import conversation, one_by_one
from convert_vectors import (
    COOKIE,
    GRANTED,
    REFUSED,
    SERVER4,
    SYNACK,
    SYNACK_MPTCP,
    Vector,
)

from hagw.convert import error_value
from hagw.convert.errors import ErrorCode
from hagw.convert.events import (
    ClosedEarly,
    Connected,
    ConnectRequested,
    CookiePresented,
    Data,
    EarlyData,
    ExtensionsListed,
    Failed,
    InfoRequested,
    Rejected,
)
from hagw.convert.machine import ClientMachine, ConverterMachine
from hagw.convert.message import Message, decode, encode
from hagw.convert.tlv import Connect, Cookie, Info, TcpOption

granted = pytest.mark.parametrize("vector", GRANTED, ids=lambda v: v.name)
refused = pytest.mark.parametrize("vector", REFUSED, ids=lambda v: v.name)
delivery = pytest.mark.parametrize("chunks", [lambda data: [data], one_by_one], ids=["at once", "byte by byte"])


@granted
def test_granted_messages_decode_and_encode(vector: Vector) -> None:
    assert decode(vector.request_bytes) == Message(vector.asks)
    assert encode(vector.asks) == vector.request_bytes
    assert decode(vector.reply_bytes) == Message(vector.answers)
    assert encode(vector.answers) == vector.reply_bytes


@refused
def test_error_replies_decode_and_encode(vector: Vector) -> None:
    if vector.reply is not None:
        assert decode(vector.reply_bytes) == Message(vector.answers)
        assert encode(vector.answers) == vector.reply_bytes


@delivery
@granted
def test_converter_serves(vector: Vector, chunks) -> None:
    message = Message(vector.asks)
    connect, cookie = message.find(Connect), message.find(Cookie)
    wants_info = message.find(Info) is not None
    events = [CookiePresented(cookie.value)] if cookie else []
    if connect:
        events.append(ConnectRequested(connect.address, connect.port, connect.options, wants_info))
    else:
        events.append(InfoRequested())
    if vector.after:
        events.append(EarlyData(bytes.fromhex(vector.after)))
    with conversation(ConverterMachine(), chunks) as converter:
        converter.receives(vector.request + vector.after)
        converter.reports(*events)
    reply = converter.machine.accept(vector.options) if connect else converter.machine.answer_info()
    assert reply == vector.reply_bytes


@delivery
@granted
def test_client_asks_and_is_served(vector: Vector, chunks) -> None:
    message = Message(vector.asks)
    connect, cookie = message.find(Connect), message.find(Cookie)
    value = cookie.value if cookie else None
    machine = ClientMachine()
    if connect:
        request = machine.connect(
            connect.address,
            connect.port,
            cookie=value,
            options=connect.options,
            with_info=message.find(Info) is not None,
            early=bytes.fromhex(vector.after),
        )
    else:
        request = machine.ask_extensions(value)
    assert request == vector.request_bytes + bytes.fromhex(vector.after)
    kinds = (30, 4, 8) if message.find(Info) else ()
    with conversation(machine, chunks) as client:
        client.receives(vector.reply)
        client.reports(Connected(vector.options, kinds) if connect else ExtensionsListed(kinds))


@delivery
@refused
def test_converter_refuses_and_ignores_the_rest(vector: Vector, chunks) -> None:
    expected = vector.reply_bytes if vector.reply is not None else None
    events = []
    machine = ConverterMachine()
    for chunk in chunks(vector.request_bytes + b"user data"):
        events.extend(machine.receive(chunk))
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert failed.reply == expected
    assert failed.reset is (expected is None)
    assert events[-1] is failed
    assert all(isinstance(event, CookiePresented) for event in events[:-1])


@delivery
@refused
def test_client_learns_the_refusal(vector: Vector, chunks) -> None:
    machine = ClientMachine()
    machine.connect(SERVER4, 443)
    with conversation(machine, chunks) as client:
        if vector.reply is None:
            client.receives_eof()
            client.reports(ClosedEarly())
        else:
            (error,) = vector.answers
            client.receives(vector.reply)
            client.reports(Rejected(error.code, error.value))
            client.receives("00")
            client.reports()


def test_bare_header_is_a_success_without_options() -> None:
    machine = ClientMachine()
    machine.connect(SERVER4, 443)
    with conversation(machine) as client:
        client.receives("01012263 68656c6c6f")
        client.reports(Connected(None), Data(b"hello"))


def test_v06_invalid_cookie_is_not_authorized() -> None:
    with conversation(ConverterMachine()) as converter:
        converter.receives(GRANTED[5].request_bytes)
        converter.reports(CookiePresented(COOKIE), ConnectRequested(SERVER4, 443, (), False))
    assert converter.machine.reject(ErrorCode.NOT_AUTHORIZED) == bytes.fromhex("01022263 1e012000")


def test_v07_cookie_handed_out_comes_back() -> None:
    with conversation(ConverterMachine()) as converter:
        converter.receives(GRANTED[0].request_bytes)
        converter.reports(ConnectRequested(SERVER4, 443, (), False))
    reply = converter.machine.reject(ErrorCode.MISSING_COOKIE, error_value.missing_cookie(COOKIE))
    assert reply == bytes.fromhex("01042263 1e030300 11223344 55667788")
    first = ClientMachine()
    first.connect(SERVER4, 443)
    (rejected,) = first.receive(reply)
    assert rejected.cookie == COOKIE
    assert ClientMachine().connect(SERVER4, 443, cookie=rejected.cookie) == GRANTED[5].request_bytes


def test_v05_reply_shows_that_the_server_speaks_mptcp() -> None:
    machine = ClientMachine()
    machine.connect(SERVER4, 443, options=(TcpOption(30), TcpOption(4)))
    (connected,) = machine.receive(GRANTED[4].reply_bytes)
    assert connected.options == SYNACK_MPTCP
    assert connected.server_kinds == (2, 4, 8, 3, 30)
    assert Connected(SYNACK).server_kinds == (2, 4, 3)
    assert Connected(None).server_kinds == ()


def test_message_cut_short_by_the_end_connects_nothing() -> None:
    with conversation(ConverterMachine()) as converter:
        converter.receives(GRANTED[0].request_bytes[:10])
        converter.reports()
        converter.receives_eof()
        converter.reports(ClosedEarly())
        converter.receives(GRANTED[0].request_bytes[10:])
        converter.reports()


def test_largest_message_is_served() -> None:
    cookie = bytes(range(248)) + bytes(744)
    wire = encode((Connect(443, SERVER4), Cookie(cookie)))
    assert len(wire) == 1020
    assert wire[1] == 255
    with conversation(ConverterMachine(), one_by_one) as converter:
        converter.receives(wire)
        converter.reports(CookiePresented(cookie), ConnectRequested(SERVER4, 443, (), False))


def test_echo_of_the_largest_message_is_cut() -> None:
    wire = encode((Connect(443, SERVER4), Cookie(bytes(988)))) + b"\x01\x01\x00\x00"
    wire = b"\x01\xff\x22\x63" + wire[4:-4] + b"\x16\x01\x00\x00"
    assert len(wire) == 1020
    events = ConverterMachine().receive(wire)
    assert isinstance(events[-1], Failed)
    assert events[-1].code == ErrorCode.MALFORMED_MESSAGE
    assert events[-1].reply == bytes.fromhex("01ff2263 1efe0100") + wire[: 253 * 4]
