"""Plans that cannot work on this machine as it is: refused before anything is touched, each with its reason."""

from collections.abc import Iterator

from hagw.model.facts import Facts
from hagw.model.intent import CpeIntent, Intent, UplinkIntent
from hagw.plan.offered import refusals


def impossibilities(present: Intent, wanted: Intent, facts: Facts) -> tuple[str, ...]:
    """Return why `wanted` cannot be put in force instead of `present`; `facts` are those of `wanted`.

    What is in force already and only unplugged just now is no obstacle: uplinks come and go.
    """
    if type(present) is not type(wanted):
        roles = [_role(intent) for intent in (present, wanted)]
        return (f"the running daemon is a {roles[0]} and cannot become a {roles[1]}: end it and `hagw clear` first",)
    if not isinstance(present, CpeIntent) or not isinstance(wanted, CpeIntent):
        return refusals(wanted, facts)
    return (
        *_missing(present, wanted, facts),
        *_shared(wanted, facts),
        *_beyond_the_driver(present, wanted, facts),
        *_useless(present, wanted),
        *refusals(wanted, facts),
    )


def concerns_gateways(present: Intent, wanted: Intent) -> bool:
    """Say whether connections to gateways may come about otherwise; rules, say, only choose between them."""
    if not isinstance(present, CpeIntent) or not isinstance(wanted, CpeIntent):
        return False
    one, other = (
        (each.uplinks, each.gateways, each.workers, each.congestion_control, each.pool, each.limits)
        for each in (present, wanted)
    )
    return one != other


def _missing(present: CpeIntent, wanted: CpeIntent, facts: Facts) -> Iterator[str]:
    known = {(uplink.interface, uplink.match) for uplink in present.uplinks if uplink.enabled}
    for uplink in wanted.uplinks:
        if uplink.enabled and (uplink.interface, uplink.match) not in known and _ifindex(uplink, facts) is None:
            found = facts.uplinks.get(uplink.name)
            why = (found.problem if found is not None else "") or f"there is no interface {uplink.interface}"
            yield f"uplink {uplink.name}: {why} (plug it in first, or have it `enabled: false` until it is there)"
    for name in wanted.lan_interfaces:
        if facts.interfaces and name not in facts.interfaces and name not in present.lan_interfaces:
            yield f"lan: there is no interface {name}"


def _shared(wanted: CpeIntent, facts: Facts) -> Iterator[str]:
    """Yield uplinks that are one interface under two names, as by an alternative name or a match."""
    seen: dict[int, UplinkIntent] = {}
    for uplink in wanted.uplinks:
        ifindex = _ifindex(uplink, facts)
        if ifindex is None:
            continue
        if ifindex in seen:
            yield f"uplinks {seen[ifindex].name} and {uplink.name} are the same interface, {uplink.interface}"
        seen.setdefault(ifindex, uplink)


def _beyond_the_driver(present: CpeIntent, wanted: CpeIntent, facts: Facts) -> Iterator[str]:
    known = {(uplink.name, uplink.mtu) for uplink in present.uplinks}
    for uplink in wanted.uplinks:
        found = facts.uplinks.get(uplink.name)
        if uplink.mtu is None or found is None or not found.mtu_max or (uplink.name, uplink.mtu) in known:
            continue
        if not found.mtu_min <= uplink.mtu <= found.mtu_max:
            yield (
                f"uplink {uplink.name}: {found.interface} takes an MTU between {found.mtu_min} and {found.mtu_max},"
                f" not {uplink.mtu}"
            )


def _useless(present: CpeIntent, wanted: CpeIntent) -> Iterator[str]:
    if any(uplink.enabled for uplink in present.uplinks) and not any(uplink.enabled for uplink in wanted.uplinks):
        yield "no uplink would be left in use: the whole house would be offline"


def _ifindex(uplink: UplinkIntent, facts: Facts) -> int | None:
    found = facts.uplinks.get(uplink.name)
    return None if found is None else found.ifindex


def _role(intent: Intent) -> str:
    return "cpe" if isinstance(intent, CpeIntent) else "hag"
