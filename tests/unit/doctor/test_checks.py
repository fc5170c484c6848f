"""What is seen becomes findings: nothing on a healthy machine, one with a sentence to act on for each fault."""

from dataclasses import replace

import pytest

from hagw.doctor.check_kernel import FEATURES
from hagw.doctor.evidence import (
    NOT_ENROLLED,
    BaseChain,
    Connection,
    Daemon,
    Echo,
    Evidence,
    ForeignRule,
    Kernel,
    PathMtu,
    Resolver,
    Rivals,
)
from hagw.doctor.examine import judge
from hagw.doctor.trial import TRIALS
from tests.unit.doctor.scenes import BOX, HAG, KERNEL, LINE, WELL, bad, severities

CHAIN = BaseChain("ip filter INPUT", "input", True, False, False, False)


def rivals(**seen: object) -> Evidence:
    return replace(WELL, rivals=Rivals(**seen))  # type: ignore[arg-type]


def box(**seen: object) -> Evidence:
    return replace(WELL, box=replace(BOX, **seen))  # type: ignore[arg-type]


def line(**seen: object) -> Evidence:
    return replace(WELL, lines=(replace(LINE, **seen),))  # type: ignore[arg-type]


def test_a_healthy_machine_has_nothing_to_act_on() -> None:
    assert severities(WELL) == {}
    assert severities(replace(WELL, role="hag", lines=None)) == {}


def test_every_trial_is_judged() -> None:
    assert {feature.trial for feature in FEATURES} == {name for name, _ in TRIALS}


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.trial)
def test_a_feature_that_fails_is_told_with_its_reason_to_the_roles_that_need_it(feature: object) -> None:
    assert feature in FEATURES
    lacks = ((feature.trial, "Protocol not supported"),)  # type: ignore[attr-defined]
    for role in ("cpe", "hag"):
        found = bad(replace(WELL, role=role, lines=None, kernel=replace(KERNEL, lacks=lacks)))
        assert bool(found) == (role in feature.roles)  # type: ignore[attr-defined]
        for finding in found.values():
            assert "Protocol not supported" in finding.found
            assert finding.severity == feature.severity  # type: ignore[attr-defined]


def test_an_older_kernel_has_notes_but_no_problem() -> None:
    absent = ("mptcp-full-info", "blackhole-timeout", "scheduler-choice", "bind-address-no-port")
    older = replace(WELL, kernel=replace(KERNEL, lacks=tuple((name, "absent") for name in absent)))
    assert set(severities(older).values()) == {"note"}


def test_a_kernel_that_tells_nothing_of_subflows_is_a_problem() -> None:
    lacks = (("mptcp-full-info", "no"), ("mptcp-subflow-info", "no"))
    assert severities(replace(WELL, kernel=replace(KERNEL, lacks=lacks)))["kernel.subflow-figures"] == "problem"


def test_packet_schedulers_and_path_managers_on_offer_are_listed() -> None:
    offered = replace(WELL, kernel=replace(KERNEL, schedulers=("default", "burst")))
    said = {finding.id: (finding.severity, finding.found) for finding in judge(offered)}
    assert said["kernel.schedulers"] == ("ok", "packet schedulers: default, burst")
    assert said["kernel.path-managers"] == ("ok", "path managers: kernel, userspace")


SCENES: dict[str, tuple[Evidence, str, str]] = {
    "kernel not tried": (replace(WELL, kernel=Kernel("6.1.0", why_not_tried="denied")), "kernel", "note"),
    "scheduler not offered": (replace(WELL, wanted=("mptcp.scheduler: no",)), "kernel.wanted", "problem"),
    "networkd": (rivals(processes=frozenset({"systemd-network"})), "rival.networkd", "warning"),
    "networkd claims": (
        rivals(networkd_claims=("/etc/x has Table=5101 in [Route]",)),
        "rival.networkd-claims",
        "problem",
    ),
    "mptcpd": (rivals(processes=frozenset({"mptcpd"})), "rival.mptcpd", "warning"),
    "NetworkManager": (rivals(processes=frozenset({"NetworkManager"})), "rival.networkmanager-mptcp", "note"),
    "hook": (rivals(ifupdown_hooks=("/etc/network/if-up.d/mptcp_up",)), "rival.ifupdown-hook", "warning"),
    "stanza": (rivals(ifupdown_uplinks=("up ip rule",)), "rival.ifupdown-uplink", "warning"),
    "firewalld": (rivals(processes=frozenset({"firewalld"})), "rival.firewalld", "warning"),
    "ufw": (rivals(ufw=True), "rival.ufw", "warning"),
    "docker": (rivals(docker_bridge=True), "rival.docker", "warning"),
    "leftovers": (rivals(processes=frozenset({"glorytun"})), "rival.openmptcprouter", "warning"),
    "tproxy": (rivals(tproxy=("ip mangle PREROUTING",)), "rival.tproxy", "problem"),
    "legacy": (rivals(legacy_tables=("filter",)), "rival.iptables-legacy", "warning"),
    "rule before": (rivals(rules=(ForeignRule(5099, 4, "5099: all lookup 9", False),)), "rival.rule", "warning"),
    "narrow rule": (rivals(rules=(ForeignRule(220, 4, "220: to 10.0.0.0/8 lookup 9", True),)), "rival.rule", "note"),
    "rule among": (rivals(rules=(ForeignRule(5150, 4, "5150: all lookup 9", False),)), "rival.rule", "problem"),
    "sysctl file": (rivals(sysctl_files=("/etc/sysctl.d/x: net.mptcp.enabled = 0",)), "rival.sysctl", "note"),
    "input drops": (rivals(chains=(CHAIN,)), "rival.input-filter", "problem"),
    "input may drop": (rivals(chains=(replace(CHAIN, jumps=True),)), "rival.input-filter", "warning"),
    "forward drops": (rivals(chains=(replace(CHAIN, hook="forward"),)), "rival.forward-filter", "problem"),
    "unread": (rivals(why_no_rules="not permitted"), "rival.unread", "note"),
    "unseen": (rivals(unseen_processes=3), "rival.unseen", "note"),
    "no interface": (line(present=False, echoes=(), connections=(), path_mtus=()), "line.dsl.interface", "warning"),
    "off": (line(up=False, echoes=(), connections=(), path_mtus=()), "line.dsl.interface", "warning"),
    "no carrier": (line(carrier=False, echoes=(), connections=(), path_mtus=()), "line.dsl.interface", "warning"),
    "no address": (line(address4=None, echoes=()), "line.dsl.address", "warning"),
    "no router": (line(has_route4=False), "line.dsl.address", "warning"),
    "small MTU": (line(address6="2001:db8::2", has_route6=True, mtu=1200), "line.dsl.mtu", "warning"),
    "black hole": (line(path_mtus=(PathMtu("hag", HAG, 1400),)), "line.dsl.mtu", "warning"),
    "pings filtered": (line(path_mtus=(PathMtu("hag", HAG, None),)), "line.dsl.mtu", "note"),
    "strict filter": (line(rp_filter="1"), "line.dsl.rp-filter", "note"),
    "nobody answers": (line(echoes=(Echo("hag", HAG, None, "nothing"),)), "gateways", "problem"),
    "not enrolled": (line(echoes=(Echo("hag", HAG, None, NOT_ENROLLED),)), "gateways", "problem"),
    "stripped": (line(connections=(Connection("hag", HAG, "tcp"),)), "line.dsl.converter", "warning"),
    "refused": (line(connections=(Connection("hag", HAG, "failed", "refused"),)), "line.dsl.converter", "warning"),
    "clocks apart": (line(echoes=(Echo("hag", HAG, 9.0, clock_ahead_s=1e6),)), "clock.gateway", "note"),
    "no root": (box(is_root=False), "rights", "note"),
    "mistake": (replace(WELL, config_faults=("hagw.yaml:3: uplinks: missing",)), "configuration", "problem"),
    "unreadable": (replace(WELL, config_readable=False), "configuration", "note"),
    "no daemon": (replace(WELL, daemon=Daemon(None, "No daemon.")), "daemon", "note"),
    "degraded": (replace(WELL, daemon=Daemon("degraded", "dsl is down.")), "daemon", "warning"),
    "1970": (box(wall_s=9.0), "clock", "warning"),
    "1970 at the HAG": (replace(box(wall_s=9.0), role="hag"), "clock", "problem"),
    "clock drifts": (box(is_synchronised=False), "clock", "note"),
    "just booted": (box(uptime_s=20.0), "uptime", "note"),
    "no resolver": (box(resolvers=()), "dns", "warning"),
    "silent resolver": (box(resolvers=(Resolver("192.0.2.1", None, None, "no route"),)), "dns", "warning"),
    "slow resolver": (box(resolvers=(Resolver("192.0.2.1", None, 1400.0),)), "dns", "warning"),
    "untracked": (box(conntrack_count=None), "conntrack", "note"),
    "nearly full": (box(conntrack_count=220_000), "conntrack", "warning"),
    "full": (box(conntrack_count=262_000), "conntrack", "problem"),
    "disk full": (box(state_free_bytes=1000), "disk", "problem"),
    "read-only": (box(state_writable=False), "disk", "problem"),
    "few descriptors": (box(descriptors_max=1024), "descriptors", "warning"),
    "small buffers": (box(sysctls=(("net/ipv4/tcp_rmem", "4096 87380 1000000"),)), "buffers", "note"),
    "not forwarding": (box(sysctls=(("net/ipv4/ip_forward", "0"),)), "parameters", "warning"),
    "bridged": (box(sysctls=(("net/bridge/bridge-nf-call-iptables", "1"),)), "parameters", "warning"),
}


@pytest.mark.parametrize("scene", SCENES)
def test_a_fault_is_found_and_says_what_to_do(scene: str) -> None:
    evidence, name, severity = SCENES[scene]
    found = bad(evidence)
    assert found[name].severity == severity
    for finding in found.values():
        assert "\n" not in finding.found + finding.act
        assert finding.act.endswith(".")


def test_a_filter_that_lets_the_lan_or_the_mark_pass_is_fine() -> None:
    assert severities(rivals(chains=(replace(CHAIN, passes_marked=True),))) == {}
    assert severities(rivals(chains=(replace(CHAIN, passes_lan=True),))) == {}
    assert severities(rivals(chains=(replace(CHAIN, hook="forward", passes_marked=True),))) != {}


def test_networkd_that_leaves_others_alone_is_fine() -> None:
    settings = (("ManageForeignRoutingPolicyRules", "no"), ("ManageForeignRoutes", "false"))
    assert severities(rivals(processes=frozenset({"systemd-network"}), networkd=settings)) == {}
    one = rivals(processes=frozenset({"systemd-network"}), networkd=settings[1:])
    assert "takes away rules of others" in bad(one)["rival.networkd"].found


def test_a_resolver_is_named_with_the_line_it_answers_over() -> None:
    (found,) = [finding for finding in judge(WELL) if finding.id == "dns"]
    assert found.found == "resolver 192.0.2.53 answers in 20 ms over dsl"


def test_one_resolver_that_answers_is_enough() -> None:
    silent = Resolver("192.0.2.1", None, None, "no answer")
    assert severities(box(resolvers=(silent, *BOX.resolvers))) == {"dns": "note"}


def test_a_disabled_line_is_not_judged() -> None:
    assert severities(line(enabled=False, present=False, echoes=(), connections=(), path_mtus=())) == {}
