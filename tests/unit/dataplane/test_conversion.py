"""The HAG's session against scripted clients and servers: right answer, right end, nothing left of it."""

import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from conversion_rig import DATA, PORT, SNAPSHOT, Rig, connect_to, fill_backlog, make_room, message, mint
from plane_rig import HAG, SERVER, SERVER6, turn_for, until

from hagw.convert import cookie
from hagw.convert.errors import ErrorCode
from hagw.convert.machine import KIND_MPTCP
from hagw.convert.message import HEADER_SIZE, encode_header
from hagw.convert.tlv import (
    Connect,
    Cookie,
    Error,
    ExtendedTcpHeader,
    Info,
    SupportedTcpExtensions,
    TcpOption,
    decode_options,
)
from hagw.dataplane.mptcp_socket import IPPROTO_MPTCP
from hagw.lab import netns

pytestmark = pytest.mark.netns


@pytest.fixture
def rig(network: str) -> Iterator[Rig]:
    made = Rig(network)
    yield made
    made.close()


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


@pytest.mark.parametrize(("switch", "kind", "left"), [("tcp_sack", 4, (30, 8)), ("tcp_timestamps", 8, (30, 4))])
def test_an_option_that_the_kernel_is_told_to_leave_is_neither_offered_nor_accepted(
    network: str, switch: str, kind: int, left: tuple[int, ...]
) -> None:
    setting = Path("/proc/sys/net/ipv4", switch)
    before = setting.read_text(encoding="ascii")
    setting.write_text("0", encoding="ascii")
    try:
        rig = Rig(network)
    finally:
        setting.write_text(before, encoding="ascii")
    try:
        offered, _ = rig.reply(rig.ask(message(mint(), Info())))
        assert offered.find(SupportedTcpExtensions) == SupportedTcpExtensions(left)
        wanted = Connect(80, ip_address(SERVER), (TcpOption(30), TcpOption(kind)))
        assert rig.error(rig.ask(message(mint(), wanted))) == Error(ErrorCode.UNSUPPORTED_TCP_OPTION, bytes((kind,)))
    finally:
        rig.close()


@pytest.mark.parametrize("kinds", [(), (4,), (8,), (30,), (30, 4, 8), (2, 3, 5, 30)])
def test_options_asked_for_are_asked_of_the_server_and_its_own_answer_is_told(rig: Rig, kinds: tuple[int, ...]) -> None:
    """A server says 30, 4, 8 in its SYN+ACK only if asked in the SYN: MPTCP only on demand, the others our habit."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP) as listener:
        listener.bind((SERVER, 0))
        listener.listen()
        wanted = Connect(listener.getsockname()[1], ip_address(SERVER), tuple(map(TcpOption, kinds)))
        reply, _ = rig.reply(rig.ask(message(mint(), wanted)))
        told = reply.find(ExtendedTcpHeader)
        assert told is not None
        answered = {option.kind for option in decode_options(told.options)}
        assert answered & {30, 4, 8} == {4, 8, *({30} & set(kinds))}


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
