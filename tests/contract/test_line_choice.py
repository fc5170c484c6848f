"""Which line is taken by what is not converted, and by the machine itself: real packets between namespaces."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from namespaces import Namespace
from routers import SERVER4, SERVER6
from services import Server, ask, bound, connect, fetch
from sites import BOTH, LINE_A, LINE_B, PORT, Site, served

pytestmark = pytest.mark.netns


@pytest.fixture
def site(namespace: Callable[[str], Namespace], tmp_path: Path) -> Iterator[Site]:
    with served(namespace, tmp_path) as made:
        yield made


@BOTH
def test_unconverted_flows_keep_their_line_while_it_works_and_move_when_it_fails(site: Site, address: str) -> None:
    site.settle(intercept=False)
    with site.host.entered():
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    with sock:
        sock.settimeout(2)
        sock.connect((address, PORT))
        assert ask(sock) == ["server", LINE_A[address]]
        site.settle(intercept=False, down=("a",))
        assert ask(sock) == ["server", LINE_A[address]], "a flow stays until it is let go"
        with site.topology.cpe.entered():
            assert site.port.forget_flows(1) == 1
        assert ask(sock) == ["server", LINE_B[address]]
        site.settle(intercept=False)
        assert ask(sock) == ["server", LINE_B[address]], "a better line does not move a flow"


def test_letting_flows_go_spares_answered_tcp_connections_and_other_lines(site: Site) -> None:
    site.settle(intercept=False)
    with connect(site.host, SERVER4, PORT) as sock:
        assert ask(sock)[:2] == ["server", LINE_A[SERVER4]]
        with site.topology.cpe.entered():
            assert site.port.forget_flows(1) == 0
            assert site.port.forget_flows(2) == 0
        assert ask(sock)[:2] == ["server", LINE_A[SERVER4]]


def test_a_connection_being_opened_over_a_dead_line_is_let_go(site: Site) -> None:
    site.settle(intercept=False)
    site.topology.isps["a"].run(
        "nft", "add table inet t; add chain inet t f { type filter hook forward priority 0; policy drop; }"
    )
    with site.host.entered():
        sock = socket.socket()
    with sock:
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            sock.connect((SERVER4, PORT))
        site.settle(intercept=False, down=("a",))
        with site.topology.cpe.entered():
            assert site.port.forget_flows(1) == 1
        sock.settimeout(4)
        sock.sendall(b"?")
        assert sock.recv(100).decode().split()[:2] == ["server", LINE_B[SERVER4]]


@BOTH
def test_the_gateways_own_traffic_follows_the_best_line(site: Site, address: str) -> None:
    site.settle()
    assert fetch(site.topology.cpe, address, PORT)[:2] == ["server", LINE_A[address]]
    site.settle(down=("a",))
    assert fetch(site.topology.cpe, address, PORT)[:2] == ["server", LINE_B[address]]


@BOTH
def test_a_socket_bound_to_a_line_uses_it_even_when_it_is_not_the_best(site: Site, address: str) -> None:
    site.settle()
    with connect(site.topology.cpe, address, PORT, (LINE_B[address], 0)) as sock:
        assert ask(sock)[:2] == ["server", LINE_B[address]]


@BOTH
def test_the_gateways_own_queries_leave_a_line_that_fails_whatever_socket_they_use(site: Site, address: str) -> None:
    """Bound to a working line's address they stay there; bound to a dead one's they go on over another."""
    for name in (SERVER4, SERVER6):
        server = Server("dns")
        server.listen(bound(site.topology.server, socket.SOCK_DGRAM, name, 53))
        site.stack.enter_context(server.running())
    site.settle()
    with (
        bound(site.topology.cpe, socket.SOCK_DGRAM, LINE_A[address], 0) as over_a,
        bound(site.topology.cpe, socket.SOCK_DGRAM, LINE_B[address], 0) as over_b,
    ):
        for sock in (over_a, over_b):
            sock.settimeout(2)
            sock.connect((address, 53))
        assert ask(over_a) == ["dns", LINE_A[address]]
        assert ask(over_b) == ["dns", LINE_B[address]]
        site.settle(down=("a",))
        with site.topology.cpe.entered():
            assert site.port.forget_doubtful_flows(1) >= 1
        assert ask(over_a) == ["dns", LINE_B[address]]
        site.settle(down=("b",))
        with site.topology.cpe.entered():
            assert site.port.forget_doubtful_flows(2) >= 1
        assert ask(over_a) == ask(over_b) == ["dns", LINE_A[address]]


def test_a_suspected_line_keeps_calls_and_lets_queries_go(site: Site) -> None:
    server = Server("dns")
    server.listen(bound(site.topology.server, socket.SOCK_DGRAM, SERVER4, 53))
    site.stack.enter_context(server.running())
    site.settle(intercept=False)
    with site.host.entered():
        query, call = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    with query, call:
        for sock, port in ((query, 53), (call, PORT)):
            sock.settimeout(2)
            sock.connect((SERVER4, port))
            assert ask(sock)[1] == LINE_A[SERVER4]
        site.settle(intercept=False, down=("a",))
        with site.topology.cpe.entered():
            assert site.port.forget_doubtful_flows(1) == 1
        assert ask(query) == ["dns", LINE_B[SERVER4]]
        assert ask(call) == ["server", LINE_A[SERVER4]]


def test_the_gateway_answers_a_lan_host_from_a_lines_address(site: Site) -> None:
    site.settle()
    own = Server("cpe")
    own.listen(bound(site.topology.cpe, socket.SOCK_STREAM, "0.0.0.0", 8022))
    with own.running():
        for address in ("192.168.77.1", "10.1.0.2", "10.2.0.2"):
            assert fetch(site.host, address, 8022) == ["cpe", "192.168.77.2", address]


def test_a_modem_behind_a_line_is_reached_directly(site: Site) -> None:
    site.settle()
    site.worker()
    modem = Server("modem")
    modem.listen(bound(site.topology.isps["b"], socket.SOCK_STREAM, "10.2.0.1", PORT))
    with modem.running():
        assert fetch(site.host, "10.2.0.1", PORT)[:2] == ["modem", "10.2.0.2"]


def test_pings_fail_over(site: Site) -> None:
    site.settle()
    ping = ("ping", "-n", "-c", "1", "-W", "2")
    site.host.run(*ping, SERVER4)
    site.host.run(*ping, SERVER6)
    site.settle(down=("a",))
    site.topology.isps["a"].run("ip", "link", "set", "net", "down")
    site.host.run(*ping, SERVER4)
    site.host.run(*ping, SERVER6)


def test_segment_sizes_are_clamped_to_the_line(site: Site) -> None:
    site.topology.cpe.run("ip", "link", "set", "a0", "mtu", "1400")
    site.settle(intercept=False)
    for address, headers in ((SERVER4, 40), (SERVER6, 60)):
        with connect(site.host, address, PORT) as sock:
            ask(sock)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= 1400 - headers
