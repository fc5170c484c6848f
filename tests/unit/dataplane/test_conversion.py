"""The HAG's session against scripted clients and servers: right answer, right end, nothing left of it."""

import random
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from plane_rig import HAG, SERVER, SERVER6, Peer, Server, no_descriptors_left, own_network, turn_for, until

from hagw.convert import cookie
from hagw.convert.errors import ErrorCode
from hagw.convert.machine import KIND_MPTCP
from hagw.convert.message import HEADER_SIZE, Message, decode, encode, encode_header
from hagw.convert.tlv import (
    Connect,
    Cookie,
    Error,
    ExtendedTcpHeader,
    Info,
    SupportedTcpExtensions,
    TcpOption,
    Tlv,
    decode_options,
)
from hagw.dataplane.hag import ERRORS_A_SECOND, HagWorker
from hagw.dataplane.loop import Loop
from hagw.dataplane.mptcp_socket import IPPROTO_MPTCP
from hagw.dataplane.strangers import FAILURES_BURST, FROM_A_SOURCE_MAX
from hagw.lab import netns
from hagw.model.intent import FlowLimits
from hagw.model.snapshot import CustomerView, HagSnapshot

pytestmark = pytest.mark.netns

KEY = bytes(range(32))
PORT = 5124
SNAPSHOT = HagSnapshot(
    generation=1,
    listen=(HAG,),
    port=PORT,
    probe_port=PORT,
    customers=(CustomerView("home", KEY.hex()), CustomerView("office", KEY.hex(), ("192.0.2.0/24",))),
    allow=(),
    deny=("203.0.113.66/32",),
    own_addresses=(HAG,),
    server_mptcp="off",
    server_mptcp_prefixes=(),
    limits=FlowLimits(),
    congestion_control="cubic",
    ipv6_egress=True,
)
DATA = random.Random(2).randbytes(300_000)


@pytest.fixture(scope="module")
def network() -> Iterator[str]:
    with own_network() as name:
        yield name


class Rig:
    """A HAG worker on its loop; it is reconfigured by `apply`."""

    def __init__(self, network: str) -> None:
        self.network = network
        self.loop = Loop()
        self.reported: list[dict[str, Any]] = []
        self.worker = HagWorker(self.loop, self.reported.append)
        self.worker.apply(SNAPSHOT)
        self._clients: list[Peer] = []
        self._servers: list[Server] = []

    def limit(self, **limits: Any) -> None:
        self.worker.apply(replace(SNAPSHOT, limits=replace(FlowLimits(), **limits)))

    def client(self, protocol: int = socket.IPPROTO_TCP) -> Peer:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
        sock.connect((HAG, PORT))
        sock.setblocking(False)
        self._clients.append(Peer(sock))
        return self._clients[-1]

    def server(self, address: str = SERVER, backlog: int = 128) -> Server:
        self._servers.append(Server(address, backlog))
        return self._servers[-1]

    def ask(self, data: bytes) -> Peer:
        client = self.client()
        client.send_all(self.loop, data)
        return client

    def reply(self, client: Peer) -> tuple[Message, bytes]:
        """Return the reply of the HAG and what user data came behind it."""

        def complete() -> bool:
            client.poll()
            received = client.received
            return len(received) >= HEADER_SIZE and len(received) >= received[1] * 4

        until(self.loop, complete)
        size = client.received[1] * 4
        return decode(bytes(client.received[:size])), bytes(client.received[size:])

    def error(self, client: Peer) -> Error:
        """Return the error the HAG answers with, and check that its end comes behind it without a reset."""
        message, rest = self.reply(client)
        until(self.loop, lambda: client.saw("eof"))
        assert not rest
        (error,) = message.tlvs
        assert isinstance(error, Error)
        return error

    def nothing_left(self) -> bool:
        worker = self.worker
        return not worker.sessions and not worker.pending and not worker.strangers

    def close(self) -> None:
        self.worker.close()
        self.worker.stop_listening()
        self.loop.turn(0.0)
        for client in self._clients:
            client.sock.close()
        for server in self._servers:
            server.close()


@pytest.fixture
def rig(network: str) -> Iterator[Rig]:
    made = Rig(network)
    yield made
    made.close()


def mint(customer: str = "home", *, key: bytes = KEY, age_s: float = 0.0) -> Cookie:
    return Cookie(cookie.mint(key, customer, time.time() - age_s))


def message(*tlvs: Tlv) -> bytes:
    return encode(tlvs)


def connect_to(server: Server, *others: Tlv) -> bytes:
    return message(Connect(server.port, ip_address(server.address)), *(others or (mint(),)))


# --- what works


@pytest.mark.parametrize("address", [SERVER, SERVER6])
def test_early_data_reaches_the_server_and_its_answer_the_client(rig: Rig, address: str) -> None:
    server = rig.server(address)
    client = rig.ask(connect_to(server) + b"GET /")
    accepted = server.accept(rig.loop)
    until(rig.loop, lambda: accepted.has(b"GET /"))
    accepted.send_all(rig.loop, DATA)
    accepted.sock.shutdown(socket.SHUT_WR)
    until(rig.loop, lambda: client.saw("eof"))
    reply, rest = rig.reply(client)
    assert [type(tlv) for tlv in reply.tlvs] == [ExtendedTcpHeader]
    assert rest == DATA
    client.sock.shutdown(socket.SHUT_WR)
    until(rig.loop, rig.nothing_left)
    (flow,) = rig.worker.flows(60)
    assert (flow["server"], flow["bytes_down"], flow["bytes_up"]) == (address, len(DATA), 5)
    assert rig.worker.stats()["bytes_down"] == len(DATA)


def test_a_message_may_come_byte_by_byte(rig: Rig) -> None:
    server = rig.server()
    client = rig.client()
    for byte in connect_to(server, mint(), Info()) + b"early":
        client.send_all(rig.loop, bytes((byte,)))
        rig.loop.turn(0.0)
    accepted = server.accept(rig.loop)
    until(rig.loop, lambda: accepted.has(b"early"))
    reply, _ = rig.reply(client)
    assert reply.find(SupportedTcpExtensions) == SupportedTcpExtensions((30, 4, 8))


def test_a_warm_connection_waits_for_its_server(rig: Rig) -> None:
    rig.limit(message_s=0.05)
    server = rig.server()
    client = rig.client(IPPROTO_MPTCP)
    client.send_all(rig.loop, encode_header(HEADER_SIZE + 32 + 20) + mint().encode())
    turn_for(rig.loop, 0.15)
    assert rig.worker.stats()["warm"] == 1
    client.send_all(rig.loop, Connect(server.port, ip_address(SERVER)).encode() + b"late but well")
    accepted = server.accept(rig.loop)
    until(rig.loop, lambda: accepted.has(b"late but well"))


def test_a_server_that_speaks_first_is_heard_at_once(rig: Rig) -> None:
    server = rig.server()
    client = rig.ask(connect_to(server))
    server.accept(rig.loop).send_all(rig.loop, b"220 hello")
    until(rig.loop, lambda: client.received.endswith(b"220 hello") or client.poll())


def test_much_early_data_is_bounded_and_arrives_whole(rig: Rig) -> None:
    """The server is slow to be reached, the client does not wait."""
    server = rig.server(backlog=0)
    fillers = fill_backlog(server)
    client = rig.ask(connect_to(server))
    sent = 0
    while client.takes_more():
        sent += client.sock.send(DATA[:1000])
        rig.loop.turn(0.0)
    (session,) = rig.worker.sessions.values()
    assert session.bytes()[1] <= 2 * 65536
    make_room(server, fillers)
    client.sock.shutdown(socket.SHUT_WR)
    accepted = server.accept(rig.loop)
    until(rig.loop, lambda: accepted.saw("eof"))
    assert len(accepted.received) == sent


def test_a_client_that_finished_early_still_gets_its_answer(rig: Rig) -> None:
    server = rig.server()
    client = rig.ask(connect_to(server) + b"all")
    client.sock.shutdown(socket.SHUT_WR)
    accepted = server.accept(rig.loop)
    until(rig.loop, lambda: accepted.saw("eof"))
    assert accepted.received == b"all"
    accepted.send_all(rig.loop, b"answer")
    accepted.sock.close()
    until(rig.loop, lambda: client.saw("eof"))
    assert rig.reply(client)[1] == b"answer"
    until(rig.loop, rig.nothing_left)


# --- what is refused


@pytest.mark.parametrize(
    ("address", "port", "code"),
    [
        ("203.0.113.66", 80, ErrorCode.NOT_AUTHORIZED),
        (HAG, PORT, ErrorCode.NOT_AUTHORIZED),
        ("10.1.2.3", 80, ErrorCode.NOT_AUTHORIZED),
        ("fd00::1", 80, ErrorCode.NOT_AUTHORIZED),
        ("169.254.1.1", 80, ErrorCode.NOT_AUTHORIZED),
        (SERVER, 25, ErrorCode.NOT_AUTHORIZED),
        ("127.0.0.1", 80, ErrorCode.MALFORMED_MESSAGE),
        ("::1", 80, ErrorCode.MALFORMED_MESSAGE),
        ("224.0.0.1", 80, ErrorCode.MALFORMED_MESSAGE),
        (SERVER, 0, ErrorCode.MALFORMED_MESSAGE),
        ("192.0.2.1", 80, ErrorCode.DESTINATION_UNREACHABLE),
    ],
)
def test_servers_out_of_bounds(rig: Rig, address: str, port: int, code: ErrorCode) -> None:
    client = rig.ask(message(mint(), Connect(port, ip_address(address))))
    assert rig.error(client).code == code
    client.sock.close()
    until(rig.loop, rig.nothing_left)


@pytest.mark.parametrize(
    "presented",
    [
        mint(key=bytes(32)),
        mint("nobody"),
        mint("office"),
        mint(age_s=2.5 * cookie.PERIOD_S),
        mint(age_s=-2.5 * cookie.PERIOD_S),
        Cookie(bytes(28)),
        Cookie(bytes(4)),
    ],
    ids=["wrong key", "stranger", "wrong source", "old", "of the future", "zeros", "short"],
)
def test_a_cookie_that_is_not_valid_is_not_authorised(rig: Rig, presented: Cookie) -> None:
    server = rig.server()
    client = rig.ask(connect_to(server, presented) + b"early")
    assert rig.error(client) == Error(ErrorCode.NOT_AUTHORIZED, b"\0")
    assert server.has_nobody()
    assert rig.worker.stats()["refused"] == 1


def test_a_bad_cookie_is_refused_before_the_rest_has_come(rig: Rig) -> None:
    client = rig.ask(encode_header(HEADER_SIZE + 32 + 20) + mint(key=bytes(32)).encode())
    assert rig.error(client).code == ErrorCode.NOT_AUTHORIZED


def test_no_cookie_is_not_authorised(rig: Rig) -> None:
    server = rig.server()
    client = rig.ask(message(Connect(server.port, ip_address(SERVER))))
    assert rig.error(client).code == ErrorCode.NOT_AUTHORIZED
    assert server.has_nobody()


def test_the_cookie_of_the_last_period_still_counts(rig: Rig) -> None:
    server = rig.server()
    rig.ask(connect_to(server, mint(age_s=cookie.PERIOD_S)))
    server.accept(rig.loop)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x02\x01\x22\x63", ErrorCode.UNSUPPORTED_VERSION),
        (b"\x00\x01\x22\x63", ErrorCode.UNSUPPORTED_VERSION),
        (b"\x01\x01\x22\x63", ErrorCode.MALFORMED_MESSAGE),
        (b"\x01\x02\x22\x63\x0a\x00\x00\x00", ErrorCode.MALFORMED_MESSAGE),
        (b"\x01\x02\x22\x63\x0a\x09\x00\x00", ErrorCode.MALFORMED_MESSAGE),
        (b"\x01\x03\x22\x63\x01\x01\0\0\x01\x01\0\0", ErrorCode.MALFORMED_MESSAGE),
        (b"\x01\x02\x22\x63\x00\x01\x00\x00", ErrorCode.UNSUPPORTED_MESSAGE),
        (b"\x01\x02\x22\x63\x63\x01\x00\x00", ErrorCode.UNSUPPORTED_MESSAGE),
        (b"\x01\x02\x22\x63\x1e\x01\x00\x00", ErrorCode.UNSUPPORTED_MESSAGE),
    ],
)
def test_messages_that_make_no_sense_get_an_error(rig: Rig, data: bytes, code: ErrorCode) -> None:
    client = rig.ask(data)
    assert rig.error(client).code == code
    assert rig.worker.stats()["malformed"] == 1
    client.sock.close()
    until(rig.loop, rig.nothing_left)


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n", b"\x01\x00\x22\x63", b"\x01\x05\x63\x22", b"\x16\x03\x01\x02"]
)
def test_what_is_not_convert_is_reset(rig: Rig, data: bytes) -> None:
    client = rig.ask(data)
    until(rig.loop, lambda: client.saw("reset"))
    assert not client.received
    assert rig.worker.stats()["malformed"] == 1
    until(rig.loop, rig.nothing_left)


def test_an_option_that_cannot_be_converted_is_named(rig: Rig) -> None:
    wanted = Connect(80, ip_address(SERVER), (TcpOption(34),))
    assert rig.error(rig.ask(message(mint(), wanted))) == Error(ErrorCode.UNSUPPORTED_TCP_OPTION, bytes((34,)))


def test_a_refused_port_is_a_connection_reset(rig: Rig) -> None:
    server = rig.server()
    server.sock.close()
    client = rig.ask(connect_to(server))
    assert rig.error(client).code == ErrorCode.CONNECTION_RESET


def test_an_authorised_question_is_answered(rig: Rig) -> None:
    client = rig.ask(message(Info(), mint()))
    reply, _ = rig.reply(client)
    assert reply.tlvs == (SupportedTcpExtensions((30, 4, 8)),)
    until(rig.loop, lambda: client.saw("eof"))


def test_a_client_may_go_on_talking_to_an_error_and_is_not_reset(rig: Rig) -> None:
    """Section 6.2.2: the client resets, not the converter; what it sends meanwhile is thrown away."""
    client = rig.ask(message(Connect(80, ip_address(SERVER))))
    for _ in range(20):
        client.send_all(rig.loop, bytes(50_000))
    assert rig.error(client).code == ErrorCode.NOT_AUTHORIZED


def test_errors_are_answered_a_bounded_number_a_second(rig: Rig) -> None:
    clients = [rig.ask(b"\x02\x01\x22\x63") for _ in range(120)]

    def settled() -> bool:
        for client in clients:
            client.poll()
        return all(client.ended for client in clients)

    until(rig.loop, settled)
    answered = sum(bool(client.received) for client in clients)
    assert 50 <= answered <= 100  # one second or the next
    assert rig.worker.stats()["malformed"] == 120


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
    for _ in range(int(FAILURES_BURST) + 50):
        rig.ask(message(mint(key=bytes(32)), Info()))
        rig.loop.turn(0.0)
    until(rig.loop, lambda: rig.worker.stats()["shut_out"] > 0)
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


# --- MPTCP towards servers


def test_a_path_that_swallows_mptcp_costs_300_ms_once(rig: Rig) -> None:
    netns.nft(
        rig.network,
        "table inet swallow { chain in { type filter hook input priority 0; "
        f"ip daddr {SERVER} tcp flags syn tcp option mptcp exists drop; }}; }}",
    )
    try:
        rig.worker.apply(replace(SNAPSHOT, server_mptcp="auto"))
        server = rig.server()
        began = time.monotonic()
        client = rig.ask(connect_to(server) + b"x")
        accepted = server.accept(rig.loop)
        first = time.monotonic() - began
        until(rig.loop, lambda: accepted.has(b"x") and rig.reply(client))
        began = time.monotonic()
        rig.ask(connect_to(server))
        server.accept(rig.loop)
        second = time.monotonic() - began
        assert 0.29 < first < 0.6
        assert second < 0.2
    finally:
        netns.nft(rig.network, "delete table inet swallow")


def test_a_server_that_speaks_mptcp_is_remembered(rig: Rig) -> None:
    rig.worker.apply(replace(SNAPSHOT, server_mptcp_prefixes=(f"{SERVER}/32",)))
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
    with listener:
        listener.bind((SERVER, 0))
        listener.listen()
        wanted = message(mint(), Connect(listener.getsockname()[1], ip_address(SERVER)))
        reply, _ = rig.reply(rig.ask(wanted))
        options = reply.find(ExtendedTcpHeader)
        assert options is not None
        assert any(option.kind == KIND_MPTCP for option in decode_options(options.options))
        rig.worker.servers.configure("off", ())
        assert rig.worker.servers.try_mptcp(ip_address(SERVER), listener.getsockname()[1], rig.loop.now)


def fill_backlog(server: Server) -> list[socket.socket]:
    """Make a server of backlog 0 silent: the kernel drops further SYNs."""
    fillers = []
    for _ in range(2):
        filler = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        filler.setblocking(False)
        filler.connect_ex((server.address, server.port))
        fillers.append(filler)
    return fillers


def make_room(server: Server, fillers: list[socket.socket]) -> None:
    """Let a server that was silent accept connections again."""
    for filler in fillers:
        filler.close()
    while not server.has_nobody():
        pass
