"""The rules for flows that the kernel forwards: everything but TCP, and TCP that is not intercepted.

Chain `steer` holds one rule of the table for each rule of the owner's, alternative (signature of an application) and
family, in the same order; the first that matches ends it, as in `hagw.policy`. It is asked once a flow: conntrack
remembers the line. Rules that need a server's name look its address up in a set of `plan/named.py`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from ipaddress import collapse_addresses
from typing import Any, Final

from hagw.model.flow import UDP, WITH_PORTS
from hagw.model.ids import uplink_mark
from hagw.model.intent import IPNetwork, RuleIntent, UplinkIntent
from hagw.model.resources import Family
from hagw.plan.expressions import (
    ACCEPT,
    CT_MARK,
    META_MARK,
    Expression,
    Rule,
    count,
    differ,
    element,
    equal,
    meta,
    payload,
    set_mark,
)
from hagw.plan.named import set_of
from hagw.policy import quic
from hagw.policy.applications import Signature
from hagw.policy.cover import merge
from hagw.policy.index import signatures
from hagw.policy.modes.plan import TIERED

COUNTERS: Final = ("blocked", "stranded", "quic_refused")

Usable = Mapping[Family, Sequence[UplinkIntent]]
_PROTOCOLS: Final[tuple[tuple[Family, str], ...]] = ((4, "ipv4"), (6, "ipv6"))


def steer(
    rules: Iterable[RuleIntent],
    usable: Usable,
    healthy: Collection[str],
    lines: Collection[str] = (),
    intercepted: Collection[Family] = (),
) -> list[Rule]:
    """Return the chain's rules. `usable` are the lines that can carry a family, best first; `healthy` ones are up.

    What is done with QUIC depends on the `lines` that exist and on the families whose TCP is `intercepted`.
    """
    chain: list[Rule] = []
    for rule in rules:
        refusal = quic.refusal(rule, lines)
        for signature in signatures(rule.traffic):
            for family, protocol in _PROTOCOLS:
                matches = _matches(rule, signature, family)
                if matches is None:
                    continue
                fitting = [equal(meta("nfproto"), protocol), *matches]
                if quic.can_fit(rule.traffic, signature):
                    chain += _refuse(refusal, fitting, family, intercepted)
                chain.append([*fitting, *_verdict(rule, usable[family], healthy)])
    for family, protocol in _PROTOCOLS:
        chain += _refuse(quic.refusal(None, lines), [equal(meta("nfproto"), protocol)], family, intercepted)
        if usable[family]:  # else the main table decides, as without us
            chain.append([equal(meta("nfproto"), protocol), *pin(uplink_mark(usable[family][0].slot), "pinned")])
    return chain


def pin(mark: int, counter: str) -> Rule:
    """Bind a flow to what the mark says, for all its life."""
    return [set_mark(CT_MARK, mark), set_mark(META_MARK, mark), count(counter), ACCEPT]


def _verdict(rule: RuleIntent, usable: Sequence[UplinkIntent], healthy: Collection[str]) -> Rule:
    if rule.mode == "block":
        return [count("blocked"), _reject("admin-prohibited")]
    allowed = [uplink for uplink in usable if not rule.uplinks or uplink.name in rule.uplinks]
    if rule.mode in TIERED and rule.uplinks:
        allowed.sort(key=lambda uplink: (uplink.name not in healthy, rule.uplinks.index(uplink.name)))
    if allowed:
        return pin(uplink_mark(allowed[0].slot), "pinned")
    if rule.uplinks:
        return [count("stranded"), _reject("no-route")]
    return [{"return": None}]


def _refuse(refusal: quic.Refusal, fitting: Rule, family: Family, intercepted: Collection[Family]) -> list[Rule]:
    """Return the rule that answers QUIC, of what fits, as a closed port would: a browser gives up on that at once."""
    of_quic = [*fitting, equal(meta("l4proto"), UDP), equal(payload("th", "dport"), quic.PORT)]
    verdict = [count("quic_refused"), _reject("port-unreachable")]
    match refusal:
        case "always":
            return [[*of_quic, *verdict]]
        case "while TCP is intercepted" if family in intercepted:
            bypassed = differ(payload("ip" if family == 4 else "ip6", "daddr"), f"@bypass{family}")
            return [[*of_quic, bypassed, *verdict]]
        case _:
            return []


def _matches(rule: RuleIntent, signature: Signature, family: Family) -> Rule | None:
    """Return what a packet must be, None where no packet of the family can be it."""
    traffic = rule.traffic
    ip = "ip" if family == 4 else "ip6"
    found: Rule = []
    for field, prefixes in (("saddr", traffic.sources), ("daddr", traffic.destinations)):
        own = [prefix for prefix in prefixes if prefix.version == family]
        if prefixes and not own:
            return None
        if own:
            found.append(_any_of(payload(ip, field), _collapsed(own)))
    if traffic.interfaces:
        found.append(_any_of(meta("iifname"), sorted(set(traffic.interfaces))))
    if traffic.macs:
        found.append(_any_of(payload("ether", "saddr"), sorted(set(traffic.macs))))
    if traffic.dscps:
        found.append(_any_of(payload(ip, "dscp"), sorted(set(traffic.dscps))))
    wanted = [set(own) for own in (traffic.protocols, signature.protocols) if own]
    ports = [own for own in (traffic.destination_ports, signature.ports) if own]
    if ports:  # the same place in the header of another protocol means something else
        wanted.append(set(WITH_PORTS))
    if wanted:
        protocols = set.intersection(*wanted)
        if not protocols:
            return None
        found.append(_any_of(meta("l4proto"), sorted(protocols)))
    found += [_any_of(payload("th", "dport"), [_range(low, high) for low, high in merge(own)]) for own in ports]
    named = set_of(traffic, signature, family)
    if named is not None:
        found.append(equal(payload(ip, "daddr"), f"@{named}"))
    return found


def _any_of(left: Expression, values: list[Any]) -> Expression:
    return equal(left, values[0] if len(values) == 1 else {"set": values})


def _range(low: int, high: int) -> Any:
    return low if low == high else {"range": [low, high]}


def _collapsed(prefixes: list[IPNetwork]) -> list[Any]:
    return [element(prefix) for prefix in collapse_addresses(prefixes)]  # type: ignore[type-var]  # of one family


def _reject(reason: str) -> Expression:
    return {"reject": {"type": "icmpx", "expr": reason}}
