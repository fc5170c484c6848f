"""Which uplinks can carry unconverted traffic, best first."""

from collections.abc import Mapping
from typing import Final

from hagw.model.facts import Facts, UplinkFacts
from hagw.model.health import UplinkHealth
from hagw.model.intent import CpeIntent, UplinkIntent
from hagw.model.resources import Family

_UNJUDGED: Final = UplinkHealth("up")


def usable(
    intent: CpeIntent, facts: Facts, health: Mapping[str, UplinkHealth], family: Family
) -> tuple[UplinkIntent, ...]:
    """Return the uplinks that can carry `family` now, best first.

    A line nobody has judged yet counts as up when it has a carrier. A suspect one comes after all that are up:
    it is used only if nothing better is left; so does one on which this family is broken. Then those that a data cap
    leaves for overflow only; then cost, unmetered before metered, and the order of the configuration (sorting is
    stable; a slot says nothing of it); not the RTT, whose jitter would move new flows and the gateway's own about.
    """
    found = []
    for uplink in intent.uplinks:
        fact = facts.uplinks.get(uplink.name)
        if fact is None or not uplink.enabled or not routable(fact, family) or not fact.carrier:
            continue
        judged = health.get(uplink.name, _UNJUDGED)
        if judged.state in ("up", "suspect"):
            last = judged.state == "suspect" or family in judged.broken
            found.append((last, judged.cap != "normal", uplink.cost, uplink.metered, uplink))
    return tuple(entry[-1] for entry in sorted(found, key=lambda entry: entry[:-1]))


def existing(intent: CpeIntent, facts: Facts) -> tuple[str, ...]:
    """Return the uplinks that are enabled and have an interface, by name."""
    known = {name for name, fact in facts.uplinks.items() if fact.ifindex is not None}
    return tuple(uplink.name for uplink in intent.uplinks if uplink.enabled and uplink.name in known)


def routable(fact: UplinkFacts, family: Family) -> bool:
    """Tell whether a default route for `family` through this uplink can exist and lead somewhere."""
    if fact.ifindex is None or not fact.admin_up:
        return False
    if family == 4:
        return fact.address4 is not None and (fact.gateway4 is not None or fact.onlink4)
    return fact.address6 is not None and (fact.gateway6 is not None or fact.onlink6)
