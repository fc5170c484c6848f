"""A configuration and facts give exactly the plan and the table that are stored here."""

import json
import os
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from hagw.config.load import load_file
from hagw.model.facts import Facts, UplinkFacts
from hagw.model.health import UplinkHealth
from hagw.model.intent import CpeIntent, HagIntent
from hagw.model.resources import KernelState, NftTable
from hagw.plan import cpe, hag
from hagw.plan.diff import describe, diff

STORED = Path(__file__).parent / "plan"
EXAMPLES = Path(__file__).parents[2] / "config"
SYSCTLS = frozenset(
    {
        "net/mptcp/pm_type",
        "net/mptcp/blackhole_timeout",
        "net/ipv4/tcp_early_demux",
        "net/ipv4/tcp_migrate_req",
        "net/ipv4/icmp_ratelimit",
        "net/ipv6/icmp/ratelimit",
    }
)
DSL = UplinkFacts(
    name="dsl",
    ifindex=3,
    admin_up=True,
    carrier=True,
    address4=ip_address("198.51.100.77"),
    address6=ip_address("2001:db8:d::77"),
    gateway4=ip_address("198.51.100.1"),
    gateway6=ip_address("fe80::1"),
    mtu=1492,
    accepts_ra=True,
)
LTE = UplinkFacts(
    name="lte", ifindex=4, admin_up=True, carrier=True, address4=ip_address("100.64.3.2"), onlink4=True, mtu=1428
)
WIFI = UplinkFacts(
    name="wifi",
    ifindex=5,
    admin_up=True,
    carrier=True,
    address4=ip_address("192.168.1.50"),
    address6=ip_address("fd00:1::50"),
    gateway4=ip_address("192.168.1.1"),
    gateway6=ip_address("fe80::2"),
)
FACTS = Facts(
    uplinks={"dsl": DSL, "lte": LTE, "wifi": WIFI},
    local_prefixes=(ip_network("192.168.77.0/24"), ip_network("192.168.1.0/24"), ip_network("fd77::/64")),
    sysctls=SYSCTLS,
)
GONE = replace(FACTS, uplinks={**FACTS.uplinks, "dsl": UplinkFacts("dsl", None)})
OLD = Facts(uplinks=FACTS.uplinks, sysctls=frozenset({"net/mptcp/pm_type"}), ipv6=False)
DOWN = {"dsl": UplinkHealth("down")}


def example() -> CpeIntent:
    intent = load_file(EXAMPLES / "cpe.yaml")
    assert isinstance(intent, CpeIntent)
    return replace(intent, bypass=(ip_network("203.0.113.53/32"), ip_network("2001:db8:53::/48")))


def bonded(facts: Facts = FACTS, health: dict[str, UplinkHealth] | None = None) -> KernelState:
    return cpe.desired(example(), facts, health or {}, intercept4=True, intercept6=True)


def delegated() -> KernelState:
    """The first line has a prefix of its own."""
    intent = example()
    first, *others = intent.uplinks
    prefix = ip_network("2001:db8:1200::/56")
    assert prefix.version == 6
    changed = replace(intent, uplinks=(replace(first, prefix6=prefix), *others))
    return cpe.desired(changed, FACTS, {}, intercept4=True, intercept6=True)


def hag_state() -> KernelState:
    intent = load_file(EXAMPLES / "hag.yaml")
    assert isinstance(intent, HagIntent)
    return hag.desired(intent, FACTS)


CASES = {
    "start": lambda: ({}, bonded()),
    "dsl-fails": lambda: (bonded(), bonded(health=DOWN)),
    "dsl-interface-goes": lambda: (bonded(), bonded(GONE)),
    "unbonded": lambda: (bonded(), cpe.desired(example(), FACTS, {}, intercept4=False, intercept6=False)),
    "old-kernel-without-ipv6": lambda: ({}, bonded(OLD)),
    "clear": lambda: (bonded(), {}),
    "prefix-delegated": lambda: (bonded(), delegated()),
    "hag": lambda: ({}, hag_state()),
}


@pytest.mark.parametrize("case", CASES)
def test_the_plan_is_as_stored(case: str) -> None:
    actual, desired = CASES[case]()
    check(STORED / f"{case}.txt", "".join(f"{describe(step)}\n" for step in diff(actual, desired)))


@pytest.mark.parametrize("case", ["start", "dsl-fails", "unbonded", "prefix-delegated"])
def test_the_table_is_as_stored(case: str) -> None:
    table = CASES[case]()[1][NftTable("").key]
    assert isinstance(table, NftTable)
    check(STORED / f"{case}.table", pretty(table.text))


def pretty(text: str) -> str:
    """Write each counter, set, chain and rule on a line of its own."""
    table = json.loads(text)
    lines = [f"counters {json.dumps(table['counters'])}"]
    lines += [f"set {json.dumps(each)}" for each in table["sets"]]
    for chain in table["chains"]:
        rules = chain.pop("rules")
        lines.append(f"chain {json.dumps(chain)}")
        lines += [f"    {json.dumps(rule)}" for rule in rules]
    return "\n".join(lines) + "\n"


def check(file: Path, text: str) -> None:
    """HAGW_GOLDEN=write stores what is built now; read the difference before committing it."""
    if os.environ.get("HAGW_GOLDEN") == "write":
        file.write_text(text)
    assert text == file.read_text()
