"""What can be said of rules without any flow: that one hides another, or that no flow can ever fit one."""

from collections.abc import Iterable

from hagw.model.flow import WITH_PORTS
from hagw.model.intent import IPNetwork, TrafficDescriptor
from hagw.policy.applications import signatures_of
from hagw.policy.match import has_domain

Ranges = tuple[tuple[int, int], ...]


def covers(earlier: TrafficDescriptor, later: TrafficDescriptor) -> bool:
    """Say whether every flow that fits the later descriptor fits the earlier one, at any time of day."""
    return (
        _have_prefixes(earlier.sources, later.sources)
        and _have_prefixes(earlier.destinations, later.destinations)
        and (not earlier.destination_ports or _has_ranges(earlier.destination_ports, later.destination_ports))
        and _have_patterns(earlier.domains, later.domains)
        and all(
            not wide or (narrow and set(narrow) <= set(wide))
            for wide, narrow in (
                (earlier.macs, later.macs),
                (earlier.interfaces, later.interfaces),
                (earlier.protocols, later.protocols),
                (earlier.dscps, later.dscps),
                (earlier.applications, later.applications),
                (earlier.times, later.times),
            )
        )
    )


def contradiction(traffic: TrafficDescriptor) -> str | None:
    """Return why no flow can ever fit, None where one can."""
    protocols = traffic.protocols
    if traffic.destination_ports and protocols and not WITH_PORTS & set(protocols):
        return "these protocols have no ports: no flow can ever fit"
    if traffic.sources and traffic.destinations and not _families(traffic.sources) & _families(traffic.destinations):
        return "sources and destinations are of different families (IPv4, IPv6): no flow can ever fit"
    for name in traffic.applications:
        if not any(
            _meet(protocols, each.protocols) and _ranges_meet(traffic.destination_ports, each.ports)
            for each in signatures_of(name)
        ):
            return f"application {name} has none of these protocols and ports"
    return None


def _have_prefixes(wide: tuple[IPNetwork, ...], narrow: tuple[IPNetwork, ...]) -> bool:
    return not wide or (bool(narrow) and all(_has_prefix(wide, each) for each in narrow))


def _have_patterns(wide: tuple[str, ...], narrow: tuple[str, ...]) -> bool:
    return not wide or (bool(narrow) and all(_has_pattern(wide, each) for each in narrow))


def _has_prefix(wide: Iterable[IPNetwork], narrow: IPNetwork) -> bool:
    return any(
        each.version == narrow.version and each.prefixlen <= narrow.prefixlen and narrow.network_address in each
        for each in wide
    )


def _has_pattern(wide: tuple[str, ...], narrow: str) -> bool:
    if not narrow.startswith("*."):
        return has_domain(wide, narrow)
    return narrow in wide or has_domain(tuple(each for each in wide if each[0] == "*"), narrow[2:])


def _has_ranges(wide: Ranges, narrow: Ranges) -> bool:
    merged = merge(wide)
    return bool(narrow) and all(any(low <= a and b <= high for low, high in merged) for a, b in narrow)


def merge(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Return the same numbers as ranges that neither overlap nor touch, in order."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def _families(prefixes: Iterable[IPNetwork]) -> set[int]:
    return {prefix.version for prefix in prefixes}


def _meet(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return not one or not other or bool(set(one) & set(other))


def _ranges_meet(one: Ranges, other: Ranges) -> bool:
    return not one or not other or any(a <= high and low <= b for a, b in one for low, high in other)
