"""How a rule wants its connections carried, in slots: the same whatever lines happen to be up."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

from hagw.model.intent import RuleIntent, SteeringMode
from hagw.model.snapshot import UplinkView

TIERED: Final[frozenset[SteeringMode]] = frozenset(("active-standby", "priority-based", "redundant"))
DEFAULT_MODE: Final[SteeringMode] = "load-balancing"


@dataclass(frozen=True, slots=True)
class SteerPlan:
    """`tiers` are slots, the most preferred lines first; lines of one tier are used together.

    `cold` lines in reserve have no subflow at all until they are needed. `weights` are percent by slot.
    """

    mode: SteeringMode = DEFAULT_MODE
    tiers: tuple[tuple[int, ...], ...] = ()
    cold: bool = False
    weights: tuple[tuple[int, int], ...] = ()

    @property
    def slots(self) -> tuple[int, ...]:
        """Every line that may be used, the most preferred ones first."""
        return tuple(slot for tier in self.tiers for slot in tier)

    def rank(self, slot: int) -> int:
        """Return the number of the line's tier, 0 is used first."""
        return next((number for number, tier in enumerate(self.tiers) if slot in tier), len(self.tiers))

    def reserve(self, usable: Collection[int]) -> frozenset[int]:
        """Return the lines that stand by while nothing more is known: those behind the first tier with a usable one."""
        if self.mode not in TIERED:
            return frozenset()
        first = next((number for number, tier in enumerate(self.tiers) if any(slot in usable for slot in tier)), 0)
        return frozenset(slot for tier in self.tiers[first + 1 :] for slot in tier)


BOND: Final = SteerPlan()


def plan(rule: RuleIntent | None, uplinks: Sequence[UplinkView]) -> SteerPlan:
    """Return a rule's plan; None = the default. `uplinks` are all that are enabled."""
    mode = rule.mode if rule else DEFAULT_MODE
    allowed = [u for u in uplinks if not rule or not rule.uplinks or u.name in rule.uplinks]
    if mode not in TIERED:
        weights = {} if rule is None else dict(zip(rule.uplinks, rule.weights, strict=False))
        by_slot = sorted((u.slot, weights[u.name]) for u in allowed if u.name in weights)
        return SteerPlan(mode, (tuple(sorted(u.slot for u in allowed)),), weights=tuple(by_slot))
    cold = rule is not None and rule.standby == "cold"
    if rule is not None and rule.uplinks:
        order = sorted(allowed, key=lambda u: rule.uplinks.index(u.name))
        return SteerPlan(mode, tuple((u.slot,) for u in order), cold)
    order = sorted(allowed, key=_price)
    return SteerPlan(mode, tuple(tuple(u.slot for u in tier) for _, tier in groupby(order, key=_price)), cold)


def plan_sending(rule: RuleIntent | None, uplinks: Sequence[UplinkView]) -> SteerPlan | None:
    """Return a rule's plan for flows that mostly send, None where it is the same as for the others."""
    if rule is None or rule.sending is None:
        return None
    return plan(replace(rule, mode=rule.sending.mode, uplinks=rule.sending.uplinks, weights=()), uplinks)


def _price(uplink: UplinkView) -> tuple[int, bool]:
    return uplink.cost, uplink.metered
