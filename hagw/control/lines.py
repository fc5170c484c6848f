"""What workers and prober know of the lines, put together: Multipath TCP on each, capacities, the volume of it all.

Workers say it with every pong, the daemon tells each what the others found out in the next snapshot.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from hagw.control.workers import WorkerReport
from hagw.model.health import MptcpHealth
from hagw.model.snapshot import LearnedView

_COUNTS: Final = ("capable_ok", "capable_failed", "joins_ok", "joins_failed", "joins_lost")
_OWN: Final = "prober"
_LEARNED: Final = tuple(field.name for field in fields(LearnedView))


@dataclass(frozen=True, slots=True)
class Spent:
    """What hagw has spent on `day`, in bytes by uplink; `told` are the totals of each worker that are in it."""

    day: str = ""
    bytes: Mapping[str, int] = field(default_factory=dict)
    told: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


class Lines:
    """What is known now, by uplink; `take` brings it up to date."""

    def __init__(self) -> None:
        self.mptcp: Mapping[str, MptcpHealth] = {}
        self.learned: tuple[LearnedView, ...] = ()
        self.probe_bytes: dict[str, int] = {}  # since midnight
        self.kept_off: dict[str, int] = {}  # since the daemon started
        self._day = ""
        self._kept: dict[tuple[str, str], int] = {}
        self._seen: dict[tuple[str, str], int] = {}  # by source and uplink: what it said last

    def take(self, workers: Iterable[WorkerReport], own_bytes: Mapping[str, int], day: str) -> None:
        """Take what everybody says now; `own_bytes` are the prober's totals, `day` names the present day."""
        stats = {f"worker {worker.index}": worker.stats for worker in workers}
        self.mptcp = _mptcp(stats.values())
        self.learned = _learned(stats.values())
        if day != self._day:
            self._day = day
            self.probe_bytes = dict.fromkeys(self.probe_bytes, 0)
        _add(self.probe_bytes, self._seen, _OWN, own_bytes)
        for source, said in stats.items():
            if said:  # a worker that is away says nothing; it starts from zero when it is back
                _add(self.probe_bytes, self._seen, source, _mapping(said.get("upkeep_bytes")))
                _add(self.kept_off, self._kept, source, _mapping(said.get("kept_off_bytes")))

    def spent(self) -> Spent:
        """Return what the next daemon has to know to go on counting."""
        told: dict[str, dict[str, int]] = {}
        for (source, uplink), total in self._seen.items():
            if source != _OWN:  # the next prober begins at zero
                told.setdefault(source, {})[uplink] = total
        return Spent(self._day, dict(self.probe_bytes), told)

    def resume(self, spent: Spent) -> None:
        """Go on from what a daemon before counted; the next `take` begins anew if the day is over."""
        self._day = spent.day
        self.probe_bytes = dict(spent.bytes)
        self._seen = {(source, up): total for source, totals in spent.told.items() for up, total in totals.items()}


def _add(sums: dict[str, int], seen: dict[tuple[str, str], int], source: str, totals: Mapping[str, Any]) -> None:
    """Add what a source's totals have grown by since they were `seen` last."""
    for uplink, total in totals.items():
        if not isinstance(total, int):
            continue
        before = seen.get((source, uplink), 0)
        seen[source, uplink] = total
        sums[uplink] = sums.get(uplink, 0) + (total - before if total >= before else total)


def _mptcp(stats: Iterable[Mapping[str, Any]]) -> dict[str, MptcpHealth]:
    """Add up the workers' counts; the verdict is that of the newest evidence."""
    found: dict[str, MptcpHealth] = {}
    for said in stats:
        for uplink, one in _mapping(said.get("mptcp")).items():
            if not isinstance(one, dict) or one.get("state") not in ("unknown", "ok", "stripped", "join-stripped"):
                continue
            other = found.get(uplink, MptcpHealth())
            at = one.get("at")
            newer = isinstance(at, (int, float)) and (other.at is None or at > other.at)
            found[uplink] = MptcpHealth(
                state=one["state"] if newer else other.state,
                reason=str(one.get("reason", "")) if newer else other.reason,
                at=float(at) if newer and at is not None else other.at,
                **{name: getattr(other, name) + _count(one.get(name)) for name in _COUNTS},
            )
    return found


def _learned(stats: Iterable[Mapping[str, Any]]) -> tuple[LearnedView, ...]:
    """Keep the newest word on each line and direction: what it carries, and whether it holds connections up."""
    newest: dict[tuple[str, str], LearnedView] = {}
    for said in stats:
        for one in said.get("learned") or ():
            if not isinstance(one, dict) or not set(_LEARNED) <= set(one):
                continue
            view = LearnedView(**{name: one[name] for name in _LEARNED})
            other = newest.get((view.uplink, view.direction))
            newest[view.uplink, view.direction] = view if other is None else view.merged(other)
    return tuple(newest[key] for key in sorted(newest))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0
