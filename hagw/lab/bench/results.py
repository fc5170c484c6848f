"""What a bench found, and the contract's JSON document of it. Values only."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from hagw.lab.bench.bulk import Timeline
from hagw.lab.bench.figures import Summary, by_run, summary, verdict
from hagw.lab.bench.scenario import PEERS, Case, Measure, Scenario, Target

HAGW: Final = "hagw"
BEST: Final = "best-line"
BEST_PEER: Final = "best-peer"
SUM: Final = "sum"
_LINE: Final = "line "


@dataclass(slots=True)
class Row:
    """What one system did in one case. `why_not` says why it was not measured, or what went wrong."""

    runs: list[float] = field(default_factory=list)
    why_not: str = ""
    proofs: list[str] = field(default_factory=list)
    unproven: int = 0  # runs whose bytes did not pass where they should have
    notes: dict[str, list[float]] = field(default_factory=dict)  # further figures by name, a run each
    timeline: Timeline | None = None  # of the last run


@dataclass(slots=True)
class Result:
    """One figure of one case of a scenario: a row a system, and the physical limit."""

    scenario: Scenario
    case: Case
    measure: Measure
    rows: dict[str, Row] = field(default_factory=dict)
    limit: float | None = None

    def row(self, system: str) -> Row:
        """Return a system's row, made if it is new."""
        return self.rows.setdefault(system, Row())

    def all_rows(self) -> dict[str, Row]:
        """Return the rows with those that follow from others: the best line, the sum of lines, the best peer."""
        best = min if self.measure.less_is_better else max
        lines = [row.runs for name, row in self.rows.items() if name.startswith(_LINE) and row.runs]
        peers = {name: found.median for name in PEERS if (found := summary(self.rows.get(name, Row()).runs))}
        derived = {}
        if lines:
            derived[BEST] = Row(by_run(lines, best))
        if lines and not self.measure.less_is_better:
            derived[SUM] = Row(by_run(lines, sum))
        if peers:
            derived[BEST_PEER] = Row(self.rows[best(peers, key=lambda name: peers[name])].runs)
        return {**self.rows, **derived}

    def passed(self) -> bool | None:
        """Say whether hagw met the targets, and proved every run; None if that cannot be said."""
        rows = self.all_rows()
        own = rows.get(HAGW, Row())
        if own.unproven:
            return False
        medians = {name: found.median for name, row in rows.items() if (found := summary(row.runs))}
        if self.limit is not None:
            medians["limit"] = self.limit
        return verdict(self.targets(), summary(own.runs), medians)

    def targets(self) -> tuple[Target, ...]:
        """Return the targets that are about this figure."""
        return tuple(target for target in self.case.targets if target.measure == self.measure.name)

    def target(self) -> str:
        """Return the targets as words."""
        return " and ".join(str(target) for target in self.targets())


@dataclass(frozen=True, slots=True)
class Machine:
    """What a bench ran on, and when."""

    machine: str
    kernel: str
    commit: str
    date: str

    @staticmethod
    def stamp(at: float) -> str:
        """Return a time as documents give it."""
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def document(machine: Machine, results: Sequence[Result]) -> dict[str, Any]:
    """Return the contract's `bench --json` document."""
    return {
        "schema": 1,
        **asdict(machine),
        "scenarios": [_case_document(result) for result in results],
    }


def _case_document(result: Result) -> dict[str, Any]:
    case = result.case
    params = {
        "case": case.name,
        **case.params,
        "links": {link: dict(settings) for link, settings in case.links.items()},
        "events": [{"at_s": event.at_s, "event": str(event)} for event in case.events],
    }
    return {
        "name": result.scenario.name,
        "title": result.scenario.title,
        "params": params,
        "measure": result.measure.name,
        "unit": result.measure.unit,
        "systems": {name: _row_document(row) for name, row in result.all_rows().items()},
        "limit": result.limit,
        "target": result.target(),
        "pass": result.passed(),
    }


def _row_document(row: Row) -> dict[str, Any]:
    found: Summary | None = summary(row.runs)
    shown: Mapping[str, Any] = asdict(found) if found else {"runs": [], "median": None, "min": None, "max": None}
    return {
        **shown,
        "why_not": row.why_not or None,
        "proof": row.proofs,
        "unproven": row.unproven,
        "notes": row.notes,
        "timeline": asdict(row.timeline) if row.timeline else None,
    }
