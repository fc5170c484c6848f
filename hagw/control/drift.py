"""What others did to our state in the kernel, counted: how often it was put right, what was lost, the latest case."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from hagw.model.resources import (
    Address,
    LinkSetting,
    MptcpLimits,
    NftTable,
    Plan,
    Put,
    Resource,
    Route,
    Rule,
    Sysctl,
)
from hagw.plan.diff import describe

_LAST_MAX: Final = 8  # repairs named of the latest case
_KINDS: Final[dict[type, str]] = {
    NftTable: "table",
    Route: "routes",
    Rule: "rules",
    Sysctl: "sysctls",
    MptcpLimits: "limits",
    Address: "addresses",
    LinkSetting: "links",
}
KINDS: Final = tuple(_KINDS.values())


@dataclass(frozen=True, slots=True)
class Repair:
    """One case: when (seconds since 1970), what was done, and how long it took."""

    at: float
    steps: tuple[str, ...]
    took_ms: float


@dataclass(frozen=True, slots=True)
class Drift:
    """All cases since the daemon started. `lost` counts what was gone or changed, by kind."""

    repairs: int = 0
    lost: tuple[int, ...] = (0,) * len(KINDS)
    last: Repair | None = None

    def repaired(self, plan: Plan, at: float, took_ms: float) -> "Drift":
        """Return the account with one more case."""
        lost = _count(step.resource for step in plan if isinstance(step, Put))
        steps = tuple(describe(step) for step in plan)
        named = steps if len(steps) <= _LAST_MAX else (*steps[:_LAST_MAX], f"and {len(steps) - _LAST_MAX} more")
        return replace(
            self,
            repairs=self.repairs + 1,
            lost=tuple(before + more for before, more in zip(self.lost, lost, strict=True)),
            last=Repair(at, named, round(took_ms, 1)),
        )


def _count(resources: Iterable[Resource]) -> list[int]:
    found = [_KINDS[type(resource)] for resource in resources]
    return [found.count(kind) for kind in KINDS]
