"""The CPE's session against a scripted converter: what the client sees, and that its data is never sent twice."""

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Address

import pytest
from plane_rig import HAG, LINES, SERVER, Peer, no_descriptors_left, tcp_pair, turn_for, until
from session_rig import DATA, GRANTED, PRELUDE_BYTES, REQUEST_BYTES, Rig, more_than_fits, small_send_buffers

from hagw.convert.errors import ErrorCode
from hagw.convert.message import encode
from hagw.convert.tlv import Connect, Cookie, Error
from hagw.dataplane.bonding import BULK_BYTES, STALLED_LOOKS
from hagw.dataplane.session import CpeSession
from hagw.model.flow import FlowKey
from hagw.model.ids import PORT_TPROXY
from hagw.model.intent import RuleIntent, TrafficDescriptor

pytestmark = pytest.mark.netns


@pytest.fixture
def rig(network: str) -> Iterator[Rig]:
    made = Rig(network)
    yield made
    made.close()


# --- through the converter


def test_a_flow_takes_a_warm_connection_and_its_first_bytes_go_along(rig: Rig) -> None:
    conversation = rig.warm()
    rig.fresh()
    client = rig.open(b"GET /")
    request = rig.asked(conversation, b"GET /")
    assert request.find(Connect) == Connect(rig.server.port, IPv4Address(SERVER))
    assert request.find(Cookie) is not None
    conversation.send_all(rig.loop, GRANTED + b"answer")
    until(rig.loop, lambda: client.has(b"answer"))
    client.sock.close()
    conversation.sock.close()
    until(rig.loop, lambda: not rig.worker.sessions)
    flow = rig.flow()
    assert (flow["path"], flow["gateway"], flow["bytes_down"], flow["bytes_up"]) == ("converted", "hag", 6, 5)


def test_without_a_warm_connection_one_is_opened(rig: Rig) -> None:
    client = rig.open(b"GET /")
    conversation = rig.converter.accept(rig.loop)
    rig.asked(conversation, b"GET /")
    conversation.send_all(rig.loop, GRANTED + b"answer")
    until(rig.loop, lambda: client.has(b"answer"))


def test_a_server_that_speaks_first_is_not_kept_waiting(rig: Rig) -> None:
    conversation = rig.warm()
    client = rig.open()
    rig.asked(conversation)
    conversation.send_all(rig.loop, GRANTED + b"220 hello")
    began = time.monotonic()
    until(rig.loop, lambda: client.has(b"220 hello"))
    assert time.monotonic() - began < 0.1


def test_the_answer_may_come_in_pieces(rig: Rig) -> None:
    conversation = rig.warm()
    rig.fresh()
    client = rig.open(b"?")
    rig.asked(conversation, b"?")
    for byte in GRANTED + b"answer":
        conversation.send_all(rig.loop, bytes((byte,)))
        turn_for(rig.loop, 0.002)
    until(rig.loop, lambda: client.has(b"answer"))


def test_a_late_answer_finds_everything_in_order(rig: Rig) -> None:
    """The client goes on sending; not more than a little is taken from it until the server is known to be there."""
    conversation = rig.warm()
    rig.fresh()
    client = rig.open()
    sent = 0
    began = time.monotonic()
    while time.monotonic() < began + 1.0:
        if client.takes_more():
            sent += client.sock.send(DATA[sent : sent + 9_999])
        conversation.poll()
        turn_for(rig.loop, 0.02)
    assert len(conversation.received) < 150_000
    conversation.send_all(rig.loop, GRANTED)
    client.send_all(rig.loop, DATA[sent:])
    client.sock.shutdown(socket.SHUT_WR)
    until(rig.loop, lambda: conversation.saw("eof"))
    assert bytes(conversation.received[PRELUDE_BYTES + REQUEST_BYTES :]) == DATA
    assert rig.server.has_nobody()


@pytest.mark.parametrize("said", [b"", b"all of it"])
def test_a_client_that_had_finished_before_it_was_served(rig: Rig, said: bytes) -> None:
    conversation = rig.warm()
    rig.fresh()
    client = rig.open(said, then=lambda client: client.sock.shutdown(socket.SHUT_WR))
    rig.asked(conversation, said)
    conversation.send_all(rig.loop, GRANTED + b"answer")
    until(rig.loop, lambda: conversation.saw("eof") and client.has(b"answer"))
    conversation.sock.close()
    until(rig.loop, lambda: client.saw("eof"))
    until(rig.loop, lambda: not rig.worker.sessions)


def test_early_data_that_does_not_fit_the_send_buffer_is_not_lost(rig: Rig) -> None:
    conversation, client = more_than_fits(rig)
    client.send_all(rig.loop, DATA[40_000:], reader=conversation)
    client.sock.shutdown(socket.SHUT_WR)
    until(rig.loop, lambda: conversation.saw("eof"))
    assert bytes(conversation.received[PRELUDE_BYTES + REQUEST_BYTES :]) == DATA


def test_bulk_that_stands_still_is_looked_at_for_a_while(rig: Rig) -> None:
    """One of its lines may be what holds it up: nothing moves, so nothing but a look could tell."""
    _, client = more_than_fits(rig)
    (session,) = rig.worker.sessions.values()
    client.sock.setblocking(False)
    before = session.moved()[1]
    for _ in range(20):
        with suppress(BlockingIOError):
            client.sock.send(bytes(1_000_000))
        turn_for(rig.loop, 0.01)
    assert session.moved()[1] - before > BULK_BYTES
    looks = [session.progress() for _ in range(STALLED_LOOKS + 2)]
    assert looks[0] >= BULK_BYTES or looks[0] == 1  # the worker may have looked already
    assert looks[1] == 1
    assert looks[-1] == 0


# --- the converter says no


@pytest.mark.parametrize(
    ("code", "reason"),
    [(ErrorCode.CONNECTION_RESET, "refused"), (ErrorCode.DESTINATION_UNREACHABLE, "unreachable")],
)
def test_a_server_that_refused_is_a_reset_and_remembered(rig: Rig, code: ErrorCode, reason: str) -> None:
    conversation = rig.warm()
    rig.fresh()
    client = rig.open(b"early")
    rig.asked(conversation, b"early")
    conversation.send_all(rig.loop, encode((Error(code, b"\0"),)))
    until(rig.loop, lambda: client.saw("reset"))
    assert rig.events("destination-refused") == [
        {"event": "destination-refused", "address": SERVER, "port": rig.server.port, "reason": reason}
    ]
    assert rig.server.has_nobody()
    until(rig.loop, lambda: conversation.saw("reset"))


@pytest.mark.parametrize(
    "code",
    [
        ErrorCode.UNSUPPORTED_VERSION,
        ErrorCode.MALFORMED_MESSAGE,
        ErrorCode.MISSING_COOKIE,
        ErrorCode.NOT_AUTHORIZED,
        ErrorCode.UNSUPPORTED_TCP_OPTION,
        ErrorCode.RESOURCE_EXCEEDED,
        ErrorCode.NETWORK_FAILURE,
        200,
    ],
)
def test_a_converter_that_cannot_help_is_passed_by_with_all_early_data(rig: Rig, code: int) -> None:
    """An Error TLV means that nothing reached the server, so what was said goes there directly, once."""
    conversation = rig.warm()
    rig.fresh()
    client = rig.open(b"ear")
    rig.asked(conversation, b"ear")
    client.send_all(rig.loop, b"ly")
    rig.asked(conversation, b"early")
    conversation.send_all(rig.loop, encode((Error(code, b"\x05"),)))
    accepted = rig.server.accept(rig.loop)
    client.send_all(rig.loop, b", later")
    until(rig.loop, lambda: accepted.has(b"early, later"))
    accepted.send_all(rig.loop, b"answer")
    until(rig.loop, lambda: client.has(b"answer"))
    until(rig.loop, lambda: conversation.saw("reset"))
    overloaded = code in (ErrorCode.RESOURCE_EXCEEDED, ErrorCode.NETWORK_FAILURE)
    assert not rig.events("gateway-failed")
    told = [(each["gateway"], each["uplink"], each["address"]) for each in rig.events("address-unproven")]
    assert told == ([("hag", "line1", HAG)] if code == ErrorCode.MISSING_COOKIE else [])
    assert rig.worker.policy is not None
    assert bool(rig.worker.policy.pool.all) != overloaded
    assert len(rig.server.accepted) == 1


def test_early_data_sent_again_directly_stays_in_order_behind_a_full_buffer(rig: Rig) -> None:
    with small_send_buffers():
        conversation = rig.warm()
        rig.fresh()
        rig.server.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client = rig.open(DATA[:30_000])
        until(rig.loop, lambda: conversation.poll() or len(conversation.received) >= PRELUDE_BYTES + REQUEST_BYTES)
        conversation.send_all(rig.loop, encode((Error(ErrorCode.NOT_AUTHORIZED, b"\0"),)))
        until(rig.loop, lambda: conversation.saw("reset"))
        turn_for(rig.loop, 0.02)
        accepted = rig.server.accept(rig.loop)
        client.send_all(rig.loop, DATA[30_000:], reader=accepted)
        client.sock.shutdown(socket.SHUT_WR)
        until(rig.loop, lambda: accepted.saw("eof"))
    assert accepted.received == DATA


# --- direct, blocked, no way out


def test_a_blocked_flow_is_reset(rig: Rig) -> None:
    rig.apply(rules=(RuleIntent("no", 1, TrafficDescriptor(), "block"),))
    client = rig.open(b"x")
    until(rig.loop, lambda: client.saw("reset"))
    assert not rig.reported
    assert rig.flow()["rule"] == "no"


def test_a_direct_flow_uses_the_uplink_of_its_rule(rig: Rig) -> None:
    rig.apply(rules=(RuleIntent("mine", 1, TrafficDescriptor(), "direct", ("line2",)),))
    client = rig.open(b"x")
    accepted = rig.server.accept(rig.loop)
    assert accepted.sock.getpeername()[0] == LINES[1]
    until(rig.loop, lambda: accepted.has(b"x"))
    accepted.send_all(rig.loop, DATA)
    accepted.sock.close()
    until(rig.loop, lambda: client.saw("eof"))
    assert client.received == DATA
    client.sock.close()
    until(rig.loop, lambda: not rig.worker.sessions)
    flow = rig.flow()
    assert (flow["path"], flow["by_uplink"]) == ("direct", {"line2": {"down": len(DATA), "up": 1}})


def test_a_server_that_refuses_a_direct_flow_is_remembered(rig: Rig) -> None:
    rig.apply(gateways=())
    rig.server.sock.close()
    client = rig.open(b"x")
    until(rig.loop, lambda: client.saw("reset"))
    assert len(rig.events("destination-refused")) == 1


def test_a_flow_without_any_uplink_says_nothing_about_its_server(rig: Rig) -> None:
    """Else every host of the LAN would go past its rules to that server for a while."""
    rig.apply(rules=(RuleIntent("mine", 1, TrafficDescriptor(), "load-balancing", ("gone",)),))
    client = rig.open(b"x")
    until(rig.loop, lambda: client.saw("reset"))
    assert not rig.events("destination-refused")


def test_running_out_of_descriptors_costs_the_new_flow_only(rig: Rig) -> None:
    conversation = rig.warm()
    rig.fresh()
    living = rig.open(b"x")
    rig.asked(conversation, b"x")
    conversation.send_all(rig.loop, GRANTED)
    pairs = [tcp_pair() for _ in range(2)]
    with no_descriptors_left():
        for client, near in pairs:
            rig.clients.append(Peer(client))
            key = FlowKey("192.168.77.11", 40_000, SERVER, rig.server.port)
            assert rig.worker.policy is not None
            session = CpeSession(rig.worker, len(rig.clients), near, key, rig.worker.policy.decide(key))
            rig.worker.sessions[session.id] = session
            session.start()
        until(rig.loop, lambda: all(Peer.saw(client, "reset") for client in rig.clients[1:]))
    conversation.send_all(rig.loop, b"still here")
    until(rig.loop, lambda: living.has(b"still here"))


def test_an_address_that_could_not_be_had_is_listened_on_as_soon_as_it_can(rig: Rig) -> None:
    rig.worker.stop_listening()
    rig.loop.turn(0.0)
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as rival:
        rival.bind(("::1", PORT_TPROXY))
        rival.listen()
        with pytest.raises(OSError, match="in use"):
            rig.apply(generation=2)
        assert set(rig.worker.listeners()) == {"127.0.0.1"}
    rig.apply(generation=3)
    assert set(rig.worker.listeners()) == {"127.0.0.1", "::1"}
