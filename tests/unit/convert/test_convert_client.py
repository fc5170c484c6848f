"""The client's side: cold, warm, and what it makes of strange replies."""

from ipaddress import IPv6Address

import pytest
from convert_playbook import conversation
from convert_vectors import CONNECT4, COOKIE, SERVER4, SYNACK

from hagw.convert.errors import ErrorCode, Misuse
from hagw.convert.events import ClosedEarly, Connected, Data, ExtensionsListed, ProtocolViolation, Rejected
from hagw.convert.machine import ClientMachine, ConverterMachine
from hagw.convert.message import encode
from hagw.convert.tlv import Cookie, Error, ExtendedTcpHeader, TcpOption

CONNECTED = encode((ExtendedTcpHeader(SYNACK),))


def asking() -> ClientMachine:
    machine = ClientMachine()
    machine.connect(SERVER4, 443)
    return machine


def test_warm_connection_sends_its_front_first_and_the_server_later() -> None:
    machine = ClientMachine()
    assert machine.prepare(COOKIE) == bytes.fromhex("01092263 16030000 11223344 55667788")
    assert machine.connect(SERVER4, 443, early=b"GET /") == bytes.fromhex(CONNECT4) + b"GET /"
    with conversation(machine) as client:
        client.receives(CONNECTED + b"200")
        client.reports(Connected(SYNACK), Data(b"200"))
        client.receives(b"more")
        client.reports(Data(b"more"))
        client.receives_eof()
        client.reports()


def test_warm_front_and_server_make_one_message() -> None:
    machine = ClientMachine()
    front = machine.prepare(bytes(28))
    events = ConverterMachine(requires_cookie=True).receive(front + machine.connect(IPv6Address("2001:db8::1"), 80))
    assert [type(event).__name__ for event in events] == ["CookiePresented", "ConnectRequested"]


def test_warm_connection_can_be_refused_while_idle() -> None:
    machine = ClientMachine()
    machine.prepare(COOKIE)
    with conversation(machine) as client:
        client.receives("01022263 1e012000")
        client.reports(Rejected(ErrorCode.NOT_AUTHORIZED, b"\x00"))
    with pytest.raises(Misuse):
        machine.connect(SERVER4, 443)


def test_warm_connection_can_be_closed_while_idle() -> None:
    machine = ClientMachine()
    machine.prepare(COOKIE)
    with conversation(machine) as client:
        client.receives_eof()
        client.reports(ClosedEarly())


@pytest.mark.parametrize("reply", [CONNECTED, b"\x01\x01\x22\x63"], ids=["full", "bare"])
def test_reply_before_a_server_was_named_is_a_violation(reply: bytes) -> None:
    machine = ClientMachine()
    machine.prepare(COOKIE)
    with conversation(machine) as client:
        client.receives(reply)
        client.reports(ProtocolViolation("reply before anything was asked"))


@pytest.mark.parametrize(
    "reply",
    [
        "01022263 00010000",
        "01022263 7f010000",
        "01032263 14010000 14010000",
        "01032263 1e012000 1e012000",
        "01022263 01010000",
        f"01062263 {CONNECT4}",
        "01022263 16010000",
        "01032263 1e012000 16010000",
        "01022263 14000000",
        "01022263 14020000",
        "01002263",
        "0101ffff",
        "02012263",
        "48545450 2f312e31",
    ],
)
def test_reply_that_breaks_the_rules_is_a_violation(reply: str) -> None:
    machine = asking()
    events = machine.receive(bytes.fromhex(reply) + b"user data")
    assert [type(event) for event in events] == [ProtocolViolation]
    assert machine.receive(CONNECTED) == []
    assert machine.receive_eof() == []


def test_error_wins_over_a_success_in_the_same_reply() -> None:
    events = asking().receive(encode((ExtendedTcpHeader(SYNACK), Error(ErrorCode.CONNECTION_RESET))))
    assert events == [Rejected(ErrorCode.CONNECTION_RESET, b"\x00")]


@pytest.mark.parametrize("cut", range(20))
def test_end_before_the_reply_is_complete(cut: int) -> None:
    with conversation(asking()) as client:
        client.receives(CONNECTED[:cut])
        client.reports()
        client.receives_eof()
        client.reports(ClosedEarly())


def test_extensions_alone_can_be_asked_for() -> None:
    machine = ClientMachine()
    assert machine.ask_extensions(COOKIE) == bytes.fromhex("01052263 01010000 16030000 11223344 55667788")
    with conversation(machine) as client:
        client.receives("01032263 15020000 1e000000")
        client.reports(ExtensionsListed((30,)))


def test_user_data_is_a_view_of_what_was_received() -> None:
    chunk = CONNECTED + b"body"
    _, data = asking().receive(chunk)
    assert data.data.obj is chunk


def test_rejections_carry_what_their_code_defines() -> None:
    assert Rejected(64, b"\x05").retry_after_s == 5
    assert Rejected(65, b"\x00").retry_after_s == 30
    assert Rejected(64, b"\x01\x00\x00\x00\x00").retry_after_s == 3600
    assert Rejected(32, b"\x05").retry_after_s is None
    assert Rejected(3, b"\x00\x01\x02\x03\x04").cookie == b"\x01\x02\x03\x04"
    assert Rejected(1, b"\x00\x01\x02\x03\x04").cookie is None
    assert Rejected(97, b"\x0d").unreachable_code == 13
    assert Rejected(96, b"\x0d").unreachable_code is None
    assert Rejected(0, b"\x02\x03\x00\x00\x00").versions == (2, 3)
    assert Rejected(1, b"\x02").versions == ()
    assert Rejected(33, b"\x1d\x22\x00\x00\x00").kinds == (29, 34)
    assert Rejected(32, b"\x1d").kinds == ()


def test_server_options_that_make_no_sense_are_no_options() -> None:
    assert Connected(bytes.fromhex("1e0c0101")).server_kinds == ()


def test_prepared_message_takes_nothing_but_a_server() -> None:
    machine = ClientMachine()
    machine.prepare(COOKIE)
    for extra in ({"cookie": COOKIE}, {"options": (TcpOption(30),)}, {"with_info": True}):
        with pytest.raises(Misuse) as caught:
            machine.connect(SERVER4, 443, **extra)
        assert caught.value.blame == "local"
    assert machine.connect(SERVER4, 443) == bytes.fromhex(CONNECT4)


def test_a_connection_asks_once() -> None:
    machine = asking()
    for again in (
        lambda: machine.connect(SERVER4, 443),
        lambda: machine.prepare(COOKIE),
        lambda: machine.ask_extensions(),
    ):
        with pytest.raises(Misuse):
            again()


def test_refused_use_leaves_the_connection_usable() -> None:
    machine = ClientMachine()
    for wrong in (lambda: machine.prepare(b"odd"), lambda: machine.connect(SERVER4, 443, cookie=bytes(1020))):
        with pytest.raises(Misuse):
            wrong()
    assert machine.connect(SERVER4, 443, cookie=COOKIE).endswith(Cookie(COOKIE).encode())
