"""Several gateways: flows spread over them and stay; one that dies or drains takes none, and the others take all."""

import json
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from ends import Ends
from plane_lab import (
    INET,
    Attempts,
    Counting,
    Echo,
    Server,
    Store,
    connect,
    own_lab,
    pattern,
    read_exactly,
    reset,
    until,
)

from hagw.lab.lab import Lab

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.alone]

PORT = 5311
FLOWS = 1000
HAGS = ("hag", "hag2")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with own_lab("pool", preset="pool") as one:
        yield one


@pytest.fixture(scope="module")
def echo(lab: Lab) -> Iterator[Echo]:
    with Echo(lab) as server:
        yield server


@pytest.fixture
def ends(lab: Lab) -> Ends:
    ends = Ends(lab)
    for hag in HAGS:
        lab.hagw_start(hag)
    print(f"both gateways were in use after {until(lambda: _ready(lab, ends), 20.0):.1f} s")
    return ends


def _ready(lab: Lab, ends: Ends) -> bool:
    """Say whether every worker of the CPE has warm connections to both gateways, and both were heard.

    Before it heard a gateway the CPE opens connections to it, but has flows go through one that it did hear.
    """
    warm = all(ends.listens(hag) for hag in HAGS) and all(
        s["listening"] and all(s["pool"].get(hag) for hag in HAGS) for s in ends.stats("cpe")
    )
    if not warm:
        return False
    shown = lab.run("cpe", ["hagw", "status", "--json"], capture_output=True, text=True)
    gateways = json.loads(shown.stdout)["gateways"]
    return {g["name"] for g in gateways if g["state"] == "up" and not g["draining"] and not g["overloaded"]} == set(
        HAGS
    )


def _kill(lab: Lab, node: str) -> None:
    """Kill a gateway; return when its sockets are closed, which takes a while with a thousand of them."""
    pids = [pid for role in ("daemon", "worker") for pid in lab.pids(node, role)]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    until(lambda: not any(_holds_sockets(pid) for pid in pids), 5.0, every_s=0.005)


def _holds_sockets(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def _said(client: socket.socket) -> str:
    try:
        client.sendall(b"again")
        return client.recv(5).decode() or "end"
    except ConnectionResetError:
        return "reset"


def test_flows_spread_over_the_gateways_and_a_pair_of_addresses_stays(lab: Lab, ends: Ends, echo: Echo) -> None:
    """Ten clients' addresses and two servers make twenty pairs."""
    met: dict[tuple[str, str], set[str]] = {}
    addresses = [f"192.168.77.{host}" for host in range(100, 110)]
    for address in addresses:
        lab.run("lan1", ["ip", "address", "add", f"{address}/24", "dev", "eth0"], check=True)
    for _ in range(2):
        for address in addresses:
            for server in ("203.0.113.10", "203.0.113.20"):
                with lab.in_namespace("lan1"):
                    client = socket.create_connection((server, PORT), 5.0, source_address=(address, 0))
                with client:
                    client.sendall(b"hello")
                    assert client.recv(5) == b"hello"
                    port = client.getsockname()[1]
                    met.setdefault((address, server), set()).add(ends.flow_of(port)["gateway"])
    spread = Counter(name for names in met.values() for name in names)
    print(f"20 pairs of addresses: {dict(spread)}")
    assert not {pair: names for pair, names in met.items() if len(names) > 1}
    assert set(spread) == set(HAGS)
    assert min(spread.values()) >= 4


def test_a_killed_gateway_resets_its_flows_and_new_ones_go_through_the_other(lab: Lab, ends: Ends, echo: Echo) -> None:
    clients = [connect(lab, INET[4], PORT, timeout_s=5.0) for _ in range(FLOWS)]
    try:
        for client in clients:
            client.sendall(b"hello")
        assert all(client.recv(5) == b"hello" for client in clients)
        flows = {flow["client_port"]: flow for flow in ends.flows()}
        via = Counter(flows[client.getsockname()[1]]["gateway"] for client in clients)
        assert len(via) == 1, Counter(flow["why"] for flow in flows.values())  # one client and one server
        victim = next(iter(via))
        other = HAGS[victim == HAGS[0]]
        began = time.monotonic()
        _kill(lab, victim)
        took, ports = [], []
        for _ in range(12):
            before = time.monotonic()
            with connect(lab, INET[4], PORT, timeout_s=5.0) as client:
                client.sendall(b"hello")
                assert client.recv(5) == b"hello"
                took.append(time.monotonic() - before)
                ports.append(client.getsockname()[1])
        became: Counter[str] = Counter()
        for client in clients:
            client.settimeout(max(0.001, began + 2.0 - time.monotonic()))
            became[_ended(client)] += 1
        print(
            f"after {time.monotonic() - began:.2f} s: {dict(became)}; new flows took {1000 * max(took):.0f} ms at most"
        )
        assert became == {"reset": FLOWS}
        assert time.monotonic() - began < 2.5  # what came late was not waited for
        assert max(took) < 0.7
        gateways = {flow["client_port"]: flow["gateway"] for flow in ends.flows()}
        assert {gateways[port] for port in ports} == {other}
    finally:
        for client in clients:
            client.close()


def _ended(client: socket.socket) -> str:
    try:
        return "data" if client.recv(5) else "end"
    except ConnectionResetError:
        return "reset"
    except TimeoutError:
        return "alive"


def test_a_draining_gateway_keeps_its_flows_and_takes_no_new_ones(lab: Lab, ends: Ends, echo: Echo) -> None:
    with connect(lab, INET[4], PORT, timeout_s=5.0) as old:
        old.sendall(b"hello")
        assert old.recv(5) == b"hello"
        victim = ends.flow_of(old.getsockname()[1])["gateway"]
        drained = lab.run(victim, ["hagw", "drain", "--wait", "0"], capture_output=True, text=True)
        assert drained.returncode == 1, drained
        assert "1 flows are left" in drained.stderr, drained
        began = time.monotonic()
        for _ in range(20):
            with connect(lab, INET[4], PORT, timeout_s=5.0) as client:
                client.sendall(b"hello")
                assert client.recv(5) == b"hello"
                flow = ends.flow_of(client.getsockname()[1])
                assert flow["gateway"] == HAGS[victim == HAGS[0]], flow["why"]
        print(f"20 flows through the other gateway in {time.monotonic() - began:.2f} s")
        assert _said(old) == "again"
    waited = lab.run(victim, ["hagw", "drain", "--json"], capture_output=True, text=True, timeout=10)
    assert json.loads(waited.stdout) == {"schema": 1, "draining": True, "flows_active": 0}
    assert lab.run(victim, ["hagw", "drain", "--undo"]).returncode == 0
    taken = until(lambda: _ready(lab, ends), 20.0)  # it had asked to be left alone for a while
    print(f"in use again {taken:.1f} s after `drain --undo`")


def test_a_port_whose_connection_was_reset_is_used_again_at_once(lab: Lab, ends: Ends) -> None:
    """Conntrack keeps what was reset for seconds, as established: such a SYN is a new connection all the same."""
    with Server(lab, reset, port=5316) as server:
        for _ in range(4):
            with lab.in_namespace("lan1"):
                client = socket.create_connection((INET[4], server.port), 5.0, source_address=("192.168.77.11", 40_123))
            with client, pytest.raises(ConnectionResetError):
                client.recv(1)


def test_workers_are_replaced_under_load_and_nothing_is_lost(lab: Lab, ends: Ends, echo: Echo) -> None:
    """New connections all the time, a transfer and an idle connection; new workers on both ends meanwhile."""
    before = {node: set(lab.pids(node, "worker")) for node in ("cpe", *HAGS)}
    counting = Counting()
    with Server(lab, counting, port=5317), Server(lab, Store(), port=5318) as store:
        with connect(lab, INET[4], PORT, timeout_s=5.0) as idle, connect(lab, INET[4], store.port) as busy:
            idle.sendall(b"hello")
            assert idle.recv(5) == b"hello"
            busy.sendall(b"down 20000000 1\n")
            first = read_exactly(busy, 1_000_000)
            with Attempts(lab, INET[4], 5317, every_s=0.03) as attempts:
                for node in (*HAGS, "cpe"):
                    done = lab.run(node, ["hagw", "reload-workers", "--json"], capture_output=True, text=True)
                    assert done.returncode == 0, done.stderr
                    assert not before[node] & set(json.loads(done.stdout)["workers"])
            assert first + read_exactly(busy, 19_000_000) == pattern(20_000_000, 1)
            made = attempts.stop()
            print(f"{len(made)} requests while {sum(map(len, before.values()))} workers were replaced")
            assert not [attempt for attempt in made if attempt.failure]
            assert _said(idle) == "again"
            assert lab.run("cpe", ["hagw", "flows"], capture_output=True, text=True).stdout.count("5311") >= 1
    until(lambda: not before["cpe"] & set(lab.pids("cpe", "worker")), 10.0)
