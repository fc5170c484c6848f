"""What the base firewall lets in, as far as it can be told without a kernel."""

from ipaddress import ip_address, ip_network

import pytest

from hagw.model.intent import AllowIntent, FirewallIntent, UplinkIntent
from hagw.plan.firewall import admits, chains, forward_jumps, input_jumps

DSL = UplinkIntent("dsl", "dsl", "dsl0", 1)
NEAR = ip_address("192.0.2.7")
SSH = AllowIntent("ssh", "tcp", ((22, 22),), (ip_network("192.0.2.0/24"),), uplinks=("dsl",))
HOST = AllowIntent("web", "tcp", ((443, 443),), destinations=(ip_network("2001:db8:77::80"),))


@pytest.mark.parametrize(
    ("uplink", "protocol", "port", "source", "is_admitted"),
    [
        ("dsl", "tcp", 22, "192.0.2.7", True),
        ("lte", "tcp", 22, "192.0.2.7", False),
        ("dsl", "udp", 22, "192.0.2.7", False),
        ("dsl", "tcp", 23, "192.0.2.7", False),
        ("dsl", "tcp", 22, "198.51.100.7", False),
        ("dsl", "tcp", 22, "2001:db8::7", False),
        ("dsl", "tcp", 443, "192.0.2.7", False),
    ],
)
def test_a_new_flow_to_the_gateway_is_admitted_as_allowed(
    uplink: str, protocol: str, port: int, source: str, is_admitted: bool
) -> None:
    firewall = FirewallIntent(allow=(SSH, HOST))
    assert admits(firewall, uplink, protocol, port, ip_address(source)) is is_admitted  # type: ignore[arg-type]


def test_without_the_firewall_everything_is_admitted() -> None:
    off = FirewallIntent(enabled=False)
    assert admits(off, "dsl", "tcp", 22, NEAR)
    assert [chain["rules"] for chain in chains(off, (DSL,))] == [[], []]


def test_what_is_for_a_host_is_allowed_at_both_hooks_and_what_is_for_us_at_one() -> None:
    to_us, beyond = chains(FirewallIntent(allow=(SSH, HOST)), (DSL,))
    counted = [[rule for rule in chain["rules"] if {"counter": "allowed"} in rule] for chain in (to_us, beyond)]
    assert [len(rules) for rules in counted] == [2, 1]


def test_prefixes_of_different_families_make_no_rule() -> None:
    entry = AllowIntent("x", "udp", ((53, 53),), (ip_network("192.0.2.0/24"),), (ip_network("2001:db8::/64"),))
    _, beyond = chains(FirewallIntent(allow=(entry,)), (DSL,))
    assert not [rule for rule in beyond["rules"] if {"counter": "allowed"} in rule]


def test_lines_that_are_not_plugged_in_have_no_rules() -> None:
    to_us, beyond = chains(FirewallIntent(allow=(SSH, HOST)), ())
    assert [sum({"counter": "allowed"} in rule for rule in chain["rules"]) for chain in (to_us, beyond)] == [1, 1]
    assert input_jumps([]) == forward_jumps([]) == []
