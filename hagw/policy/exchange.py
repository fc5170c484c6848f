"""Rules in the words of 3GPP (TS 29.512: SmPolicyDecision), for sets of rules that reduce to two accesses.

A rule is a PCC rule with one set of traffic control data; its lines are the 3GPP access and the non-3GPP access. What
these words cannot say is a mistake that names the rule, never left out: `hagw.policy.exchange_read` gives back the
same rules. What 29.512 says of a direction, hagw does for flows that mostly go that way (a rule's `sending`).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Final

from hagw.model.flow import WITH_PORTS
from hagw.model.intent import IPNetwork, RuleIntent, SteeringMode, TrafficDescriptor, UplinkIntent
from hagw.policy.modes.plan import TIERED

Json = dict[str, Any]

THREE_GPP: Final = "3GPP_ACCESS"
NON_THREE_GPP: Final = "NON_3GPP_ACCESS"
FUNCTIONALITY: Final = "MPTCP"
FLOWS_MAX: Final = 256
MODES: Final[dict[SteeringMode, str]] = {
    "load-balancing": "LOAD_BALANCING",
    "active-standby": "ACTIVE_STANDBY",
    "smallest-delay": "SMALLEST_DELAY",
    "priority-based": "PRIORITY_BASED",
    "redundant": "REDUNDANT",
}


@dataclass(frozen=True, slots=True)
class Unsaid:
    """What does not reduce: where (a rule's name, or a place in the document), and why not."""

    where: str
    why: str

    def __str__(self) -> str:
        """Return it as a line for people."""
        return f"{self.where}: {self.why}"


class NotReducible(ValueError):
    """Everything that does not fit, not the first of it only."""

    def __init__(self, found: Iterable[Unsaid]) -> None:
        self.found = tuple(found)
        super().__init__("\n".join(str(each) for each in self.found))


@dataclass(frozen=True, slots=True)
class Accesses:
    """Which line is which access."""

    three_gpp: str
    non_three_gpp: str

    @property
    def names(self) -> frozenset[str]:
        """The two lines."""
        return frozenset((self.three_gpp, self.non_three_gpp))

    def of(self, uplink: str) -> str:
        """Return the access that a line is."""
        return THREE_GPP if uplink == self.three_gpp else NON_THREE_GPP

    def line(self, access: object) -> str | None:
        """Return the line of an access, None where there is no such access."""
        return {THREE_GPP: self.three_gpp, NON_THREE_GPP: self.non_three_gpp}.get(str(access))


def accesses(
    uplinks: Iterable[UplinkIntent],
    rules: Iterable[RuleIntent] = (),
    three_gpp: str | None = None,
    non_three_gpp: str | None = None,
) -> Accesses:
    """Return the two accesses: as given, else the one line on a mobile network and the one that is on none.

    With more lines than two, those that the rules name count. Raises NotReducible.
    """
    known = {uplink.name: uplink for uplink in uplinks if uplink.enabled}
    given = [name for name in (three_gpp, non_three_gpp) if name is not None]
    strange = [Unsaid(name, f"no such line; there are: {', '.join(known)}") for name in given if name not in known]
    if strange:
        raise NotReducible(strange)
    named = {name for rule in rules for name in (*rule.uplinks, *(rule.sending.uplinks if rule.sending else ()))}
    asked = known if len(known) <= 2 or not named else {name: known[name] for name in known if name in named}
    mobile = [three_gpp] if three_gpp else [name for name in asked if asked[name].kind == "wwan" and name not in given]
    other = [non_three_gpp] if non_three_gpp else [n for n in asked if asked[n].kind != "wwan" and n not in given]
    if len(mobile) != 1 or len(other) != 1 or mobile == other:
        why = f"one mobile line and one other are wanted, there are {', '.join(asked) or 'none'}; say which is which"
        raise NotReducible([Unsaid("uplinks", why)])
    return Accesses(mobile[0], other[0])


def export_rules(rules: Iterable[RuleIntent], lines: Iterable[str], two: Accesses) -> Json:
    """Return the document. `lines` are the names of all enabled uplinks. Raises NotReducible with all that is not."""
    every = tuple(rules)
    mistakes = [Unsaid(f"rule {rule.name}", why) for rule in every for why in _unsaid(rule, frozenset(lines), two)]
    if mistakes:
        raise NotReducible(mistakes)
    return {
        "pccRules": {rule.name: _pcc_rule(rule) for rule in every},
        "traffContDecs": {rule.name: _traffic_control(rule, two) for rule in every},
    }


def plain_mode(rule: RuleIntent) -> RuleIntent:
    """Return the rule by which flows that mostly send are carried."""
    if rule.sending is None:
        return rule
    return replace(rule, mode=rule.sending.mode, uplinks=rule.sending.uplinks, weights=(), standby="warm", sending=None)


def _unsaid(rule: RuleIntent, lines: frozenset[str], two: Accesses) -> Iterator[str]:
    traffic = rule.traffic
    for name, values in (
        ("source_mac", traffic.macs),
        ("source_interface", traffic.interfaces),
        ("domain", traffic.domains),
        ("time", traffic.times),
    ):
        if values:
            yield f"traffic.{name} has no place in it"
    others = (traffic.sources, traffic.destinations, traffic.destination_ports, traffic.protocols, traffic.dscps)
    if traffic.applications and (len(traffic.applications) > 1 or any(others)):
        yield "traffic.application: one appId, and nothing else beside it"
    if len(list(_filters(traffic))) > FLOWS_MAX:
        yield f"traffic takes more than {FLOWS_MAX} filters"
    if traffic.destination_ports and any(each not in WITH_PORTS for each in traffic.protocols):
        yield "traffic.destination_port beside a protocol that has no ports"
    families = {prefix.version for prefix in (*traffic.sources, *traffic.destinations)}
    if traffic.sources and traffic.destinations and len(families) > 1:
        yield "traffic has prefixes of both families on both sides; make it two rules"
    if rule.quic is not None:
        yield "steering.quic has no place in it"
    if rule.mode == "direct":
        yield "direct is no steering mode of 3GPP"
    elif rule.mode != "block":
        for each in {rule, plain_mode(rule)}:
            yield from _unsaid_mode(each, lines, two)


def _unsaid_mode(rule: RuleIntent, lines: frozenset[str], two: Accesses) -> Iterator[str]:
    used = frozenset(rule.uplinks) or lines
    if not used <= two.names:
        yield f"it uses {', '.join(sorted(used - two.names))}, which is neither {two.three_gpp} nor {two.non_three_gpp}"
    elif len(used) == 1 and rule.mode != "load-balancing":
        yield f"{rule.mode} over one line"
    elif rule.mode in TIERED and not rule.uplinks:
        yield f"{rule.mode} by cost: name the lines in their order"
    if rule.mode == "active-standby" and rule.standby == "cold":
        yield "standby: cold has no place in it"


def _pcc_rule(rule: RuleIntent) -> Json:
    found: Json = {"pccRuleId": rule.name, "precedence": rule.precedence}
    if rule.traffic.applications:
        found["appId"] = rule.traffic.applications[0]
    else:
        found["flowInfos"] = list(_filters(rule.traffic))
    return {**found, "refTcData": [rule.name]}


def _filters(traffic: TrafficDescriptor) -> Iterator[Json]:
    """Yield an IPFilterRule (RFC 6733) for each protocol, source, destination and DSCP: one of them must fit.

    The UE is the LAN host. A filter describes packets towards it, and is meant for both directions.
    """
    ports = ",".join(str(low) if low == high else f"{low}-{high}" for low, high in traffic.destination_ports)
    for number, source, destination, dscp in product(
        traffic.protocols or (None,),
        traffic.sources or (None,),
        traffic.destinations or (None,),
        traffic.dscps or (None,),
    ):
        words = ("permit", "out", "ip" if number is None else str(number), "from", _prefix(destination), ports, "to")
        described = " ".join(word for word in (*words, _prefix(source)) if word)
        marked = {} if dscp is None else {"tosTrafficClass": f"{dscp << 2:02x}fc"}
        yield {"flowDescription": described, **marked, "flowDirection": "BIDIRECTIONAL"}


def _prefix(prefix: IPNetwork | None) -> str:
    return "any" if prefix is None else str(prefix)


def _traffic_control(rule: RuleIntent, two: Accesses) -> Json:
    if rule.mode == "block":
        return {"tcId": rule.name, "flowStatus": "DISABLED"}
    modes = {"steerModeUl": _steering(plain_mode(rule), two), "steerModeDl": _steering(rule, two)}
    return {"tcId": rule.name, "steerFun": FUNCTIONALITY, **modes}


def _steering(rule: RuleIntent, two: Accesses) -> Json:
    """Return a SteeringMode. One line alone is active-standby without a standby: there traffic waits for it."""
    places: dict[str, Callable[[], Json]] = {
        "load-balancing": lambda: _shares(rule, two),
        "active-standby": lambda: {"active": two.of(rule.uplinks[0]), "standby": two.of(rule.uplinks[1])},
        "priority-based": lambda: {"prioAcc": two.of(rule.uplinks[0])},
        "redundant": lambda: {"primary": two.of(rule.uplinks[0])},
    }
    if len(rule.uplinks) == 1:
        return {"steerModeValue": MODES["active-standby"], "active": two.of(rule.uplinks[0])}
    return {"steerModeValue": MODES[rule.mode], **places.get(rule.mode, dict)()}


def _shares(rule: RuleIntent, two: Accesses) -> Json:
    if not rule.weights:
        return {"steerModeInd": "AUTO_LOAD_BALANCE"}
    return {"3gLoad": dict(zip(rule.uplinks, rule.weights, strict=True))[two.three_gpp]}
