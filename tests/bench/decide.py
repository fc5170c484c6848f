"""How long a decision takes with 200 rules and 10,000 domains. Run it: python tests/bench/decide.py

Prints the figure; exit code 1 where the median is not below TARGET_US. No test: it measures a machine.
"""

import random
import statistics
import sys
import time
from ipaddress import ip_network
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from hagw.model.flow import FlowKey
from hagw.model.intent import FlowLimits, PoolIntent, RuleIntent, TrafficDescriptor
from hagw.model.snapshot import CpeSnapshot, GatewayView, UplinkView
from hagw.policy.decide import Policy, Rules

TARGET_US = 50.0
RULES = 200
DOMAINS = 10_000
FLOWS = 20_000


def rules(dice: random.Random) -> tuple[RuleIntent, ...]:
    """Return rules of every kind, the domains spread over half of them."""
    found = []
    each = DOMAINS // (RULES // 2)
    for number in range(RULES):
        wanted: dict[str, object] = {}
        if number % 2:
            wanted["domains"] = tuple(f"{'*.' if n % 2 else ''}name{number}x{n}.example" for n in range(each))
        else:
            wanted["sources"] = (ip_network((dice.randrange(0x0A000000, 0x0B000000) & ~0xFF, 24)),)
            wanted["destination_ports"] = ((number + 1, number + 40),)
        if number % 5 == 0:
            wanted["dscps"] = (dice.randrange(64),)
        if number % 7 == 0:
            wanted["applications"] = ("voip", "video")
        found.append(RuleIntent(f"r{number}", number, TrafficDescriptor(**wanted), "load-balancing", ("dsl",)))  # type: ignore[arg-type]
    return tuple(found)


def flow(dice: random.Random) -> FlowKey:
    """Return a flow of IPv4 or IPv6, half of them with a name that some rule has."""
    ipv6 = dice.random() < 0.3
    client = f"fd77::{dice.randrange(1, 0xFFFF):x}" if ipv6 else f"10.{dice.randrange(256)}.{dice.randrange(256)}.7"
    server = f"2001:db8:1:2:3:4:5:{dice.randrange(0xFFFF):x}" if ipv6 else f"203.0.113.{dice.randrange(256)}"
    known = f"www.name{dice.randrange(1, RULES, 2)}x{dice.randrange(100)}.example"
    domain = known if dice.random() < 0.5 else f"a.b.c.host{dice.randrange(10**6)}.example"
    return FlowKey(client, 40_000, server, dice.choice((22, 80, 443, 8443)), dscp=0, domain=domain, domain_source="sni")


def main() -> int:
    """Measure, print, judge."""
    dice = random.Random(4)
    gateway = GatewayView("hag", ("198.51.100.10",), 5124, "home", "00" * 32, "up")
    lines = tuple(
        UplinkView(slot, name, name, slot, "192.0.2.1", None, "up") for slot, name in enumerate(("dsl", "lte"), 1)
    )
    snapshot = CpeSnapshot(1, lines, (gateway,), rules(dice), PoolIntent(), FlowLimits(), "bbr")
    flows = [flow(dice) for _ in range(FLOWS)]
    began = time.perf_counter()
    compiled = Rules(snapshot.rules)
    compile_ms = (time.perf_counter() - began) * 1e3
    began = time.perf_counter()
    policy = Policy(snapshot, compiled)
    renew_ms = (time.perf_counter() - began) * 1e3
    taken_us = []
    for each in flows:
        began = time.perf_counter()
        policy.depends_on_name(each)
        policy.decide(each)
        taken_us.append((time.perf_counter() - began) * 1e6)
    taken_us.sort()
    median, p99 = statistics.median(taken_us), taken_us[int(len(taken_us) * 0.99)]
    print(f"{RULES} rules, {DOMAINS} domains: median {median:.1f} µs, p99 {p99:.1f} µs (target {TARGET_US:g} µs)")
    print(f"compiling the rules: {compile_ms:.0f} ms once; a new snapshot with the same rules: {renew_ms:.1f} ms")
    return 0 if median < TARGET_US else 1


if __name__ == "__main__":
    sys.exit(main())
