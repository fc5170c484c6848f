"""Whether a rule is for a flow, descriptor by descriptor: slow, obvious, and able to say what does not fit.

`hagw.policy.index` answers the same question for every rule at once; this is what it is tested against and what
`hagw explain` shows.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import ip_address
from typing import Literal

from hagw.model.flow import FlowKey, protocol_name
from hagw.model.intent import IPAddress, TrafficDescriptor
from hagw.policy.applications import APPLICATIONS, Signature, signatures_of
from hagw.policy.schedule import describe

Descriptor = Literal[
    "time", "source", "source_mac", "source_interface", "protocol",
    "destination", "destination_port", "dscp", "domain", "application",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The first descriptor of a rule that a flow does not fit, what the rule wants and what the flow has."""

    descriptor: Descriptor
    wanted: str
    found: str | None  # None = not known


def mismatch(traffic: TrafficDescriptor, flow: FlowKey, is_asleep: bool = False) -> Mismatch | None:
    """Return why a rule is not for a flow, None when it is."""
    if is_asleep:
        return Mismatch("time", ", ".join(describe(window) for window in traffic.times), "other hours")
    if not flow.others:
        return next(_mismatches(traffic, flow), None)
    found = [next(_mismatches(traffic, replace(flow, domain=name, others=())), None) for name in flow.names]
    return None if None in found else found[0]


def _mismatches(traffic: TrafficDescriptor, flow: FlowKey) -> Iterator[Mismatch]:
    client, server = _address(flow.client), _address(flow.server)
    if traffic.sources and not any(client in prefix for prefix in traffic.sources):
        yield Mismatch("source", _listed(traffic.sources), flow.client)
    if traffic.macs and flow.mac not in traffic.macs:
        yield Mismatch("source_mac", _listed(traffic.macs), flow.mac)
    if traffic.interfaces and flow.interface not in traffic.interfaces:
        yield Mismatch("source_interface", _listed(traffic.interfaces), flow.interface)
    if traffic.protocols and flow.protocol not in traffic.protocols:
        names = dict.fromkeys(protocol_name(number) for number in traffic.protocols)
        yield Mismatch("protocol", _listed(names), protocol_name(flow.protocol))
    if traffic.destinations and not any(server in prefix for prefix in traffic.destinations):
        yield Mismatch("destination", _listed(traffic.destinations), flow.server)
    if traffic.destination_ports and not has_port(traffic.destination_ports, flow.server_port):
        found = str(flow.server_port) if flow.server_port else None
        yield Mismatch("destination_port", _listed(_range(low, high) for low, high in traffic.destination_ports), found)
    if traffic.dscps and flow.dscp not in traffic.dscps:
        yield Mismatch("dscp", _listed(traffic.dscps), None if flow.dscp is None else str(flow.dscp))
    if traffic.domains and not has_domain(traffic.domains, flow.domain):
        yield Mismatch("domain", _listed(traffic.domains), flow.domain)
    if traffic.applications and not any(is_of(application, flow) for application in traffic.applications):
        yield Mismatch("application", _listed(traffic.applications), _looks_like(flow))


def is_of(application: str, flow: FlowKey) -> bool:
    """Say whether a flow looks like an application's."""
    return any(_fits(signature, flow) for signature in signatures_of(application))


def has_port(ranges: tuple[tuple[int, int], ...], port: int) -> bool:
    """Say whether a port is in one of the inclusive ranges."""
    return any(low <= port <= high for low, high in ranges)


def has_domain(patterns: tuple[str, ...], domain: str | None) -> bool:
    """Say whether a name is one of the patterns, or below one that begins with "*."."""
    return domain is not None and any(
        domain.endswith(pattern[1:]) and len(domain) > len(pattern) - 1 if pattern[0] == "*" else domain == pattern
        for pattern in patterns
    )


def _fits(signature: Signature, flow: FlowKey) -> bool:
    return (
        (not signature.protocols or flow.protocol in signature.protocols)
        and (not signature.ports or has_port(signature.ports, flow.server_port))
        and (not signature.domains or has_domain(signature.domains, flow.domain))
    )


def _looks_like(flow: FlowKey) -> str | None:
    return _listed(name for name in APPLICATIONS if is_of(name, flow)) or None


def _listed(values: Iterable[object]) -> str:
    return ", ".join(str(value) for value in values)


def _range(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}-{high}"


@lru_cache(maxsize=1024)
def _address(text: str) -> IPAddress:
    return ip_address(text)
