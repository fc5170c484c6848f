"""All rules compiled into lookups, one a dimension: deciding costs the same for one rule as for hundreds.

Each alternative of a rule (one a signature of its applications, else one) has a bit, earlier rules have lower ones.
A lookup returns the set of alternatives that a value fits, as an integer; the lowest bit common to all lookups is
the first match. Addresses and ports are found by bisection between the ends of all ranges, names by their suffixes.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from typing import Final, Generic, TypeVar

from hagw.model.flow import FlowKey
from hagw.model.intent import IPNetwork, RuleIntent, TrafficDescriptor
from hagw.policy.applications import Signature, signatures_of

_ANY: Final = Signature()
_ADDRESS_ENDS: Final = {4: 1 << 32, 6: 1 << 128}
_PORT_ENDS: Final = 1 << 16

Clause = tuple[TrafficDescriptor, Signature]
V = TypeVar("V")


class RuleIndex:
    """The rules in the order given, first match wins. What they say of hours is not looked at: leave those out."""

    def __init__(self, rules: Sequence[RuleIntent]) -> None:
        self._rule_of: list[int] = []
        clauses: list[Clause] = []
        for number, rule in enumerate(rules):
            for signature in signatures(rule.traffic):
                clauses.append((rule.traffic, signature))
                self._rule_of.append(number)
        self._sources = {v: _prefixes(clauses, lambda t: t.sources, v) for v in (4, 6)}
        self._destinations = {v: _prefixes(clauses, lambda t: t.destinations, v) for v in (4, 6)}
        self._ports = _Ranges([traffic.destination_ports for traffic, _ in clauses], _PORT_ENDS)
        self._signature_ports = _Ranges([signature.ports for _, signature in clauses], _PORT_ENDS)
        self._protocols: _Values[int] = _Values(traffic.protocols for traffic, _ in clauses)
        self._signature_protocols: _Values[int] = _Values(signature.protocols for _, signature in clauses)
        self._dscps: _Values[int] = _Values(traffic.dscps for traffic, _ in clauses)
        self._macs: _Values[str] = _Values(traffic.macs for traffic, _ in clauses)
        self._interfaces: _Values[str] = _Values(traffic.interfaces for traffic, _ in clauses)
        self._domains = Names(traffic.domains for traffic, _ in clauses)
        self._signature_domains = Names(signature.domains for _, signature in clauses)
        self._named = self._domains.choosy | self._signature_domains.choosy
        self.needs_names = bool(self._named)
        self.needs_packet = self._dscps.is_choosy or self._macs.is_choosy
        self.needs_interface = self._interfaces.is_choosy

    def first(self, flow: FlowKey) -> int | None:
        """Return the number of the first rule that is for the flow, None when none is."""
        fits = self._fits_but_for_names(flow)
        if fits & self._named:
            fits &= self._fitting_names(flow)
        return self._rule_of[(fits & -fits).bit_length() - 1] if fits else None

    def depends_on_name(self, flow: FlowKey) -> bool:
        """Say whether a name of the server could make another rule the first than without any name."""
        fits = self._fits_but_for_names(flow)
        return bool(fits & -fits & self._named)

    def _fitting_names(self, flow: FlowKey) -> int:
        if not flow.others:
            return self._domains.fitting(flow.domain) & self._signature_domains.fitting(flow.domain)
        fits = 0
        for name in flow.names:
            fits |= self._domains.fitting(name) & self._signature_domains.fitting(name)
        return fits

    def _fits_but_for_names(self, flow: FlowKey) -> int:
        client, server = ip_address(flow.client), ip_address(flow.server)
        port = flow.server_port
        return (
            self._sources[client.version].fitting(int(client))
            & self._destinations[server.version].fitting(int(server))
            & self._ports.fitting(port)
            & self._signature_ports.fitting(port)
            & self._protocols.fitting(flow.protocol)
            & self._signature_protocols.fitting(flow.protocol)
            & self._dscps.fitting(flow.dscp)
            & self._macs.fitting(flow.mac)
            & self._interfaces.fitting(flow.interface)
        )


def signatures(traffic: TrafficDescriptor) -> tuple[Signature, ...]:
    """Return the alternatives of a rule: its applications' signatures, one that fits everything where it names none."""
    if not traffic.applications:
        return (_ANY,)
    return tuple(signature for name in traffic.applications for signature in signatures_of(name))


class _Ranges:
    """Which clauses a number fits, by the ranges (inclusive) that each has; one without ranges fits every number."""

    def __init__(self, ranges: Sequence[Iterable[tuple[int, int]]], end: int, never: int = 0) -> None:
        everything = 0
        held = [tuple(each) for each in ranges]
        for bit, own in enumerate(held):
            if not own and not never >> bit & 1:
                everything |= 1 << bit
        starts = sorted({0} | {edge for own in held for low, high in own for edge in (low, high + 1) if edge < end})
        position = {edge: number for number, edge in enumerate(starts)}
        masks = [everything] * len(starts)
        for bit, own in enumerate(held):
            for low, high in own:
                last = position[high + 1] if high + 1 < end else len(starts)
                for number in range(position[low], last):
                    masks[number] |= 1 << bit
        self._starts = starts
        self._masks = masks
        self._unknown = everything

    def fitting(self, value: int | None) -> int:
        if value is None:
            return self._unknown
        return self._masks[bisect_right(self._starts, value) - 1]


class _Values(Generic[V]):
    """Which clauses a value fits, by the values that each has; one without values fits every value."""

    def __init__(self, wanted: Iterable[tuple[V, ...]]) -> None:
        self._any = 0
        found: dict[V, int] = {}
        for bit, values in enumerate(wanted):
            if not values:
                self._any |= 1 << bit
            for value in values:
                found[value] = found.get(value, 0) | 1 << bit
        self._found = {value: mask | self._any for value, mask in found.items()}
        self.is_choosy = bool(found)

    def fitting(self, value: V | None) -> int:
        return self._any if value is None else self._found.get(value, self._any)


class Names:
    """Which clauses a domain name fits, by the patterns that each has; one without patterns fits every name."""

    def __init__(self, wanted: Iterable[tuple[str, ...]]) -> None:
        self._any = 0
        self.choosy = 0
        self._exact: dict[str, int] = {}
        self._below: dict[str, int] = {}
        for bit, patterns in enumerate(wanted):
            if patterns:
                self.choosy |= 1 << bit
            else:
                self._any |= 1 << bit
            for pattern in patterns:
                found, key = (self._below, pattern[2:]) if pattern.startswith("*.") else (self._exact, pattern)
                found[key] = found.get(key, 0) | 1 << bit

    def fitting(self, name: str | None) -> int:
        if name is None or not self.choosy:
            return self._any
        fits = self._any | self._exact.get(name, 0)
        dot = name.find(".")
        while dot >= 0 and self._below:
            fits |= self._below.get(name[dot + 1 :], 0)
            dot = name.find(".", dot + 1)
        return fits


def _prefixes(
    clauses: Sequence[Clause], of: Callable[[TrafficDescriptor], tuple[IPNetwork, ...]], version: int
) -> _Ranges:
    """Index one family's prefixes; a clause that has only the other family's fits no address of this one."""
    ranges = []
    never = 0
    for bit, (traffic, _) in enumerate(clauses):
        own = [prefix for prefix in of(traffic) if prefix.version == version]
        never |= (1 << bit) if of(traffic) and not own else 0
        ranges.append([(int(prefix.network_address), int(prefix.broadcast_address)) for prefix in own])
    return _Ranges(ranges, _ADDRESS_ENDS[version], never)
