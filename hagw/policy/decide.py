"""The decision for one flow of a LAN host: converted over which uplinks, direct, or blocked; and why.

Pure: a `Policy` is compiled from one snapshot and answers until the next one. Only TCP is converted; everything
else is forwarded by the kernel, whose table `hagw.plan.steer` makes of the same rules: `forward` says what it does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from hagw.model.flow import TCP, FlowKey, protocol_name
from hagw.model.intent import RuleIntent
from hagw.model.snapshot import CpeSnapshot, GatewayView, UplinkView
from hagw.policy import quic
from hagw.policy.gateways import Gateways, hindrance
from hagw.policy.index import RuleIndex
from hagw.policy.modes import redundant
from hagw.policy.modes.plan import BOND, TIERED, SteerPlan, plan, plan_sending

FlowPath = Literal["converted", "direct", "blocked"]
DEFAULT_RULE = "default"


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to a flow. `uplinks` are slots, best first: the first carries the initial subflow.

    `plan` says which of them a converted connection uses, and which stand by; `sending` likewise for one that turns out
    to send much more than it receives, None = the same. `rival` is the plan of a second request at the same time.
    """

    path: FlowPath
    gateway: GatewayView | None
    uplinks: tuple[int, ...]
    rule: str
    mode: str
    why: str
    plan: SteerPlan = BOND
    sending: SteerPlan | None = None
    rival: SteerPlan | None = None

    @property
    def ways(self) -> tuple[tuple[tuple[int, ...], SteerPlan], ...]:
        """The connections that a flow asks over at once: lines, best first, and how they are used."""
        own = (self.uplinks, self.plan)
        return (own,) if self.rival is None else (own, (self.rival.slots, self.rival))


class Rules:
    """A snapshot's rules that are awake, in order of precedence, with their index: what is costly to compile."""

    def __init__(self, rules: tuple[RuleIntent, ...] = (), asleep: tuple[str, ...] = ()) -> None:
        self._source = (rules, asleep)
        self.every = tuple(sorted(rules, key=lambda rule: rule.precedence))
        self.asleep = frozenset(asleep)
        self.awake = tuple(rule for rule in self.every if rule.name not in self.asleep)
        self.index = RuleIndex(self.awake)

    def of(self, snapshot: CpeSnapshot) -> "Rules":
        """Return the rules of a snapshot: these, if they are the same."""
        wanted = (snapshot.rules, snapshot.asleep)
        return self if wanted == self._source else Rules(*wanted)


class Policy:
    """The rules of one snapshot with what is known of lines and gateways; first match wins."""

    def __init__(self, snapshot: CpeSnapshot, rules: Rules | None = None) -> None:
        self.rules = (rules or Rules()).of(snapshot)
        self.uplinks = tuple(sorted((u for u in snapshot.uplinks if u.state != "disabled"), key=_preference))
        self.every_uplink = snapshot.uplinks
        self.gateways = snapshot.gateways
        self.pool = Gateways(snapshot.gateways)
        self._default = self._steer(None)
        self._by_rule = tuple(self._steer(rule) for rule in self.rules.awake)

    def decide(self, flow: FlowKey) -> Decision:
        """Return the decision for a new flow."""
        if flow.protocol != TCP:
            return self.forward(flow)
        number = self.rules.index.first(flow) if self._by_rule else None
        steered = self._default if number is None else self._by_rule[number]
        if steered.gateway is None or len(self.pool.all) == 1:
            return steered
        return replace(steered, gateway=self.pool.choose(flow.client, flow.server))

    def forward(self, flow: FlowKey, *, intercepts: bool = True) -> Decision:
        """Return what the kernel does with a flow that is forwarded: not TCP, or not intercepted.

        `intercepts` says whether TCP to this server would be handed to a worker.
        """
        number = self.rules.index.first(as_forwarded(flow)) if self.rules.awake else None
        rule = None if number is None else self.rules.awake[number]
        if quic.is_quic(flow):
            refused = self._refuse(rule, intercepts=intercepts)
            if refused is not None:
                return refused
        return self._forward(flow, rule)

    def depends_on_name(self, flow: FlowKey) -> bool:
        """Say whether the server's name could change the decision."""
        return self.rules.index.needs_names and self.rules.index.depends_on_name(flow)

    def steered(self) -> tuple[Decision, ...]:
        """Return every decision this policy can come to for TCP, with one gateway of the pool each."""
        return (*self._by_rule, self._default)

    def _steer(self, rule: RuleIntent | None) -> Decision:
        name = rule.name if rule else DEFAULT_RULE
        wish = plan(rule, self.uplinks)
        mode = wish.mode
        # Lines that work come first, then the more preferred ones of the rule; sorting is stable.
        able = sorted((u for u in self.uplinks if u.slot in wish.slots), key=lambda u: _place(u, wish))
        allowed = tuple(u.slot for u in able)
        if mode == "block":
            return Decision("blocked", None, (), name, mode, f"rule {name} blocks it")
        if mode == "direct":
            return Decision("direct", None, allowed, name, mode, f"rule {name} sends it direct")
        gateway = next(iter(self.pool.all), None)
        if gateway is None:
            reason = "; ".join(dict.fromkeys(hindrance(g) for g in self.gateways)) or "none is configured"
            return Decision("direct", None, allowed, name, mode, f"no gateway is reachable: {reason}")
        why = f"rule {name} {_purpose(wish, {u.slot: u.name for u in able})}"
        sending = plan_sending(rule, self.uplinks)
        if sending is not None:
            why += f"; while it mostly sends, it {_purpose(sending, {u.slot: u.name for u in self.uplinks})}"
        return Decision("converted", gateway, allowed, name, mode, why, wish, sending, redundant.rival(wish, able))

    def _refuse(self, rule: RuleIntent | None, *, intercepts: bool) -> Decision | None:
        """Return the decision where a rule has QUIC refused."""
        name = rule.name if rule else DEFAULT_RULE
        match quic.refusal(rule, [u.name for u in self.uplinks]):
            case "always":
                return Decision(
                    "blocked", None, (), name, "block", f"rule {name} refuses QUIC, so that the host takes TCP"
                )
            case "while TCP is intercepted" if intercepts:
                why = f"QUIC is refused, so that the host takes TCP, which rule {name} bonds"
                return Decision("blocked", None, (), name, "block", why)
            case _:
                return None

    def _forward(self, flow: FlowKey, rule: RuleIntent | None) -> Decision:
        name, mode = (rule.name, rule.mode) if rule else (DEFAULT_RULE, "load-balancing")
        if rule is not None and rule.mode == "block":
            return Decision("blocked", None, (), name, mode, f"rule {name} blocks it")
        usable = forwarding(self.every_uplink, ipv6=":" in flow.server)
        allowed = tuple(u for u in usable if not rule or not rule.uplinks or u.name in rule.uplinks)
        if rule is not None and rule.mode in TIERED and rule.uplinks:
            allowed = tuple(sorted(allowed, key=lambda u: (u.state == "suspect", rule.uplinks.index(u.name))))
        slots = tuple(u.slot for u in allowed)
        if allowed:
            what = "what is not intercepted" if flow.protocol == TCP else protocol_name(flow.protocol)
            why = f"{what} is forwarded; rule {name} has it over {allowed[0].name}"
            return Decision("direct", None, slots, name, mode, why)
        if rule is not None and rule.uplinks:
            why = f"rule {name} has it over {', '.join(rule.uplinks)} only, which cannot carry it now"
            return Decision("blocked", None, (), name, mode, why)
        return Decision("direct", None, (), name, mode, "no line can carry it; the main routing table decides")


def as_forwarded(flow: FlowKey) -> FlowKey:
    """Return a flow as the kernel knows it: it reads no first bytes, only what DNS answers told of the address."""
    if flow.domain_source in ("dns", "given"):
        return flow
    return replace(flow, domain=None, domain_source="none", others=())


def forwarding(uplinks: tuple[UplinkView, ...], *, ipv6: bool) -> tuple[UplinkView, ...]:
    """Return the lines that can carry forwarded flows of a family, best first: as `hagw.plan.ranking` has them."""
    able = (u for u in uplinks if u.state in ("up", "suspect") and (u.address6 if ipv6 else u.address4) is not None)
    return tuple(sorted(able, key=lambda u: (u.state == "suspect", u.cap != "normal", u.cost, u.metered)))


def _purpose(wish: SteerPlan, names: Mapping[int, str]) -> str:
    """Say in words what a plan does with its lines."""
    lists = [", ".join(names[slot] for slot in tier) for tier in wish.tiers]
    match wish.mode:
        case "active-standby":
            return f"keeps to {''.join(lists[:1])}; in reserve: {', then '.join(lists[1:])}"
        case "redundant":
            return f"asks over {' and '.join(lists[:2])} at once; who answers first carries it"
        case "smallest-delay":
            return f"keeps to the quickest of {', '.join(name for slot, name in names.items() if slot in wish.slots)}"
        case "priority-based":
            return f"fills {', then '.join(lists)}"
        case "load-balancing" if wish.weights:
            return f"splits by bytes: {', '.join(f'{percent} % {names[slot]}' for slot, percent in wish.weights)}"
        case _:
            return f"bonds {', '.join(name for slot, name in names.items() if slot in wish.slots)}"


def _place(uplink: UplinkView, wish: SteerPlan) -> tuple[bool, int, float]:
    rtt = 0.0 if wish.mode != "smallest-delay" else 1e9 if uplink.rtt_ms is None else uplink.rtt_ms
    return uplink.state != "up", wish.rank(uplink.slot), rtt


def _preference(uplink: UplinkView) -> tuple[bool, bool, int, bool, float]:
    """Sort key: healthy, not spared by a data cap, cheap, unmetered, quick when unloaded.

    Equal ones stay in the order of the file. Not the smoothed round trip: it holds our own queues; after a transfer,
    when nobody asks, it keeps them.
    """
    rtt = next((rtt for rtt in (uplink.rtt_floor_ms, uplink.rtt_ms) if rtt is not None), 1e9)
    return uplink.state != "up", uplink.cap != "normal", uplink.cost, uplink.metered, rtt
