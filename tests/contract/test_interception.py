"""The table, rules and routes at work: real packets between namespaces."""

import socket
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from namespaces import Namespace
from routers import SERVER4, SERVER6
from services import LAST, Server, ask, bound, connect, fetch
from sites import BOTH, HOST, LINE_A, LINE_B, OUTPUT, PORT, SO_MARK, Site, served

from hagw.control.clear import restore
from hagw.model.ids import MARK_INTERCEPT, PORT_TRIAL, TRIAL_WAYS

pytestmark = pytest.mark.netns


@pytest.fixture
def site(namespace: Callable[[str], Namespace], tmp_path: Path) -> Iterator[Site]:
    with served(namespace, tmp_path) as made:
        yield made


@BOTH
def test_a_new_connection_is_intercepted_and_its_destination_known(site: Site, address: str) -> None:
    site.settle()
    site.worker()
    assert fetch(site.host, address, PORT) == ["worker", HOST[address], address]


@BOTH
def test_the_machine_can_go_the_lans_way_itself(site: Site, address: str) -> None:
    """With the mark of what is intercepted; while that is off, or nobody listens, it leads nowhere."""
    own, trial = TRIAL_WAYS[address == SERVER6]

    def go(mark: int = MARK_INTERCEPT) -> list[str]:
        with site.topology.cpe.entered():
            sock = socket.socket(socket.AF_INET6 if ":" in trial else socket.AF_INET, socket.SOCK_STREAM)
        with sock:
            sock.settimeout(0.3)
            sock.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
            sock.bind((own, 0))
            try:
                sock.connect((trial, PORT_TRIAL))
            except (TimeoutError, ConnectionRefusedError):
                return []
            sock.settimeout(10.0)
            return ask(sock)

    site.settle()
    assert go() == []
    site.worker()
    assert go() == ["worker", own, trial]
    site.settle(intercept=False)
    assert go() == []
    assert fetch(site.host, address, PORT)[0] == "server"


@BOTH
def test_a_dead_listener_fails_open(site: Site, address: str) -> None:
    site.settle()
    worker = site.worker()
    assert fetch(site.host, address, PORT)[0] == "worker"
    worker.close()
    assert fetch(site.host, address, PORT)[:2] == ["server", LINE_A[address]]


@BOTH
def test_without_worker_and_without_a_working_line_the_main_table_decides(site: Site, address: str) -> None:
    site.settle(down=("a", "b"))
    assert fetch(site.host, address, PORT)[:2] == ["server", LINE_A[address]]


@BOTH
def test_an_intercepted_connection_that_lost_its_worker_is_reset(site: Site, address: str) -> None:
    site.settle()
    worker = site.worker()
    with connect(site.host, address, PORT) as sock:
        assert ask(sock)[0] == "worker"
        # Nothing that the worker's socket says on its way out arrives.
        drop = f"add rule inet foreign o tcp sport {PORT} drop"
        site.topology.cpe.run("nft", f"add table inet foreign; {OUTPUT}; {drop}")
        worker.close()
        site.topology.cpe.run("ss", "-K", "sport", "=", f":{PORT}")
        site.topology.cpe.run("nft", "delete table inet foreign")
        with pytest.raises(ConnectionError):
            ask(sock)


@BOTH
def test_without_interception_everything_goes_direct(site: Site, address: str) -> None:
    site.settle(intercept=False)
    site.worker()
    assert fetch(site.host, address, PORT)[:2] == ["server", LINE_A[address]]


def ended_by_the_worker(site: Site, address: str, port: int) -> None:
    """Have an intercepted connection from this port end from the server's side: its socket stays in TIME_WAIT."""
    with connect(site.host, address, PORT, (HOST[address], port)) as sock:
        assert ask(sock)[0] == "worker"
        sock.sendall(LAST)
        assert sock.recv(1) == b""
    ended(site, port)


def ended(site: Site, port: int) -> None:
    """Wait until the kernel knows that a connection has ended at both sides."""
    shown = ""
    while f":{port}" not in shown:
        shown = site.topology.cpe.run("ss", "-Htan", "state", "time-wait")


def server_seen_from(site: Site, address: str, port: int) -> str:
    with connect(site.host, address, PORT, (HOST[address], port)) as sock:
        return ask(sock)[0]


@BOTH
def test_a_port_used_again_fails_open(site: Site, address: str) -> None:
    """With interception switched off, and with hagw taken out of a router that was one before."""
    for name in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
        site.topology.cpe.sysctl(name, "1")
    masquerade = (
        "add chain inet theirs p { type nat hook postrouting priority 100; }; add rule inet theirs p masquerade"
    )
    site.topology.cpe.run("nft", f"add table inet theirs; {masquerade}")
    site.settle()
    site.worker()
    for port in (40_001, 40_003):
        ended_by_the_worker(site, address, port)
    site.settle(intercept=False)
    assert server_seen_from(site, address, 40_001) == "server"
    with site.topology.cpe.entered():
        restore(site.port)
    assert server_seen_from(site, address, 40_003) == "server"


def test_clear_forgets_no_connection_of_the_machines_own(site: Site) -> None:
    site.settle()
    own = Server("own")
    own.listen(bound(site.topology.cpe, socket.SOCK_STREAM, "192.168.77.1", PORT))
    with own.running(), connect(site.host, "192.168.77.1", PORT) as sock:
        port = sock.getsockname()[1]
        sock.sendall(LAST)
        assert sock.recv(1) == b""
    ended(site, port)
    with site.topology.cpe.entered():
        restore(site.port)
    assert f":{port}" in site.topology.cpe.run("ss", "-Htan", "state", "time-wait")


def test_a_proxied_connection_goes_on_when_interception_is_switched_off(site: Site) -> None:
    site.settle()
    site.worker()
    with connect(site.host, SERVER4, PORT) as sock:
        assert ask(sock)[0] == "worker"
        site.settle(intercept=False)
        assert ask(sock)[0] == "worker"
        with site.topology.cpe.entered():
            site.settle()
            site.port.stop_intercepting()
        assert ask(sock)[0] == "worker"
    assert fetch(site.host, SERVER4, PORT)[0] == "server"


@BOTH
def test_a_connection_older_than_the_table_is_left_alone(site: Site, address: str) -> None:
    """The LAN's network is known to the provider here: nobody translates addresses before hagw does."""
    _route_back(site)
    site.worker()
    with connect(site.host, address, PORT) as sock:
        assert ask(sock)[:2] == ["server", HOST[address]]
        site.settle()
        assert ask(sock)[:2] == ["server", HOST[address]]
        site.settle(down=("a",))
        assert ask(sock)[:2] == ["server", HOST[address]]
        with site.topology.cpe.entered():
            restore(site.port)
        assert ask(sock)[:2] == ["server", HOST[address]]


@BOTH
def test_a_connection_older_than_a_foreign_masquerade_is_left_alone(site: Site, address: str) -> None:
    _forward(site)
    site.topology.cpe.run(
        "nft",
        "add table inet foreign; add chain inet foreign p { type nat hook postrouting priority 100; };"
        'add rule inet foreign p oifname "a0" masquerade',
    )
    site.worker()
    with connect(site.host, address, PORT) as sock:
        assert ask(sock)[:2] == ["server", LINE_A[address]]
        for _ in range(2):
            site.settle(down=("a",))
            assert ask(sock)[:2] == ["server", LINE_A[address]]
        with site.topology.cpe.entered():
            restore(site.port)
        assert ask(sock)[:2] == ["server", LINE_A[address]]


@pytest.mark.parametrize("line", ["a", "b"])
def test_an_inbound_connection_is_answered_over_its_line_and_never_intercepted(site: Site, line: str) -> None:
    site.settle()
    site.worker()
    number = {"a": 1, "b": 2}[line]
    site.topology.cpe.run(
        "nft",
        "add table ip foreign; add chain ip foreign p { type nat hook prerouting priority -100; };"
        f'add rule ip foreign p iifname "{line}0" tcp dport 8080 dnat to 192.168.77.2:8080',
    )
    inside = Server("inside")
    inside.listen(bound(site.host, socket.SOCK_STREAM, "192.168.77.2", 8080))
    with inside.running():
        with connect(site.topology.server, f"10.{number}.0.2", 8080, (SERVER4, 4000)) as sock:
            assert ask(sock)[:2] == ["inside", SERVER4]


@BOTH
def test_a_refused_destination_is_left_alone_even_when_the_rules_are_replaced(site: Site, address: str) -> None:
    site.settle()
    site.worker()
    with site.topology.cpe.entered():
        site.port.add_refused(ip_address(address), PORT, 20.0)
        site.port.add_refused(ip_address(address), PORT, 20.0)
    assert fetch(site.host, address, PORT)[0] == "server"
    site.settle(down=("a",))
    assert fetch(site.host, address, PORT)[:2] == ["server", LINE_B[address]]


def test_a_refused_port_shows_the_real_refusal(site: Site) -> None:
    site.settle()
    site.worker()
    with site.topology.cpe.entered():
        site.port.add_refused(ip_address(SERVER4), 81, 3.0)
    with pytest.raises(ConnectionRefusedError):
        connect(site.host, SERVER4, 81)
    _eventually(lambda: fetch(site.host, SERVER4, 81)[0] == "worker")


@pytest.mark.parametrize("address", ["192.168.77.1", "fd77::1"])
def test_the_transparent_listener_cannot_be_spoken_to(site: Site, address: str) -> None:
    site.settle()
    own = Server("own")
    own.listen(bound(site.topology.cpe, socket.SOCK_STREAM, "::" if ":" in address else "0.0.0.0", 5128))
    with own.running(), pytest.raises(TimeoutError):
        connect(site.host, address, 5128)


def test_counters_tell_what_happened(site: Site) -> None:
    site.settle()
    with site.worker():
        fetch(site.host, SERVER4, PORT)
    fetch(site.host, SERVER6, PORT)
    with site.topology.cpe.entered():
        counters = site.port.counters()
    assert counters["intercepted4"] == 1
    assert counters["pinned"] >= 1
    assert counters["proxied"] >= 3


def _route_back(site: Site) -> None:
    """Have provider a, and nobody else, carry the LAN's own addresses."""
    site.topology.isps["a"].run("nft", "flush", "ruleset")
    for isp, four, six in (("isp", "10.1.0.2", "2001:db8:1::2"), ("server", "10.11.0.1", "2001:db8:11::1")):
        where = site.topology.isps["a"] if isp == "isp" else site.topology.server
        where.run("ip", "route", "add", "192.168.77.0/24", "via", four)
        where.run("ip", "-6", "route", "add", "fd77::/64", "via", six)
    _forward(site)


def _forward(site: Site) -> None:
    site.topology.cpe.sysctl("net/ipv4/ip_forward", "1")
    site.topology.cpe.sysctl("net/ipv6/conf/all/forwarding", "1")


def _eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            if holds():
                return
        except OSError:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.05)
