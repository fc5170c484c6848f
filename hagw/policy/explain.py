"""Why a flow takes the way it takes: rules, lines and gateways one by one, as a document and as text.

`explain` judges a flow that need not exist; `flow_text` tells of one that does. The command line, the API and the UI
show the same lines.
"""

from collections.abc import Iterator
from typing import Any

from hagw.model.flow import TCP, FlowKey, protocol_name
from hagw.model.intent import RuleIntent
from hagw.model.snapshot import UplinkView
from hagw.policy.decide import DEFAULT_RULE, Decision, Policy, as_forwarded
from hagw.policy.gateways import hindrance
from hagw.policy.match import mismatch
from hagw.policy.schedule import describe

Document = dict[str, Any]
_ARRIVED = "arrived"  # what of a flow is asked for its judgement only
SCHEMA = 1
HIDDEN = "another one, not shown here"


def explain(policy: Policy, flow: FlowKey, not_intercepted: str | None = None) -> Document:
    """Return the document of `hagw explain`. `not_intercepted` says why TCP to it is not even looked at, if so."""
    is_forwarded = flow.protocol != TCP or not_intercepted is not None
    decision = policy.forward(flow, intercepts=not_intercepted is None) if is_forwarded else policy.decide(flow)
    judged = as_forwarded(flow) if is_forwarded else flow
    rule = next((rule for rule in policy.rules.awake if rule.name == decision.rule), None)
    document = {
        "schema": SCHEMA,
        "flow": {
            **_fields(flow),
            "protocol": protocol_name(flow.protocol),
            "domain_confidence": confidence(flow.domain_source),
        },
        "path": decision.path,
        "rule": decision.rule,
        "mode": decision.mode,
        "why": f"{not_intercepted}; {decision.why}" if not_intercepted and flow.protocol == TCP else decision.why,
        "gateway": None if decision.gateway is None else decision.gateway.name,
        "rules": list(_rules(policy, judged, decision)),
        "uplinks": [_uplink(uplink, decision, rule, flow, is_forwarded) for uplink in policy.every_uplink],
        "gateways": list(_gateways(policy, decision, is_forwarded)),
        "notes": list(_notes(policy, flow, is_forwarded)),
    }
    return {**document, "text": list(_text(document))}


def unnamed(document: Document) -> Document:
    """Return an explanation that does not tell the server's name where only DNS told it; rules are judged by it still.

    For where names are not wanted (`history.domains: false`): a name that came with the question stays.
    """
    flow = document["flow"]
    if flow["domain_source"] != "dns":
        return document
    by_name = ("domain", "application")
    rules = [
        {**rule, "found": HIDDEN} if rule["descriptor"] in by_name and rule["found"] is not None else rule
        for rule in document["rules"]
    ]
    nameless = {**flow, "domain": None, "domain_source": "none", "domain_confidence": None, "others": ()}
    told = {**document, "flow": nameless, "rules": rules}
    return {**told, "text": list(_text(told))}


def confidence(source: str) -> str | None:
    """Return how sure a server's name is: "high" where this very flow told it, None where there is none."""
    return _CONFIDENCE.get(source)


def flow_document(flow: Document, judged: Document | None = None) -> Document:
    """Return what the API tells of a live or recent flow; `flow` is its entry with its timeline.

    `judged` is what `explain` says of it now: every rule and line with its reason. None where nothing is decided.
    """
    told = {name: value for name, value in flow.items() if name != _ARRIVED}
    told["domain_confidence"] = confidence(flow.get("domain_source") or "none")
    timeline = flow.get("timeline") or [None]
    return {"schema": SCHEMA, "flow": {**told, "last_change": timeline[-1]}, "text": flow_text(flow, judged)}


def flow_key(flow: Document) -> FlowKey:
    """Return a live or recent flow as the policy judged it."""
    ends: Document = {name: flow[name] for name in ("client", "client_port", "server", "server_port")}
    named: Document = {"domain": flow.get("domain"), "domain_source": flow.get("domain_source") or "none"}
    return FlowKey(**ends, **named, **flow.get(_ARRIVED, {}))


def flow_text(flow: Document, judged: Document | None = None) -> list[str]:
    """Return what is known of a live or recent flow, line by line; `flow` is its entry with its timeline."""
    anew = [] if judged is None else ["Judged now, by the rules and lines of this moment:", *judged["text"][1:]]
    return [*_flow_text(flow), *anew]


def _fields(flow: FlowKey) -> Document:
    return {name: getattr(flow, name) for name in FlowKey.__slots__}


def _rules(policy: Policy, flow: FlowKey, decision: Decision) -> Iterator[Document]:
    is_decided = False
    for rule in policy.rules.every:
        entry: Document = {"name": rule.name, "precedence": rule.precedence, "descriptor": None, "wanted": None}
        failed = mismatch(rule.traffic, flow, is_asleep=rule.name in policy.rules.asleep)
        if is_decided:
            yield {**entry, "result": "not reached", "found": None}
        elif failed is not None:
            found = {"descriptor": failed.descriptor, "wanted": failed.wanted, "found": failed.found}
            yield {**entry, **found, "result": "no match"}
        else:
            is_decided = True
            yield {**entry, "result": "match", "found": None}
    result = "not reached" if is_decided else "match"
    yield {
        "name": DEFAULT_RULE,
        "precedence": None,
        "descriptor": None,
        "wanted": None,
        "result": result,
        "found": None,
    }


def _uplink(
    uplink: UplinkView, decision: Decision, rule: RuleIntent | None, flow: FlowKey, is_forwarded: bool
) -> Document:
    use, reason = _use(uplink, decision, rule, ipv6=":" in flow.server, is_forwarded=is_forwarded)
    costs = {"cost": uplink.cost, "metered": uplink.metered}
    return {"name": uplink.name, "state": uplink.state, "use": use, "reason": reason, **costs}


def _use(
    uplink: UplinkView, decision: Decision, rule: RuleIntent | None, *, ipv6: bool, is_forwarded: bool
) -> tuple[str, str]:
    """Return how an uplink is used (first, used, spare, no), and why so."""
    unwell = f"{uplink.state}: {uplink.reason}" if uplink.reason else uplink.state
    if uplink.state == "disabled":
        return "no", "disabled in the configuration"
    if decision.mode == "block":
        return "no", "the flow is blocked"
    if rule is not None and rule.uplinks and uplink.name not in rule.uplinks:
        return "no", f"rule {rule.name} allows {', '.join(rule.uplinks)} only"
    if is_forwarded and (uplink.address6 if ipv6 else uplink.address4) is None:
        return "no", f"it has no way for {'IPv6' if ipv6 else 'IPv4'}"
    if uplink.state == "down" or (uplink.state == "suspect" and not is_forwarded):
        return "no", f"allowed, but {unwell}"
    if decision.uplinks[:1] == (uplink.slot,):
        return "first", "the flow's line" if decision.path == "direct" else "carries the first subflow"
    if uplink.slot not in decision.uplinks:
        return "no", unwell
    if decision.path == "direct":
        return "spare", "taken if the one before it fails"
    if decision.mode == "smallest-delay":
        return "spare", "stands by: another one is quicker"
    if decision.plan.rank(uplink.slot) > decision.plan.rank(decision.uplinks[0]):
        if decision.rival is not None and uplink.slot == decision.rival.slots[0]:
            return "used", "is asked over at the same time; the first answer wins"
        full = "are full" if decision.mode == "priority-based" else "fail"
        return "spare", f"stands by until those before it {full}"
    return "used", "carries a further subflow"


def _gateways(policy: Policy, decision: Decision, is_forwarded: bool) -> Iterator[Document]:
    for gateway in policy.gateways:
        if decision.gateway is not None and decision.gateway.name == gateway.name:
            reason = "the only one that takes flows" if len(policy.pool.all) == 1 else "chosen for these two addresses"
        elif is_forwarded or decision.path == "blocked" or decision.mode == "direct":
            reason = "not asked: the flow is not converted"
        elif gateway.reach == "down":
            reason = f"down: {gateway.reason}"
        elif why := hindrance(gateway):
            reason = why
        else:
            reason = "another one is chosen for these two addresses"
        yield {"name": gateway.name, "reach": gateway.reach, "reason": reason}


def _notes(policy: Policy, flow: FlowKey, is_forwarded: bool) -> Iterator[str]:
    named = flow.domain is not None
    if is_forwarded and policy.rules.index.needs_names:
        if not named:
            yield "No DNS answer seen on the LAN told a name of this server: rules that need one do not fit."
        elif flow.domain_source == "given":
            yield "The kernel forwards this flow: it knows the name only from DNS answers seen on the LAN."
    elif not is_forwarded and not named and policy.depends_on_name(flow):
        yield "The server's name could change this: the host's first bytes are waited for. Try --domain."
    sleeping = [rule for rule in policy.rules.every if rule.name in policy.rules.asleep]
    for rule in sleeping:
        yield f"Rule {rule.name} sleeps now: {', '.join(describe(window) for window in rule.traffic.times)}."


# --- text


def _text(document: Document) -> Iterator[str]:
    flow = document["flow"]
    yield f"{_end(flow, 'client')} -> {_end(flow, 'server')} {flow['protocol']}{_named(flow)}"
    yield f"{document['path']}: {document['why']}"
    yield "Rules:"
    for rule in document["rules"]:
        number = "" if rule["precedence"] is None else f" ({rule['precedence']})"
        yield f"  {_MARKS[rule['result']]} {rule['name']}{number}{_because(rule)}"
    yield "Lines:"
    for uplink in document["uplinks"]:
        yield f"  {'-' if uplink['use'] == 'no' else '+'} {uplink['name']}: {uplink['reason']}"
    if document["gateways"]:
        yield "Gateways:"
    for gateway in document["gateways"]:
        yield f"  {'+' if gateway['name'] == document['gateway'] else '-'} {gateway['name']}: {gateway['reason']}"
    yield from document["notes"]


_CONFIDENCE = {"sni": "high", "host": "high", "dns": "low"}
_MARKS = {"match": "+", "no match": "-", "not reached": "."}


def _because(rule: Document) -> str:
    match rule["result"]:
        case "match":
            return ": matches"
        case "no match":
            found = "not known" if rule["found"] is None else rule["found"]
            return f": {rule['descriptor']} is {found}, not {rule['wanted']}"
        case _:
            return ": not reached"


def _flow_text(flow: Document) -> Iterator[str]:
    yield f"Flow {flow['id']}: {_end(flow, 'client')} -> {_end(flow, 'server')}{_named(flow)}"
    over = f" over {flow['gateway']}" if flow.get("gateway") else ""
    yield f"{flow['path']}{over}, {flow['state']}: {flow['why']}"
    yield f"Rule {flow['rule']}, mode {flow['mode']}. {flow['bytes_down']} bytes down, {flow['bytes_up']} bytes up:"
    for name, carried in flow["by_uplink"].items():
        yield f"  {name}: {carried['down']} down, {carried['up']} up{_cost(flow, name)}"
    for name, size in (flow.get("kept_off") or {}).items():
        yield f"  {name}: {size} kept off it"
    if flow.get("subflows"):
        yield "Subflows now:"
    for subflow in flow.get("subflows") or ():
        rtt = "" if subflow["rtt_ms"] is None else f", RTT {subflow['rtt_ms']:.0f} ms"
        yield f"  {subflow['uplink']}: {subflow['state']}{', backup' if subflow['backup'] else ''}{rtt}"
    if flow.get("timeline"):
        yield "What happened, in seconds since the flow began (a warm connection is older than its flow):"
    for event in flow.get("timeline") or ():
        reason = f": {event['reason']}" if event["reason"] else ""
        yield f"  {event['at_s']:+9.3f}  {event['uplink']} {event['event']}{reason}"

    if flow.get("timeline"):
        last = flow["timeline"][-1]
        yield f"Last change at {last['at_s']:+.3f} s: {last['uplink']} {last['event']}."


def _cost(flow: Document, name: str) -> str:
    found = (flow.get("costs") or {}).get(name)
    return "" if found is None else f" (cost {found['cost']}{', metered' if found['metered'] else ''})"


def _end(flow: Document, which: str) -> str:
    address, port = flow[which], flow.get(f"{which}_port")
    if not port:
        return str(address)
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _named(flow: Document) -> str:
    if not flow.get("domain"):
        return ""
    source = flow.get("domain_source") or "none"
    sure = confidence(source)
    how = "as given" if source == "given" else f"by {source}" + (f", confidence {sure}" if sure else "")
    return f" ({flow['domain']}, {how})"
