"""The decision for one LAN connection: converted over which uplinks, direct, or blocked; and why.

Pure: a `Policy` is compiled from one snapshot and answers until the next one.
"""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal, assert_never

from hagw.model.intent import IPAddress, RuleIntent, TrafficDescriptor
from hagw.model.snapshot import CpeSnapshot, GatewayView, UplinkView

FlowPath = Literal["converted", "direct", "blocked"]
DEFAULT_RULE = "default"


@dataclass(frozen=True, slots=True)
class FlowKey:
    """A LAN connection: addresses as text, ports as numbers."""

    client: str
    client_port: int
    server: str
    server_port: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to a flow. `uplinks` are slots, best first: the first carries the initial subflow."""

    path: FlowPath
    gateway: GatewayView | None
    uplinks: tuple[int, ...]
    rule: str
    mode: str
    why: str


class Policy:
    """The rules of one snapshot, in order of precedence; first match wins."""

    def __init__(self, snapshot: CpeSnapshot) -> None:
        self._uplinks = tuple(sorted((u for u in snapshot.uplinks if u.state != "disabled"), key=_preference))
        self._rules = tuple(sorted(snapshot.rules, key=lambda rule: rule.precedence))
        self._gateways = snapshot.gateways
        self._default = self._steer(None)
        self._by_rule = {rule.name: self._steer(rule) for rule in self._rules}

    def decide(self, flow: FlowKey) -> Decision:
        """Return the decision for a new connection."""
        if not self._rules:
            return self._default
        client = ip_address(flow.client)
        server = ip_address(flow.server)
        for rule in self._rules:
            if _matches(rule.traffic, client, server, flow.server_port):
                return self._by_rule[rule.name]
        return self._default

    def steered(self) -> tuple[Decision, ...]:
        """Return every decision this policy can come to."""
        return (*self._by_rule.values(), self._default)

    def _steer(self, rule: RuleIntent | None) -> Decision:
        name = rule.name if rule else DEFAULT_RULE
        mode = rule.mode if rule else "load-balancing"
        allowed = tuple(u.slot for u in self._uplinks if not rule or not rule.uplinks or u.name in rule.uplinks)
        match mode:
            case "block":
                return Decision("blocked", None, (), name, mode, f"rule {name} blocks it")
            case "direct":
                return Decision("direct", None, allowed, name, mode, f"rule {name} sends it direct")
            case "load-balancing":
                pass
            case _:
                assert_never(mode)
        gateway = next((g for g in self._gateways if g.reach != "down"), None)
        if gateway is None:
            reason = self._gateways[0].reason if self._gateways else "none is configured"
            return Decision("direct", None, allowed, name, mode, f"no gateway is reachable: {reason}")
        names = ", ".join(u.name for u in self._uplinks if u.slot in allowed)
        return Decision("converted", gateway, allowed, name, mode, f"rule {name} bonds {names}")


def _preference(uplink: UplinkView) -> tuple[bool, int, bool, float]:
    """Sort key: healthy, cheap, unmetered, quick when unloaded; equal ones stay in the order of the file.

    Not the smoothed round trip: it holds our own queues, and after a transfer, when nobody asks, it keeps them.
    """
    rtt = next((rtt for rtt in (uplink.rtt_floor_ms, uplink.rtt_ms) if rtt is not None), 1e9)
    return uplink.state != "up", uplink.cost, uplink.metered, rtt


def _matches(traffic: TrafficDescriptor, client: IPAddress, server: IPAddress, port: int) -> bool:
    return (
        (not traffic.sources or any(client in network for network in traffic.sources))
        and (not traffic.destinations or any(server in network for network in traffic.destinations))
        and (not traffic.destination_ports or any(low <= port <= high for low, high in traffic.destination_ports))
    )
