"""The daemon in the lab, on the real kernel: whatever dies, LAN connections reach the server, and it comes back."""

import hashlib
import os
import signal
import socket
import subprocess
import time

import pytest
from callers import WEB, calling, document, fetch, until, wait_state

from hagw.lab.lab import Lab

pytestmark = pytest.mark.netns

PORT_CLOSED = 81


def kill(lab: Lab, node: str, process: str, number: signal.Signals, count: int | None = None) -> float:
    """Send a signal to a node's processes of a kind; return when."""
    pids = lab.pids(node, process)
    assert pids
    at = time.monotonic()
    for pid in pids[:count]:
        os.kill(pid, number)
    return at


@pytest.mark.parametrize("count", [1, pytest.param(None, marks=pytest.mark.slow)])
def test_a_killed_worker_is_bridged_and_replaced(lab: Lab, count: int | None) -> None:
    before = set(lab.pids("cpe", "worker"))
    with calling(lab) as calls:
        at = kill(lab, "cpe", "worker", signal.SIGKILL, count)
        until(lambda: len(lab.pids("cpe", "worker")) == len(before) and set(lab.pids("cpe", "worker")) != before)
        until(lambda: calls.made[-1].began > at + 1.5)
    assert calls.outage_s(at) < 1.0
    wait_state(lab, "bonded")


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, None])
def test_a_stopped_worker_is_replaced_within_two_seconds(lab: Lab, count: int | None) -> None:
    before = set(lab.pids("cpe", "worker")[:count])
    with calling(lab) as calls:
        at = kill(lab, "cpe", "worker", signal.SIGSTOP, count)
        until(lambda: not before & set(lab.pids("cpe", "worker")))
        until(lambda: calls.made[-1].began > at + 2.5)
    assert calls.outage_s(at) < 2.0
    wait_state(lab, "bonded")


@pytest.mark.slow
def test_a_daemons_death_and_restart_lose_no_connection(lab: Lab) -> None:
    workers = lab.pids("cpe", "worker")
    download = lab.popen(
        "lan1", ["curl", "-s", "--limit-rate", "2M", "http://203.0.113.10/10M.bin"], stdout=subprocess.PIPE
    )
    with calling(lab) as calls:
        at = kill(lab, "cpe", "daemon", signal.SIGKILL)
        until(lambda: calls.made[-1].began > at + 1.0)
        lab.hagw_start("cpe")
        content = download.communicate(timeout=30)[0]
    assert lab.pids("cpe", "worker") == workers
    assert calls.outage_s(at) == 0.0
    served = lab.run("lan2", ["curl", "-s", "http://203.0.113.10/10M.bin"], capture_output=True, timeout=30).stdout
    assert hashlib.sha256(content).digest() == hashlib.sha256(served).digest()
    assert all(worker["adopted"] for worker in document(lab, "cpe", "status")["workers"])


@pytest.mark.slow
def test_without_a_hag_connections_go_direct_until_it_is_back(lab: Lab) -> None:
    with calling(lab) as calls:
        at = time.monotonic()
        kill(lab, "hag", "daemon", signal.SIGKILL)
        kill(lab, "hag", "worker", signal.SIGKILL)
        status = wait_state(lab, "unbonded")
        until(lambda: not document(lab, "cpe", "status")["intercepting"])
        lab.hagw_start("hag")
        wait_state(lab, "bonded")
    assert calls.outage_s(at) < 1.0
    assert "Gateway hag is down" in status["reason"]


@pytest.mark.slow
def test_a_silent_hag_is_found_out(lab: Lab) -> None:
    hole = "table inet hole { chain i { type filter hook input priority -300; meta l4proto { tcp, udp } drop; }; }"
    with calling(lab) as calls:
        at = time.monotonic()
        lab.run("hag", ["nft", hole], check=True, timeout=10)
        try:
            wait_state(lab, "unbonded")
        finally:
            lab.run("hag", ["nft", "delete", "table", "inet", "hole"], check=True, timeout=10)
        wait_state(lab, "bonded")
    assert calls.outage_s(at) < 1.0


def test_status_names_the_line_that_is_lost(lab: Lab) -> None:
    lab.link("dsl", carrier="off")
    status = wait_state(lab, "degraded")
    assert {uplink["name"]: uplink["state"] for uplink in status["uplinks"]}["dsl"] == "down"
    assert "dsl is down" in status["reason"]
    lab.link("dsl", carrier="on")
    wait_state(lab, "bonded")


def test_flows_say_what_was_done_with_a_connection(lab: Lab) -> None:
    with lab.in_namespace("lan1"), socket.create_connection(WEB, timeout=5) as sock:
        client, port = sock.getsockname()
        flow = next(
            f for f in document(lab, "cpe", "flows")["flows"] if (f["client"], f["client_port"]) == (client, port)
        )
    assert (flow["server"], flow["server_port"]) == WEB
    assert (flow["path"], flow["gateway"], flow["mode"]) == ("converted", "hag", "load-balancing")
    contract = "id domain rule why state bytes_down bytes_up by_uplink subflows started_s"
    assert set(contract.split()) <= set(flow)


def knock(port: int) -> None:
    """Connect and wait for a word; raise OSError when refused or reset."""
    with socket.create_connection((WEB[0], port), 5) as sock:
        sock.sendall(b"x")
        sock.recv(1)


def test_a_refused_destination_shows_the_real_refusal_the_second_time(lab: Lab) -> None:
    with lab.in_namespace("lan1"):
        with pytest.raises(OSError, match=r"reset|refused"):
            knock(PORT_CLOSED)

        def is_refused() -> bool:
            try:
                socket.create_connection((WEB[0], PORT_CLOSED), 5).close()
            except ConnectionRefusedError:
                return True
            return False

        until(is_refused, 10.0)
        assert fetch() == 1000


@pytest.mark.slow
def test_a_foreign_firewall_that_drops_what_is_intercepted_is_no_outage(lab: Lab) -> None:
    """Many firewalls let in what they know and drop the rest, and intercepted connections are among the rest."""
    chain = "type filter hook input priority filter; policy drop; ct state established,related accept;"
    lab.run("cpe", ["nft", f"table inet other {{ chain input {{ {chain} }}; }}"])
    try:
        began = time.monotonic()
        with lab.in_namespace("lan1"), socket.create_connection(WEB, timeout=20.0):
            print(f"a connection takes {time.monotonic() - began:.1f} s until interception gives way")
        status = wait_state(lab, "unbonded")
        assert "another input chain" in status["reason"]
        with lab.in_namespace("lan1"):
            assert fetch() == 1000
    finally:
        lab.run("cpe", ["nft", "delete", "table", "inet", "other"])
    lab.hagw_stop("cpe")
    lab.hagw_start("cpe")
    wait_state(lab, "bonded")


@pytest.mark.slow
def test_clear_waits_for_the_daemon_to_be_gone(lab: Lab) -> None:
    done = lab.run("cpe", ["hagw", "clear"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 5
    assert "daemon is running already" in done.stderr
    lab.hagw_stop("cpe")
    assert lab.pids("cpe", "worker") == []
    with lab.in_namespace("lan1"):
        assert fetch() == 1000
