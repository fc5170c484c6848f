"""Which way packets take through a kernel state of ours: judged from the rules as values, like the kernel would."""

from hagw.model.facts import Facts
from hagw.model.ids import TABLE_BEST, TABLE_MAIN
from hagw.model.intent import IPAddress
from hagw.model.resources import Family, KernelState, Route, Rule

MAIN = "main"  # a way that the system's own routing table knows, and hagw leaves alone


def own_way(state: KernelState, source: IPAddress, destination: IPAddress, facts: Facts) -> str:
    """Return the interface by which this machine's own packets to `destination` leave, MAIN = the system decides."""
    family: Family = 4 if destination.version == 4 else 6
    is_near = any(destination in prefix for prefix in facts.local_prefixes if prefix.version == family)
    rules = (each for each in state.values() if isinstance(each, Rule) and each.family == family)
    for rule in sorted(rules, key=lambda rule: rule.priority):
        applies = rule.mark is None and rule.incoming in (None, "lo") and rule.source in (None, source)
        if not applies:
            continue
        if rule.table == TABLE_MAIN:
            if is_near or not rule.suppress_default:
                return MAIN
            continue
        route = state.get(("route", family, rule.table))
        if isinstance(route, Route):
            return route.device
    return MAIN


def forwarding(state: KernelState) -> frozenset[Family]:
    """Return the families for which LAN hosts' unconverted packets have a line to leave by."""
    return frozenset(each.family for each in state.values() if isinstance(each, Route) and each.table == TABLE_BEST)
