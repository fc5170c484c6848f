"""`hagw clear` leaves a machine as it was found, whatever was there before and however far we came."""

from collections.abc import Callable
from pathlib import Path

import pytest
from namespaces import Namespace, run
from routers import INTENT, SERVER4, Topology, build, machine, settle

from hagw.control.clear import LOST, restore
from hagw.kernel.machine import Machine
from hagw.model.health import UplinkHealth
from hagw.plan import cpe
from hagw.plan.diff import diff

pytestmark = pytest.mark.netns

FOREIGN = """
add table inet filter
add chain inet filter input { type filter hook input priority 0; policy accept; }
add rule inet filter input tcp dport 22 accept
add table ip nat
add chain ip nat post { type nat hook postrouting priority 100; }
add rule ip nat post oifname "a0" masquerade
add table ip hagw
add set ip hagw mine { type ipv4_addr; elements = { 192.0.2.1 } }
"""
# Values that move by themselves.
RESTLESS = ("random", "nf_conntrack_count", "route.flush", "mtu_expires", "fib_sync_mem")


def dump(inside: Namespace) -> dict[str, list[str]]:
    """Dump all that clear promises to leave as found."""
    sysctls = inside.run("sysctl", "-a", "-r", r"^net\.", check=False).splitlines()
    return {
        "nft": inside.run("nft", "list", "ruleset").splitlines(),
        "rule4": inside.run("ip", "rule").splitlines(),
        "rule6": inside.run("ip", "-6", "rule").splitlines(),
        "routes": inside.run("ip", "route", "show", "table", "all").splitlines(),
        "routes6": inside.run("ip", "-6", "route", "show", "table", "all").splitlines(),
        "limits": inside.run("ip", "mptcp", "limits").splitlines(),
        "sysctl": [line for line in sysctls if not any(name in line for name in RESTLESS)],
    }


def furnish(topology: Topology) -> None:
    """Give the CPE what another owner may have there, near our numbers too."""
    inside = topology.cpe
    run("ip", "netns", "exec", inside.name, "nft", *(line for line in [FOREIGN.replace("\n", ";")]))
    inside.run("ip", "rule", "add", "fwmark", "0x1", "lookup", "100", "priority", "5105")
    inside.run("ip", "rule", "add", "from", "10.9.0.0/16", "lookup", "5101", "priority", "20000")
    inside.run("ip", "route", "add", "198.18.0.0/15", "via", "10.1.0.1", "table", "5101")
    inside.run("ip", "route", "add", "default", "via", "10.1.0.1", "table", "100")
    inside.run("ip", "-6", "route", "add", "default", "via", "2001:db8:1::1", "table", "100")
    inside.sysctl("net/ipv4/conf/a0/rp_filter", "1")
    inside.sysctl("net/ipv4/conf/all/accept_redirects", "0")
    inside.sysctl("net/ipv4/conf/b0/forwarding", "1")
    inside.sysctl("net/ipv6/conf/lan0/forwarding", "1")
    inside.sysctl("net/mptcp/enabled", "0")
    inside.run("ip", "mptcp", "limits", "set", "subflows", "3", "add_addr_accepted", "1")


@pytest.fixture(params=["bare", "furnished"])
def topology(request: pytest.FixtureRequest, namespace: Callable[[str], Namespace]) -> Topology:
    made = build(namespace)
    if request.param == "furnished":
        furnish(made)
    return made


def clear(topology: Topology, directory: Path) -> tuple[str, ...]:
    port = machine(topology, directory)
    with topology.cpe.entered():
        notes = restore(port)
    port.close()
    return notes


def test_everything_is_as_found_after_clear(topology: Topology, tmp_path: Path) -> None:
    before = dump(topology.cpe)
    port = machine(topology, tmp_path)
    settle(topology, port)
    settle(topology, port, down=("a",))
    settle(topology, port)
    assert dump(topology.cpe) != before
    port.close()
    assert clear(topology, tmp_path) == ()
    assert dump(topology.cpe) == before
    assert clear(topology, tmp_path) == ()
    assert dump(topology.cpe) == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("steps", [0, 1, 4, 9, 13, 20, 30, 36])
def test_everything_is_as_found_after_a_crash_half_way(topology: Topology, tmp_path: Path, steps: int) -> None:
    before = dump(topology.cpe)
    port: Machine = machine(topology, tmp_path)
    with topology.cpe.entered():
        facts = port.facts(INTENT)
        state = cpe.desired(INTENT, facts, {"a": UplinkHealth("up")}, intercept4=True, intercept6=True)
        port.write(diff(port.read(), state)[:steps])
    port.close()
    assert clear(topology, tmp_path) == ()
    assert dump(topology.cpe) == before


def test_what_others_have_added_meanwhile_stays(topology: Topology, tmp_path: Path) -> None:
    port = machine(topology, tmp_path)
    settle(topology, port)
    topology.cpe.run("ip", "rule", "add", "from", "10.8.0.0/16", "lookup", "5102", "priority", "5150")
    topology.cpe.run("nft", "add table inet later")
    topology.cpe.run("ip", "route", "add", "198.51.100.0/24", "via", "10.2.0.1", "table", "5102")
    port.close()
    clear(topology, tmp_path)
    after = dump(topology.cpe)
    assert any("10.8.0.0/16" in line for line in after["rule4"])
    assert "table inet later {" in after["nft"]
    assert not any("table inet hagw" in line for line in after["nft"])
    assert any("198.51.100.0/24" in line and "5102" in line for line in after["routes"])
    assert not any("proto 104" in line for line in after["rule4"] + after["rule6"] + after["routes"] + after["routes6"])


def test_clear_without_its_memory_still_removes_what_bears_our_mark(topology: Topology, tmp_path: Path) -> None:
    before = dump(topology.cpe)
    port = machine(topology, tmp_path / "lost")
    settle(topology, port)
    port.close()
    clear(topology, tmp_path / "other")
    after = dump(topology.cpe)
    for part in ("nft", "rule4", "rule6", "routes"):
        # What the kernel adds while it forwards stays: nobody knows any more that it did not before.
        assert without_anycast(after[part]) == without_anycast(before[part])


def without_anycast(lines: list[str]) -> list[str]:
    return [line for line in lines if not line.startswith("anycast ")]


def test_a_lost_interface_does_not_keep_the_rest_from_being_cleared(topology: Topology, tmp_path: Path) -> None:
    port = machine(topology, tmp_path)
    settle(topology, port)
    topology.cpe.run("ip", "link", "del", "b0")
    before_rules = [line for line in dump(topology.cpe)["rule4"] if "proto 104" not in line]
    port.close()
    assert clear(topology, tmp_path) == ()
    assert dump(topology.cpe)["rule4"] == before_rules
    assert SERVER4 not in "".join(dump(topology.cpe)["nft"])


@pytest.mark.parametrize("damage", ["", "{", None], ids=["empty", "cut short", "gone"])
def test_clear_says_when_what_was_there_before_is_lost(topology: Topology, tmp_path: Path, damage: str | None) -> None:
    port = machine(topology, tmp_path)
    settle(topology, port)
    port.close()
    file = tmp_path / "kernel.json"
    if damage is None:
        file.unlink()
    else:
        file.write_text(damage, encoding="utf-8")
    assert clear(topology, tmp_path) == (LOST,)
    assert clear(topology, tmp_path) == ()
