"""The HAG's session under pressure: what is bounded, and the end in every phase."""

import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address

import pytest
from conversion_rig import PORT, SNAPSHOT, Rig, connect_to, fill_backlog, make_room, message, mint
from plane_rig import HAG, SERVER, no_descriptors_left, turn_for, until

from hagw.convert.errors import ErrorCode
from hagw.convert.message import HEADER_SIZE, encode_header
from hagw.convert.tlv import (
    Connect,
    Error,
    Info,
)
from hagw.dataplane.hag import ERRORS_A_SECOND
from hagw.dataplane.mptcp_socket import IPPROTO_MPTCP
from hagw.dataplane.servers import RACE_S
from hagw.dataplane.strangers import FAILURES_BURST, FROM_A_SOURCE_MAX

pytestmark = pytest.mark.netns


@pytest.fixture
def rig(network: str) -> Iterator[Rig]:
    made = Rig(network)
    yield made
    made.close()


# --- bounds


def test_refused_servers_are_not_pending_any_more(rig: Rig) -> None:
    rig.limit(pending_per_customer=2)
    server = rig.server()
    server.sock.close()
    codes = [rig.error(rig.ask(connect_to(server))).code for _ in range(5)]
    assert codes == [ErrorCode.CONNECTION_RESET] * 5
    assert not rig.worker.pending


def test_unreachable_servers_are_not_pending_any_more(rig: Rig) -> None:
    rig.limit(pending_per_customer=2)
    wanted = message(mint(), Connect(80, ip_address("192.0.2.1")))
    codes = [rig.error(rig.ask(wanted)).code for _ in range(5)]
    assert codes == [ErrorCode.DESTINATION_UNREACHABLE] * 5


def test_pending_servers_of_a_customer_are_bounded(rig: Rig) -> None:
    rig.limit(pending_per_customer=1)
    server = rig.server(backlog=0)
    fillers = fill_backlog(server)
    first = rig.ask(connect_to(server))
    until(rig.loop, lambda: rig.worker.pending)
    error = rig.error(rig.ask(connect_to(server)))
    assert (error.code, error.value[:1]) == (ErrorCode.RESOURCE_EXCEEDED, b"\x01")
    first.reset()
    until(rig.loop, lambda: not rig.worker.pending)
    make_room(server, fillers)


def test_a_silent_server_is_unreachable_after_the_limit(rig: Rig) -> None:
    rig.limit(connect_s=0.3)
    server = rig.server(backlog=0)
    fillers = fill_backlog(server)
    client = rig.ask(connect_to(server))
    began = time.monotonic()
    assert rig.error(client).code == ErrorCode.DESTINATION_UNREACHABLE
    assert 0.3 <= time.monotonic() - began < 1.0
    client.sock.close()
    until(rig.loop, rig.nothing_left)
    make_room(server, fillers)


def test_a_server_that_answers_after_the_error_is_not_served(rig: Rig) -> None:
    """Its handshake ends while the client still holds the connection that brought it the error."""
    rig.limit(connect_s=0.4)
    server = rig.server(backlog=0)
    fillers = fill_backlog(server)
    client = rig.ask(connect_to(server) + b"early")
    error = rig.error(client)
    assert error.code == ErrorCode.DESTINATION_UNREACHABLE
    make_room(server, fillers)
    turn_for(rig.loop, 1.3)  # until after the SYN's first repetition
    assert server.has_nobody()
    assert [flow["state"] for flow in rig.worker.flows(60)] == ["lingering"]


def test_a_client_that_stays_after_an_error_is_sent_away(rig: Rig) -> None:
    client = rig.ask(message(Connect(80, ip_address(SERVER))))
    rig.error(client)
    began = time.monotonic()
    until(rig.loop, rig.nothing_left)
    assert 1.0 < time.monotonic() - began < 3.0


@pytest.mark.parametrize("said", [b"", b"\x01", b"\x01\x0e\x22\x63", encode_header(56) + b"\x16"])
def test_a_slow_stranger_is_reset(rig: Rig, said: bytes) -> None:
    rig.limit(message_s=0.2)
    client = rig.ask(said)
    began = time.monotonic()
    until(rig.loop, lambda: client.saw("reset"))
    assert 0.15 < time.monotonic() - began < 1.0
    until(rig.loop, rig.nothing_left)


def test_a_stranger_that_trickles_gets_no_more_time(rig: Rig) -> None:
    rig.limit(message_s=0.3)
    client = rig.client()
    began = time.monotonic()
    for byte in encode_header(1020) + bytes((0x16, 0xFE)) + bytes(900):
        try:
            client.sock.send(bytes((byte,)))
        except (BrokenPipeError, ConnectionResetError):
            break
        turn_for(rig.loop, 0.01)
    assert 0.25 < time.monotonic() - began < 1.0


def test_an_idle_warm_connection_ends_in_time(rig: Rig) -> None:
    rig.limit(warm_idle_s=0.2)
    client = rig.ask(encode_header(HEADER_SIZE + 32 + 20) + mint().encode())
    until(rig.loop, lambda: client.saw("reset"))
    until(rig.loop, rig.nothing_left)


def test_strangers_do_not_keep_customers_out(rig: Rig) -> None:
    """More half-open connections than are allowed: the oldest stranger goes, whoever comes is heard."""
    strangers = []
    for _ in range(FROM_A_SOURCE_MAX + 50):
        strangers.append(rig.client())
        rig.loop.turn(0.0)
    assert len(rig.worker.strangers) <= FROM_A_SOURCE_MAX
    server = rig.server()
    rig.ask(connect_to(server) + b"customer")
    accepted = server.accept(rig.loop)
    until(rig.loop, lambda: accepted.has(b"customer"))
    assert len(rig.worker.strangers) <= FROM_A_SOURCE_MAX
    for stranger in strangers:
        stranger.reset()
    until(rig.loop, lambda: not rig.worker.strangers)


def test_who_guesses_cookies_is_shut_out_at_last_and_counted(rig: Rig) -> None:
    """Every guess was answered or reset; nothing of them is left, and another address is heard at once."""
    for _ in range(20 * int(FAILURES_BURST)):  # some are forgiven each second: on a slow machine it takes more of them
        rig.ask(message(mint(key=bytes(32)), Info()))
        rig.loop.turn(0.0)
        if rig.worker.counts["shut_out"]:
            break
    assert rig.worker.stats()["shut_out"] > 0
    stats = rig.worker.stats()
    assert stats["not_authorised"] >= FAILURES_BURST
    assert rig.worker.lingering <= ERRORS_A_SECOND * 5
    server = rig.server()
    with socket.socket() as sock:
        sock.bind((SERVER, 0))
        sock.connect((HAG, PORT))
        sock.send(connect_to(server) + b"customer")
        accepted = server.accept(rig.loop)
        until(rig.loop, lambda: accepted.has(b"customer"))


def test_a_customers_warm_connections_are_limited_and_nobody_elses(rig: Rig) -> None:
    rig.limit(warm_per_customer=2)
    front = encode_header(HEADER_SIZE + 32 + 20)
    kept = [rig.ask(front + mint().encode()) for _ in range(2)]
    until(rig.loop, lambda: rig.worker.stats()["warm"] == 2)
    assert rig.error(rig.ask(front + mint().encode())).code == ErrorCode.RESOURCE_EXCEEDED
    server = rig.server()
    kept[0].send_all(rig.loop, Connect(server.port, ip_address(SERVER)).encode())
    server.accept(rig.loop)
    until(rig.loop, lambda: rig.worker.stats()["flows_active"] == 1)
    again = rig.ask(front + mint().encode())
    kept[1].reset()
    turn_for(rig.loop, 0.05)
    assert not again.received
    third = rig.ask(front + mint().encode())
    turn_for(rig.loop, 0.05)
    assert not third.received


def test_all_warm_connections_hear_that_the_gateway_drains(rig: Rig) -> None:
    """Also more of one address than errors are answered in a second: a reset could meet a request under way."""
    rig.limit(warm_per_customer=ERRORS_A_SECOND + 10)
    kept = [rig.ask(encode_header(HEADER_SIZE + 32 + 20) + mint().encode()) for _ in range(ERRORS_A_SECOND + 5)]
    until(rig.loop, lambda: rig.worker.stats()["warm"] == len(kept))
    rig.worker.apply(replace(rig.worker.snapshot or SNAPSHOT, draining=True))
    assert {rig.error(client).code for client in kept} == {ErrorCode.RESOURCE_EXCEEDED}


def test_one_customer_does_not_take_the_whole_gateway(rig: Rig) -> None:
    rig.limit(flows_max=6)
    server = rig.server()
    for _ in range(3):
        rig.ask(connect_to(server))
        server.accept(rig.loop)
    assert rig.error(rig.ask(connect_to(server))).code == ErrorCode.RESOURCE_EXCEEDED
    rig.worker.apply(replace(rig.worker.snapshot or SNAPSHOT, customers=SNAPSHOT.customers[:1]))
    rig.ask(connect_to(server))  # now there is nobody else
    server.accept(rig.loop)


def test_a_gateway_without_descriptors_answers_when_it_has_some_again(rig: Rig) -> None:
    server = rig.server()
    client = rig.ask(connect_to(server) + b"x")
    turn_for(rig.loop, 0.0)
    waiting = rig.client()
    with no_descriptors_left():
        assert turn_for(rig.loop, 0.2) < 20
    assert rig.worker.stats()["accept_errors"] > 0
    waiting.send_all(rig.loop, b"\x02\x01\x22\x63")
    assert rig.error(waiting).code == ErrorCode.UNSUPPORTED_VERSION
    client.reset()


def test_a_race_that_cannot_begin_leaves_the_attempt_under_way_alone(rig: Rig) -> None:
    """There is no descriptor for a plain connection beside the MPTCP one, whose server answers a moment later."""
    server = rig.server(backlog=0)
    fillers = fill_backlog(server)
    rig.worker.apply(replace(SNAPSHOT, server_mptcp="auto"))
    client = rig.ask(connect_to(server) + b"x")
    until(rig.loop, lambda: rig.worker.stats()["pending"])
    begun = rig.loop.now
    with no_descriptors_left():
        until(rig.loop, lambda: rig.loop.now > begun + RACE_S + 0.05)
    assert not client.saw("eof")
    make_room(server, fillers)
    until(rig.loop, lambda: rig.worker.stats()["pending"] == 0)
    reply, _ = rig.reply(client)
    assert reply.find(Error) is None


def test_bad_peers_are_logged_with_source_kind_and_reason(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.limit(message_s=0.05, warm_idle_s=0.1)
    for said in (b"GET / HTTP/1.1\r\n", b"\x02\x01\x22\x63", message(mint(key=bytes(32)), Info()), b"\x01"):
        for _ in range(3):
            rig.ask(said)
            turn_for(rig.loop, 0.02)
    rig.ask(encode_header(HEADER_SIZE + 32 + 20) + mint().encode())
    until(rig.loop, rig.nothing_left)
    lines = capsys.readouterr().err.splitlines()
    told = [line.split(" ", 1)[1] for line in lines]
    bad, idle = f'level=warning event="peer turned away" source={HAG}', 'level=info event="idle connection ended"'
    assert told == [
        f'{bad} kind=malformed reason="wrong magic number"',
        f'{bad} kind=not-authorised reason="cookie not valid"',
        f'{bad} kind=slow reason="its message was not complete in time"',
        f'{idle} source={HAG} kind=idle reason="no request came on a warm connection"',
    ]


@pytest.mark.parametrize("half_closed", [False, True])
def test_idle_flows_end_in_time(rig: Rig, half_closed: bool) -> None:
    rig.limit(idle_s=100.0, half_closed_s=10.0)
    server = rig.server()
    client = rig.ask(connect_to(server) + b"x")
    accepted = server.accept(rig.loop)
    until(rig.loop, lambda: accepted.has(b"x") and rig.reply(client))
    if half_closed:
        client.sock.shutdown(socket.SHUT_WR)
        until(rig.loop, lambda: accepted.saw("eof"))
        accepted.ended = None
    (session,) = rig.worker.sessions.values()
    now = rig.loop.now
    session.sweep(now)
    limit = 10.0 if half_closed else 100.0
    session.sweep(now + limit - 1)
    assert rig.worker.sessions
    session.sweep(now + limit + 1)
    assert not rig.worker.sessions
    until(rig.loop, lambda: client.saw("reset"))


# --- ends in every phase


def test_a_client_that_goes_while_its_server_is_awaited_leaves_nothing(rig: Rig) -> None:
    server = rig.server(backlog=0)
    fillers = fill_backlog(server)
    client = rig.ask(connect_to(server))
    until(rig.loop, lambda: rig.worker.pending)
    client.reset()
    until(rig.loop, rig.nothing_left)
    make_room(server, fillers)
    turn_for(rig.loop, 0.1)
    assert server.has_nobody()


@pytest.mark.parametrize("protocol", [socket.IPPROTO_TCP, IPPROTO_MPTCP])
def test_a_client_that_resets_just_when_its_server_answers(rig: Rig, protocol: int) -> None:
    """Both are reported in the same turn, in either order."""
    for _ in range(20):
        server = rig.server()
        client = rig.client(protocol)
        client.send_all(rig.loop, connect_to(server) + b"early")
        until(rig.loop, lambda: rig.worker.pending)
        client.reset()
        until(rig.loop, rig.nothing_left)
        server.sock.close()


@pytest.mark.parametrize("protocol", [socket.IPPROTO_TCP, IPPROTO_MPTCP])
@pytest.mark.parametrize("resetting", ["client", "server"])
def test_a_reset_passes_through(rig: Rig, resetting: str, protocol: int) -> None:
    server = rig.server()
    client = rig.client(protocol)
    client.send_all(rig.loop, connect_to(server) + b"x")
    accepted = server.accept(rig.loop)
    until(rig.loop, lambda: accepted.has(b"x") and rig.reply(client))
    one, other = (client, accepted) if resetting == "client" else (accepted, client)
    one.reset()
    until(rig.loop, lambda: other.saw("reset"))
    until(rig.loop, rig.nothing_left)
    assert rig.worker.stats()["reset_total"] == 1


def test_a_client_that_closes_before_its_message_is_complete_is_forgotten(rig: Rig) -> None:
    rig.ask(b"\x01\x0e").sock.close()
    until(rig.loop, lambda: rig.worker.strangers or rig.nothing_left())
    until(rig.loop, rig.nothing_left)
