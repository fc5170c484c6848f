"""The CPE's session against a scripted converter: what the client sees, and that its data is never sent twice."""

import gc
import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Any

import pytest
from plane_rig import HAG, LINES, SERVER, Peer, Server, no_descriptors_left, own_network, tcp_pair, turn_for, until

from hagw.convert.errors import ErrorCode
from hagw.convert.message import Message, decode, encode
from hagw.convert.tlv import Connect, Cookie, Error, ExtendedTcpHeader
from hagw.dataplane.cpe import CpeWorker
from hagw.dataplane.gateway import Pool
from hagw.dataplane.loop import Loop
from hagw.dataplane.mptcp_socket import IPPROTO_MPTCP
from hagw.dataplane.session import BULK_BYTES, STALLED_LOOKS, CpeSession, has_crossed
from hagw.lab import netns
from hagw.model.flow import FlowKey
from hagw.model.intent import FlowLimits, PoolIntent, RuleIntent, TrafficDescriptor
from hagw.model.snapshot import CpeSnapshot, GatewayView, UplinkView

pytestmark = pytest.mark.netns

GRANTED = encode((ExtendedTcpHeader(b"\x02\x04\x05\xb4"),))
DATA = random.Random(3).randbytes(400_000)
PRELUDE_BYTES = 4 + 32
REQUEST_BYTES = 20


@pytest.fixture(scope="module")
def network() -> Iterator[str]:
    with own_network() as name:
        yield name


class NoSubflows:
    """A path manager that is never needed: every uplink is the loopback, on whose connections one subflow will do."""

    def sf_create(self, *_: object) -> None: ...
    def sf_destroy(self, *_: object) -> None: ...
    def remove(self, *_: object) -> None: ...
    def set_backup(self, *_: object) -> None: ...


class Rig:
    """A CPE worker on its loop, a converter and a server that do as the test says."""

    def __init__(self, network: str) -> None:
        self.network = network
        self.loop = Loop()
        self.reported: list[dict[str, Any]] = []
        self.worker = CpeWorker(self.loop, NoSubflows(), self.reported.append)
        self.converter = Server(HAG, protocol=IPPROTO_MPTCP)
        self.server = Server()
        self.clients: list[Peer] = []
        self.snapshot = CpeSnapshot(
            generation=1,
            uplinks=tuple(
                UplinkView(slot, f"line{slot}", "lo", 1, address, None, "up") for slot, address in enumerate(LINES, 1)
            ),
            gateways=(GatewayView("hag", (HAG,), self.converter.port, "home", "11" * 32, "up"),),
            rules=(),
            pool=PoolIntent(size_min=1),
            limits=FlowLimits(),
            congestion_control="cubic",
        )
        self.worker.apply(self.snapshot)

    def apply(self, **changes: Any) -> None:
        self.worker.apply(replace(self.snapshot, **changes))

    def open(self, said: bytes = b"", *, then: Callable[[Peer], object] = lambda client: None) -> Peer:
        """Let a LAN host connect to the server; `said` and `then` happen before the session starts."""
        client, near = tcp_pair()
        peer = Peer(client)
        self.clients.append(peer)
        if said:
            client.send(said)
        then(peer)
        worker = self.worker
        assert worker.policy is not None
        key = FlowKey("192.168.77.11", 40_000, SERVER, self.server.port)
        session = CpeSession(worker, len(self.clients), near, key, worker.policy.decide(key))
        worker.sessions[session.id] = session
        session.start()
        return peer

    def warm(self) -> Peer:
        """Have a warm connection ready; return the converter's end of it, its prelude read."""
        self.pool().refill()
        until(self.loop, lambda: self.pool().ready() == 1)
        conversation = self.converter.accept(self.loop)
        until(self.loop, lambda: conversation.poll() or len(conversation.received) == PRELUDE_BYTES)
        return conversation

    def pool(self) -> Pool:
        assert self.worker.policy is not None
        decision = self.worker.policy.steered()[-1]
        assert decision.gateway is not None
        return self.worker.pool(decision.gateway, decision.uplinks, decision.plan)

    def fresh(self) -> None:
        self.worker.heard("hag", time.monotonic())

    def asked(self, conversation: Peer, early: bytes = b"") -> Message:
        """Wait for the request and exactly this early data; return the request."""

        def complete() -> bool:
            conversation.poll()
            return len(conversation.received) >= PRELUDE_BYTES + REQUEST_BYTES + len(early)

        until(self.loop, complete)
        size = conversation.received[1] * 4
        assert bytes(conversation.received[size:]) == early
        return decode(bytes(conversation.received[:size]))

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.reported if event["event"] == kind]

    def flow(self) -> dict[str, Any]:
        """The record of the last flow that ended."""
        flow: dict[str, Any] = self.worker.flows(60)[-1]
        return flow

    @contextmanager
    def swallowed(self, port: int) -> Iterator[None]:
        """Drop what is sent to a port, in silence."""
        netns.nft(
            self.network,
            f"table inet hole {{ chain in {{ type filter hook input priority 0; tcp dport {port} drop; }}; }}",
        )
        try:
            yield
        finally:
            netns.nft(self.network, "delete table inet hole")

    def close(self) -> None:
        self.worker.close()
        self.worker.stop_listening()
        self.loop.turn(0.0)
        self.converter.close()
        self.server.close()
        for client in self.clients:
            client.sock.close()


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


def more_than_fits(rig: Rig) -> tuple[Peer, Peer]:
    """Have a flow granted whose early data fills the send buffer; return the converter's end and the client."""
    rig.converter.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    with small_send_buffers():
        conversation = rig.warm()
    rig.fresh()
    client = rig.open(DATA[:40_000])
    turn_for(rig.loop, 0.05)
    until(rig.loop, lambda: conversation.poll() or len(conversation.received) >= PRELUDE_BYTES + REQUEST_BYTES)
    conversation.send_all(rig.loop, GRANTED)
    return conversation, client


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
    assert bool(rig.events("address-unproven")) == (code == ErrorCode.MISSING_COOKIE)
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


# --- the converter fails


FAILURES: dict[str, Callable[[Peer], object]] = {
    "closes": lambda conversation: conversation.sock.close(),
    "ends": lambda conversation: conversation.sock.shutdown(socket.SHUT_WR),
    "resets": lambda conversation: conversation.reset(),
    "talks HTTP": lambda conversation: conversation.sock.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "sends zeros": lambda conversation: conversation.sock.send(bytes(100)),
    "sends a request": lambda conversation: conversation.sock.send(encode((Connect(1, ip_address(SERVER)),))),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_after_early_data_is_a_reset_never_a_second_try(rig: Rig, failure: str) -> None:
    conversation = rig.warm()
    rig.fresh()
    client = rig.open(b"POST /order")
    rig.asked(conversation, b"POST /order")
    FAILURES[failure](conversation)
    until(rig.loop, lambda: client.saw("reset"))
    turn_for(rig.loop, 0.1)
    assert rig.server.has_nobody()
    assert not rig.worker.sessions


@pytest.mark.parametrize(
    ("waited_ms", "shortest_ms", "crossed"), [(0, 20, True), (15, 20, True), (16.5, 20, False), (20, 20, False)]
)
def test_an_end_proves_that_nothing_was_passed_on_only_if_it_crossed_with_the_request(
    waited_ms: float, shortest_ms: float, crossed: bool
) -> None:
    assert has_crossed(waited_ms / 1e3, shortest_ms / 1e3) is crossed
    assert not has_crossed(waited_ms / 1e3, None)


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_before_any_early_data_is_passed_by(rig: Rig, failure: str) -> None:
    conversation = rig.warm()
    client = rig.open()
    rig.asked(conversation)
    FAILURES[failure](conversation)
    accepted = rig.server.accept(rig.loop)
    client.send_all(rig.loop, b"POST /order")
    until(rig.loop, lambda: accepted.has(b"POST /order"))
    assert len(rig.server.accepted) == 1
    accepted.sock.close()
    client.sock.close()
    until(rig.loop, lambda: not rig.worker.sessions)
    assert rig.flow()["path"] == "direct"


def test_a_converter_in_the_dark_costs_less_than_a_second(rig: Rig) -> None:
    """It was not heard of lately, so the client's data waits until its request is acknowledged."""
    rig.warm()
    with rig.swallowed(rig.converter.port):
        began = time.monotonic()
        client = rig.open(b"GET /")
        accepted = rig.server.accept(rig.loop)
        until(rig.loop, lambda: accepted.has(b"GET /"))
        assert time.monotonic() - began < 0.8
        assert [event["gateway"] for event in rig.events("gateway-failed")] == ["hag"]
        began = time.monotonic()
        rig.open(b"GET /")
        rig.server.accept(rig.loop)
        assert time.monotonic() - began < 0.1
    accepted.send_all(rig.loop, b"answer")
    until(rig.loop, lambda: client.has(b"answer"))


def test_a_converter_that_went_dark_just_now_costs_a_reset_in_less_than_a_second(rig: Rig) -> None:
    rig.warm()
    with rig.swallowed(rig.converter.port):
        rig.fresh()
        began = time.monotonic()
        client = rig.open(b"POST /order")
        until(rig.loop, lambda: client.saw("reset"))
        assert time.monotonic() - began < 1.0
        turn_for(rig.loop, 0.2)
        assert rig.server.has_nobody()
        began = time.monotonic()
        rig.open(b"GET /")
        rig.server.accept(rig.loop)
        assert time.monotonic() - began < 0.1


def test_a_converter_that_does_not_answer_the_opening_is_passed_by_within_a_second(rig: Rig) -> None:
    with rig.swallowed(rig.converter.port):
        began = time.monotonic()
        rig.open(b"GET /")
        accepted = rig.server.accept(rig.loop)
        until(rig.loop, lambda: accepted.has(b"GET /"))
        assert time.monotonic() - began < 1.0


def test_a_converter_that_is_not_there_is_passed_by_at_once(rig: Rig) -> None:
    rig.converter.close()
    began = time.monotonic()
    rig.open(b"GET /")
    accepted = rig.server.accept(rig.loop)
    until(rig.loop, lambda: accepted.has(b"GET /"))
    assert time.monotonic() - began < 0.2
    assert len(rig.events("gateway-failed")) == 1


def test_a_converter_that_acknowledges_but_never_answers_is_given_up(rig: Rig) -> None:
    rig.apply(limits=replace(FlowLimits(), connect_s=0.1))
    conversation = rig.warm()
    rig.fresh()
    client = rig.open(b"POST /order")
    rig.asked(conversation, b"POST /order")
    until(rig.loop, lambda: client.saw("reset"))
    assert rig.server.has_nobody()


@pytest.mark.parametrize("asked", [False, True], ids=["unasked", "asked"])
def test_a_converter_that_talks_rubbish_is_passed_by_and_logged(
    rig: Rig, asked: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether it says it to a flow or on a warm connection, which no flow may take after that."""
    conversation, pool = rig.warm(), rig.pool()
    if asked:
        client = rig.open()
        rig.asked(conversation)
    conversation.send_all(rig.loop, b"SSH-2.0-OpenSSH_9.2\r\n")
    until(rig.loop, lambda: rig.events("gateway-failed"))
    if not asked:
        assert pool.ready() == 0
        client = rig.open()
    accepted = rig.server.accept(rig.loop)
    client.send_all(rig.loop, b"GET /")
    until(rig.loop, lambda: accepted.has(b"GET /"))
    assert [event["reason"] for event in rig.events("gateway-failed")] == ["it broke the Convert protocol"]
    assert rig.worker.stats()["malformed"] == 1
    (line,) = capsys.readouterr().err.splitlines()
    wanted = f'source={HAG} kind=malformed reason="hag: wrong magic number"'
    assert 'level=warning event="gateway broke the protocol"' in line
    assert line.endswith(wanted)


# --- the client goes away


@pytest.mark.parametrize("phase", ["opening", "asking", "dialing"])
def test_a_client_that_resets_before_it_is_served_leaves_nothing(rig: Rig, phase: str) -> None:
    match phase:
        case "opening":
            with rig.swallowed(rig.converter.port):
                client = rig.open(b"x")
                client.reset()
                until(rig.loop, lambda: not rig.worker.sessions)
        case "asking":
            conversation = rig.warm()
            rig.fresh()
            client = rig.open(b"x")
            rig.asked(conversation, b"x")
            client.reset()
            until(rig.loop, lambda: not rig.worker.sessions)
            until(rig.loop, lambda: conversation.saw("reset"))
        case "dialing":
            rig.apply(gateways=())
            with rig.swallowed(rig.server.port):
                client = rig.open(b"x")
                client.reset()
                until(rig.loop, lambda: not rig.worker.sessions)
    turn_for(rig.loop, 0.05)
    assert rig.server.has_nobody()


def test_a_client_that_resets_before_it_is_accepted(rig: Rig) -> None:
    conversation = rig.warm()
    rig.fresh()
    rig.open(b"x", then=Peer.reset)
    until(rig.loop, lambda: not rig.worker.sessions)
    until(rig.loop, lambda: conversation.saw("reset"))


@pytest.mark.parametrize("resetting", ["client", "converter"])
def test_a_reset_passes_through(rig: Rig, resetting: str) -> None:
    conversation = rig.warm()
    rig.fresh()
    client = rig.open(b"x")
    rig.asked(conversation, b"x")
    conversation.send_all(rig.loop, GRANTED)
    until(rig.loop, lambda: next(iter(rig.worker.sessions.values())).state == "relaying")
    one, other = (client, conversation) if resetting == "client" else (conversation, client)
    one.reset()
    until(rig.loop, lambda: other.saw("reset"))
    assert not rig.worker.sessions
    assert rig.worker.stats()["reset_total"] == 1


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


# --- pools


def test_a_pool_grows_with_demand_and_shrinks_again(rig: Rig) -> None:
    rig.apply(pool=PoolIntent(size_min=1, size_max=3))
    rig.warm()
    pool = rig.pool()
    for target in (1, 2, 3, 3):
        while (taken := pool.take()) is not None:
            taken.close()
        assert pool.target == min(target + 1, 3)
    until(rig.loop, lambda: pool.ready() == 3)
    pool._quiet_since -= 61.0
    pool.tend()
    assert pool.target == 1
    pool.tend()
    assert pool.ready() == 1


def test_a_warm_connection_that_ends_is_replaced(rig: Rig) -> None:
    rig.warm().sock.close()
    pool = rig.pool()
    until(rig.loop, lambda: pool.ready() == 0)
    until(rig.loop, lambda: pool.ready() == 1)
    assert not rig.events("gateway-failed")


def test_a_converter_that_refuses_our_cookie_is_no_way_for_flows(rig: Rig) -> None:
    conversation = rig.warm()
    conversation.send_all(rig.loop, encode((Error(ErrorCode.NOT_AUTHORIZED, b"\0"),)))
    until(rig.loop, lambda: rig.worker.stats()["pool"] == {"hag": 0})
    assert "32" in rig.events("gateway-failed")[0]["reason"]
    rig.open(b"x")
    accepted = rig.server.accept(rig.loop)
    until(rig.loop, lambda: accepted.has(b"x"))


def test_old_warm_connections_are_retired(rig: Rig) -> None:
    rig.apply(pool=PoolIntent(size_min=1, idle_s=0.2))
    conversation = rig.warm()
    turn_for(rig.loop, 0.25)
    rig.pool().tend()
    until(rig.loop, lambda: conversation.saw("reset"))
    until(rig.loop, lambda: rig.pool().ready() == 1)


def second_line_is_better(rig: Rig) -> None:
    floors = (50.0, 10.0)
    rig.apply(
        uplinks=tuple(
            replace(uplink, rtt_floor_ms=floor) for uplink, floor in zip(rig.snapshot.uplinks, floors, strict=True)
        )
    )


def test_warm_connections_begin_anew_when_another_line_is_the_best(rig: Rig) -> None:
    """Else the first bytes of flows go over the line that was the best once."""
    before = rig.warm()
    rig.pool().tend()
    assert rig.pool().ready() == 1
    second_line_is_better(rig)
    rig.pool().tend()
    until(rig.loop, lambda: before.saw("reset"))
    until(rig.loop, lambda: rig.pool().ready() == 1)
    assert rig.converter.accept(rig.loop).sock.getpeername()[0] == LINES[1]


def test_a_flow_takes_a_warm_connection_that_begins_over_the_best_line(rig: Rig) -> None:
    rig.warm()
    second_line_is_better(rig)
    pool = rig.pool()
    pool.target = 3
    pool.refill()
    until(rig.loop, lambda: pool.ready() == 3)
    rig.apply()
    taken = rig.pool().take()
    assert taken is not None
    assert taken.initial == 1
    taken.close()


def test_a_closed_pool_opens_nothing_more(rig: Rig) -> None:
    conversation = rig.warm()
    rig.fresh()
    rig.open(b"x")
    rig.asked(conversation, b"x")
    rig.worker.close()
    turn_for(rig.loop, 0.1)
    assert len(rig.converter.accepted) == 1


def test_many_flows_leave_no_descriptor(rig: Rig) -> None:
    """Served, given up by the client, given up by the converter: in turn."""
    gc.collect()  # loops of other tests
    descriptors = set()
    for number in range(30):
        conversation = rig.warm()
        rig.fresh()
        client = rig.open(b"x")
        rig.asked(conversation, b"x")
        match number % 3:
            case 0:
                conversation.send_all(rig.loop, GRANTED)
                conversation.sock.shutdown(socket.SHUT_WR)
                client.sock.shutdown(socket.SHUT_WR)
            case 1:
                client.reset()
            case 2:
                conversation.reset()
        until(rig.loop, lambda: not rig.worker.sessions)
        rig.worker.close()
        rig.loop.turn(0.0)
        for peer in [client, *rig.converter.accepted]:
            peer.sock.close()
        descriptors.add(len(os.listdir("/proc/self/fd")))
    assert len(descriptors) == 1


@contextmanager
def small_send_buffers() -> Iterator[None]:
    """Let sockets opened meanwhile take little at once."""
    limits = Path("/proc/sys/net/ipv4/tcp_wmem")
    before = limits.read_text(encoding="ascii")
    limits.write_text("4096 4608 4608", encoding="ascii")
    try:
        yield
    finally:
        limits.write_text(before, encoding="ascii")
