"""What others do to our state in the kernel is seen by the next reading, and repaired by the plan from there."""

import socket
import subprocess
import time
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from namespaces import Namespace
from routers import INTENT, SERVER4, SERVER6, Topology, build, machine, settle
from services import Server, bound, fetch

from hagw.errors import KernelRefused
from hagw.kernel.machine import Machine
from hagw.kernel.nft import Nft, NftRefused
from hagw.model.health import UplinkHealth
from hagw.model.resources import NftTable
from hagw.plan import cpe
from hagw.plan.diff import diff

pytestmark = pytest.mark.netns

TAMPERING = {
    "ruleset-flushed": ("nft", "flush", "ruleset"),
    "table-deleted": ("nft", "delete", "table", "inet", "hagw"),
    "chain-flushed": ("nft", "flush", "chain", "inet", "hagw", "prerouting"),
    "rule-added": ("nft", "insert", "rule", "inet", "hagw", "forward", "drop"),
    "chain-added": ("nft", "add", "chain", "inet", "hagw", "extra"),
    "set-flushed": ("nft", "flush", "set", "inet", "hagw", "local4"),
    "element-added": ("nft", "add", "element", "inet", "hagw", "bypass4", "{ 203.0.113.10 }"),
    "rule-deleted": ("ip", "rule", "del", "priority", "5141"),
    "rules-flushed": ("ip", "rule", "flush", "priority", "5103"),
    "route-deleted": ("ip", "route", "flush", "table", "5101"),
    "route-replaced": (
        "ip",
        "route",
        "replace",
        "default",
        "via",
        "10.2.0.1",
        "dev",
        "b0",
        "proto",
        "104",
        "table",
        "5191",
    ),
    "route6-deleted": ("ip", "-6", "route", "flush", "table", "5191"),
    "local-route-deleted": ("ip", "route", "flush", "table", "5190"),
    "sysctl-changed": ("sysctl", "-q", "-w", "net.mptcp.pm_type=0"),
}


@pytest.fixture
def topology(namespace: Callable[[str], Namespace]) -> Topology:
    return build(namespace)


@pytest.mark.parametrize("tampering", TAMPERING)
def test_tampering_is_seen_and_repaired(topology: Topology, tmp_path: Path, tampering: str) -> None:
    port = machine(topology, tmp_path)
    wanted = settle(topology, port)
    table = topology.cpe.run("nft", "-s", "list", "table", "inet", "hagw")
    topology.cpe.run(*TAMPERING[tampering])
    with topology.cpe.entered():
        assert diff(port.read(), wanted) != ()
    assert settle(topology, port) == wanted
    assert topology.cpe.run("nft", "-s", "list", "table", "inet", "hagw") == table
    port.close()


def test_an_update_of_a_table_that_is_gone_is_refused_rather_than_taken_for_the_table(
    topology: Topology, tmp_path: Path
) -> None:
    port = machine(topology, tmp_path)
    wanted = settle(topology, port)
    text = next(found.text for found in wanted.values() if isinstance(found, NftTable))
    with topology.cpe.entered():
        nft = Nft()
        topology.cpe.run("nft", "flush", "ruleset")
        with pytest.raises(NftRefused):
            nft.update(text)
        nft.close()
    assert topology.cpe.run("nft", "list", "tables") == ""
    port.close()


def test_a_table_that_another_program_owns_is_refused_and_ours_again_when_it_lets_go(
    topology: Topology, tmp_path: Path
) -> None:
    port = machine(topology, tmp_path)
    wanted = settle(topology, port)
    with topology.cpe.entered():
        owner = subprocess.Popen(["nft", "-i"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        assert owner.stdin is not None
        owner.stdin.write("delete table inet hagw; add table inet hagw { flags owner; }\n")
        owner.stdin.flush()
        deadline = time.monotonic() + 10.0
        while "owner" not in topology.cpe.run("nft", "list", "table", "inet", "hagw"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        for refused in (lambda: port.write(diff(port.read(), wanted)), port.restore_table):
            with pytest.raises(KernelRefused):
                refused()
        owner.stdin.close()
        owner.wait()
    assert settle(topology, port) == wanted
    port.close()


class Overtaken(Nft):
    """Somebody edits the table right after each of the first puts, before it has been read back."""

    def __init__(self, edit: Callable[[], object], times: int) -> None:
        super().__init__()
        self._edit, self._left = edit, times

    def _run(self, commands: list[dict[str, Any]]) -> None:
        super()._run(commands)
        if self._left:
            self._left -= 1
            self._edit()


@pytest.mark.parametrize("times", [0, 1, 2])
def test_an_edit_right_after_the_table_was_put_is_not_taken_for_ours(
    topology: Topology, tmp_path: Path, times: int
) -> None:
    port = machine(topology, tmp_path)
    wanted = settle(topology, port)
    text = next(found.text for found in wanted.values() if isinstance(found, NftTable))
    with topology.cpe.entered():
        for put in (Nft.update, Nft.replace):
            nft = Overtaken(lambda: topology.cpe.run(*TAMPERING["rule-added"]), times)
            put(nft, text)
            nft.close()
            rules = topology.cpe.run("nft", "list", "chain", "inet", "hagw", "forward").splitlines()
            assert "drop" not in [line.strip() for line in rules]
    port.close()


def test_running_sets_and_counters_are_not_tampering(topology: Topology, tmp_path: Path) -> None:
    port = machine(topology, tmp_path)
    wanted = settle(topology, port)
    with topology.cpe.entered():
        port.add_refused(ip_address(SERVER4), 80, 30.0)
        port.add_refused(ip_address(SERVER6), 80, 30.0)
        topology.host.run("ping", "-n", "-c", "1", "-W", "1", "192.168.77.1")
        assert diff(port.read(), wanted) == ()
    port.close()


def test_a_line_that_goes_down_and_comes_back_finds_its_routes_again(topology: Topology, tmp_path: Path) -> None:
    port: Machine = machine(topology, tmp_path)
    server = Server("server")
    for address in (SERVER4, SERVER6):
        server.listen(bound(topology.server, socket.SOCK_STREAM, address, 80))
    with server.running():
        settle(topology, port)
        for _ in range(2):
            topology.cpe.run("ip", "link", "set", "a0", "down")
            settle(topology, port)
            assert fetch(topology.host, SERVER4, 80)[1] == "10.2.0.2"
            assert fetch(topology.cpe, SERVER6, 80)[1] == "2001:db8:2::2"
            topology.cpe.run("ip", "link", "set", "a0", "up")
            topology.cpe.run("ip", "route", "replace", "default", "via", "10.1.0.1", "metric", "100")
            topology.cpe.run("ip", "-6", "route", "replace", "default", "via", "2001:db8:1::1", "metric", "100")
            settle(topology, port)
            assert fetch(topology.host, SERVER4, 80)[1] == "10.1.0.2"
            assert fetch(topology.cpe, SERVER6, 80)[1] == "2001:db8:1::2"
    port.close()


def test_a_line_that_vanishes_takes_only_its_own_state_along(topology: Topology, tmp_path: Path) -> None:
    port: Machine = machine(topology, tmp_path)
    settle(topology, port)
    topology.cpe.run("ip", "link", "del", "a0")
    settle(topology, port)
    with topology.cpe.entered():
        facts = port.facts(INTENT)
        assert facts.uplinks["a"].ifindex is None
        state = cpe.desired(INTENT, facts, {"b": UplinkHealth("up")}, intercept4=True, intercept6=True)
        assert diff(port.read(), state) == ()
    port.close()


def test_reading_over_and_over_leaves_nothing_behind(topology: Topology, tmp_path: Path) -> None:
    """The library's requests of single objects leave an unread answer each in the socket: memory without bound."""
    port: Machine = machine(topology, tmp_path)
    settle(topology, port)

    def queued() -> int:
        lines = topology.cpe.run("cat", "/proc/net/netlink").splitlines()[1:]
        return sum(int(line.split()[4]) for line in lines)

    with topology.cpe.entered():
        for _ in range(30):
            port.facts(INTENT)
            port.read()
    for down in (("a",), (), ("a",), ()):
        settle(topology, port, down=down)
    assert queued() == 0
    port.close()


@pytest.mark.parametrize("option", ["-4", "-6"])
def test_the_systems_own_rules_come_back_too(topology: Topology, tmp_path: Path, option: str) -> None:
    port: Machine = machine(topology, tmp_path)
    settle(topology, port)
    rules = topology.cpe.run("ip", option, "rule")
    topology.cpe.run("ip", option, "rule", "flush")
    with topology.cpe.entered():
        port.read()
        assert len(port.mend()) == (2 if option == "-4" else 1)
        assert port.mend() == ()
    settle(topology, port)
    assert topology.cpe.run("ip", option, "rule") == rules
    port.close()


def test_rules_of_the_system_that_were_not_there_before_are_not_ours_to_put(topology: Topology, tmp_path: Path) -> None:
    topology.cpe.run("ip", "rule", "del", "priority", "32767")
    port: Machine = machine(topology, tmp_path)
    settle(topology, port)
    with topology.cpe.entered():
        port.read()
        assert port.mend() == ()
    assert "32767" not in topology.cpe.run("ip", "rule")
    port.close()
