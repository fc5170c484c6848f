"""Files and rules of other programs are read as those programs read them."""

import os
from pathlib import Path
from typing import Any

import pytest

from hagw.doctor.check_rivals import findings
from hagw.doctor.evidence import Rivals
from hagw.doctor.look_rivals import (
    base_chains,
    foreign_rules,
    ifupdown,
    network_manager_settings,
    networkd_claims,
    networkd_settings,
    processes_here,
    sysctl_files,
    tproxy_chains,
)
from hagw.kernel.rules import SeenRule

LAN = frozenset({"lan0"})


def write(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_the_drop_in_from_the_advice_settles_networkd(tmp_path: Path) -> None:
    write(tmp_path, "etc/systemd/networkd.conf", "# vendor\n[Network]\n#ManageForeignRoutes=yes\nSpeedMeter=no\n")
    running = Rivals(processes=frozenset({"systemd-network"}), networkd=tuple(networkd_settings(tmp_path).items()))
    (finding,) = findings("cpe", running)
    lines = [part for part in finding.act.split("`") if part.startswith(("[", "Manage"))]
    write(tmp_path, "etc/systemd/networkd.conf.d/90-hagw.conf", "\n".join(lines))
    settled = Rivals(processes=frozenset({"systemd-network"}), networkd=tuple(networkd_settings(tmp_path).items()))
    assert [finding.severity for finding in findings("cpe", settled)] == ["ok"]


def test_a_drop_in_below_etc_hides_the_vendors_of_the_same_name(tmp_path: Path) -> None:
    write(tmp_path, "usr/lib/systemd/networkd.conf.d/50-x.conf", "[Network]\nManageForeignRoutes=no\n")
    write(tmp_path, "etc/systemd/networkd.conf.d/50-x.conf", "[Network]\nManageForeignRoutes=yes\n")
    write(tmp_path, "run/systemd/networkd.conf.d/40-y.conf", "[Network]\nManageForeignRoutingPolicyRules=no\n")
    assert networkd_settings(tmp_path) == {"ManageForeignRoutes": "yes", "ManageForeignRoutingPolicyRules": "no"}


def test_network_files_that_use_our_numbers_are_named(tmp_path: Path) -> None:
    write(tmp_path, "etc/systemd/network/10-dsl.network", "[RoutingPolicyRule]\nPriority=5101\nTable=77\n")
    assert networkd_claims(tmp_path) == (
        "/etc/systemd/network/10-dsl.network has Priority=5101 in [RoutingPolicyRule]",
    )


def test_the_drop_in_from_the_advice_settles_networkmanagers_endpoints(tmp_path: Path) -> None:
    processes = frozenset({"NetworkManager"})
    assert "rival.networkmanager-mptcp" in {finding.id for finding in findings("cpe", Rivals(processes=processes))}
    write(tmp_path, "etc/NetworkManager/NetworkManager.conf", "[main]\nplugins=keyfile\n")
    text = "[connection-hagw]\nconnection.mptcp-flags=1\n[keyfile]\nunmanaged-devices=interface-name:lan0\n"
    write(tmp_path, "etc/NetworkManager/conf.d/90-hagw.conf", text)
    (left,) = findings(
        "cpe", Rivals(processes=processes, network_manager=tuple(network_manager_settings(tmp_path).items()))
    )
    assert left.id == "rival.networkmanager"
    assert "unmanaged: interface-name:lan0" in left.found


def test_hooks_and_stanzas_of_ifupdown_are_found(tmp_path: Path) -> None:
    write(tmp_path, "etc/network/if-up.d/mptcp_up", "#!/bin/sh\n")
    assert ifupdown(tmp_path, {"dsl0"}) == ((), ())
    (tmp_path / "etc/network/if-up.d/mptcp_up").chmod(0o755)
    write(
        tmp_path,
        "etc/network/interfaces",
        "allow-hotplug dsl0\niface dsl0 inet dhcp\n    up ip rule add from 10.0.0.1 table 5\n"
        "iface eth9 inet dhcp\n    up ip rule add from 10.9.0.1 table 6\n",
    )
    hooks, stanzas = ifupdown(tmp_path, {"dsl0"})
    assert hooks == ("/etc/network/if-up.d/mptcp_up",)
    assert len(stanzas) == 1
    assert "iface dsl0" in stanzas[0]


def test_parameters_set_against_us_are_found_in_either_spelling(tmp_path: Path) -> None:
    write(
        tmp_path,
        "etc/sysctl.d/10-x.conf",
        "-net/ipv4/ip_forward = 0\nnet.ipv4.conf.dsl0.rp_filter=1\n# net.mptcp.enabled=0\n",
    )
    assert sysctl_files(tmp_path, {"dsl0"}) == (
        "/etc/sysctl.d/10-x.conf: net.ipv4.ip_forward = 0",
        "/etc/sysctl.d/10-x.conf: net.ipv4.conf.dsl0.rp_filter = 1",
    )


def test_only_processes_of_our_namespace_count(tmp_path: Path) -> None:
    for pid, name, namespace in (("thread-self", "x", 1), ("10", "mptcpd", 1), ("11", "dockerd", 2)):
        (tmp_path / pid / "ns").mkdir(parents=True)
        os.symlink(f"net:[{namespace}]", tmp_path / pid / "ns/net")
        (tmp_path / pid / "comm").write_text(f"{name}\n")
    assert processes_here(tmp_path) == (frozenset({"mptcpd"}), 0)


@pytest.mark.parametrize(
    ("priority", "protocol", "counts"),
    [
        (0, 2, False),
        (32766, 2, False),
        (1000, 2, False),
        (5099, 3, True),
        (5101, 104, False),
        (5150, 4, True),
        (5210, 3, False),
    ],
)
def test_rules_that_are_consulted_before_ours_count(priority: int, protocol: int, counts: bool) -> None:
    rule = SeenRule(4, priority, protocol, "fwmark 0x1", 100, suppresses_default=False)
    assert bool(foreign_rules([rule])) == counts


def chain(hook: str, policy: str = "accept", table: str = "filter") -> dict[str, Any]:
    return {"chain": {"family": "ip", "table": table, "name": "C", "hook": hook, "policy": policy}}


def rule(*expr: dict[str, Any], table: str = "filter") -> dict[str, Any]:
    return {"rule": {"family": "ip", "table": table, "chain": "C", "expr": list(expr)}}


COUNT = {"counter": {"packets": 0, "bytes": 0}}
FROM_LAN = {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": {"set": ["lan0", "lo"]}}}
SSH = {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 22}}
MARKED = {"match": {"op": "==", "left": {"&": [{"meta": {"key": "mark"}}, 0x3F000000]}, "right": 0x3E000000}}


def test_what_a_base_chain_lets_pass_is_read_from_its_rules() -> None:
    (drops,) = base_chains([chain("input", "drop"), rule(SSH, COUNT, {"accept": None})], LAN)
    assert (drops.drops_rest, drops.passes_lan, drops.passes_marked, drops.jumps) == (True, False, False, False)
    (lets_lan,) = base_chains([chain("input", "drop"), rule(FROM_LAN, COUNT, {"accept": None})], LAN)
    assert lets_lan.passes_lan
    (not_all,) = base_chains([chain("input", "drop"), rule(FROM_LAN, SSH, {"accept": None})], LAN)
    assert not not_all.passes_lan
    (marked,) = base_chains([chain("input", "drop"), rule(MARKED, COUNT, {"accept": None})], LAN)
    assert marked.passes_marked
    (last,) = base_chains([chain("forward"), rule(COUNT, {"reject": {"type": "icmpx"}})], LAN)
    assert last.drops_rest
    assert base_chains([chain("input", "drop", "hagw"), chain("prerouting", "drop")], LAN) == ()


def test_both_kinds_of_tproxy_rules_are_seen_and_ours_are_not() -> None:
    ruleset = [
        rule({"tproxy": {"addr": "127.0.0.1"}}, table="hagw"),
        rule(COUNT, {"xt": {"type": "target", "name": "TPROXY"}}, table="mangle"),
        rule({"xt": None}),
    ]
    assert tproxy_chains(ruleset) == ("ip mangle C",)
