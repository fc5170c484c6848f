"""QUIC by class: a browser that is refused it takes TCP at once, and TCP is what can be bonded.

QUIC is UDP to port 443, which is what browsers use; hagw cannot convert it, only have it over one line. So it is
refused where its rule would have TCP to the same server bonded, and steered like other UDP everywhere else. A rule
may say otherwise.
"""

from collections.abc import Collection, Iterable
from typing import Final, Literal

from hagw.model.flow import TCP, UDP, FlowKey
from hagw.model.intent import RuleIntent, TrafficDescriptor
from hagw.policy.applications import Signature
from hagw.policy.index import signatures
from hagw.policy.match import has_port

PORT: Final = 443
_UNCONVERTED: Final = ("direct", "block")

Refusal = Literal["always", "while TCP is intercepted", "never"]


def refusal(rule: RuleIntent | None, lines: Collection[str]) -> Refusal:
    """Return when a rule has QUIC refused; None = the default rule. `lines` are the names of those that exist."""
    if rule is None:
        return "while TCP is intercepted" if len(lines) > 1 else "never"
    match rule.quic:
        case "reject":
            return "always"
        case "steer":
            return "never"
        case _:
            return "while TCP is intercepted" if bonds_tcp(rule, lines) else "never"


def refuses(rules: Iterable[RuleIntent], lines: Collection[str]) -> bool:
    """Say whether any rule, or the default one, has QUIC refused now and then."""
    return any(refusal(rule, lines) != "never" for rule in (*rules, None))


def bonds_tcp(rule: RuleIntent, lines: Collection[str]) -> bool:
    """Say whether some TCP flow fits the rule and is carried by more than one of the lines."""
    allowed = [name for name in lines if not rule.uplinks or name in rule.uplinks]
    return rule.mode not in _UNCONVERTED and len(allowed) > 1 and _fits_tcp(rule)


def is_quic(flow: FlowKey) -> bool:
    """Say whether a flow is taken for QUIC."""
    return flow.protocol == UDP and flow.server_port == PORT


def can_fit(traffic: TrafficDescriptor, signature: Signature) -> bool:
    """Say whether some QUIC fits one alternative of a rule."""
    protocols, ports = (traffic.protocols, signature.protocols), (traffic.destination_ports, signature.ports)
    return all(not own or UDP in own for own in protocols) and all(not own or has_port(own, PORT) for own in ports)


def _fits_tcp(rule: RuleIntent) -> bool:
    if rule.traffic.protocols and TCP not in rule.traffic.protocols:
        return False
    return any(not each.protocols or TCP in each.protocols for each in signatures(rule.traffic))
