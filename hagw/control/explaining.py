"""What would become of a flow, by the snapshot that the workers have and the table that the kernel has."""

from ipaddress import ip_address
from typing import Any

from hagw.control.ports import Interception
from hagw.model.facts import Facts
from hagw.model.flow import FlowKey
from hagw.model.intent import CpeIntent
from hagw.model.snapshot import CpeSnapshot
from hagw.policy.decide import Policy
from hagw.policy.explain import explain


def explanation(
    snapshot: CpeSnapshot, flow: FlowKey, intent: CpeIntent, facts: Facts, interception: Interception
) -> dict[str, Any]:
    """Return the document of `hagw explain`."""
    return explain(Policy(snapshot), flow, not_intercepted(flow, intent, facts, interception))


def not_intercepted(flow: FlowKey, intent: CpeIntent, facts: Facts, interception: Interception) -> str | None:
    """Return why a TCP connection to this server would not be handed to a worker, None when it would."""
    server = ip_address(flow.server)
    near = next((prefix for prefix in facts.local_prefixes if server in prefix), None)
    if near is not None:
        return f"{near} is a network of this machine, which nothing here steers"
    bypassed = next((prefix for prefix in intent.bypass if server in prefix), None)
    if bypassed is not None:
        return f"{bypassed} is in bypass"
    if not (interception.ipv4 if server.version == 4 else interception.ipv6):
        return f"IPv{server.version} connections are not intercepted now"
    return None
