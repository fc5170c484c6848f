"""What Multipath TCP meets on each line: boxes on the way may strip it, and then a connection must do without the line.

Evidence is what connections meet anyway, by the line's slot:

- a connection begun over the line falls back to plain TCP: MP_CAPABLE is *stripped*;
- its joins never complete, while the line is up: MP_JOIN is *join-stripped*;
- joined subflows end again and again by themselves while their connection lives on: data after the join is lost, which
  counts as join-stripped too.

A line found out is left alone, and tried again after half a minute, then ever less often. Only when the lines' own
connections say nothing (whether MP_CAPABLE passes a line that never begins one) a connection is opened to find out.
"""

from dataclasses import dataclass, field
from typing import Any, Final

from hagw.model.health import MptcpState

FAILURES: Final = 3  # in a row, at different times, before a line is found out
FALLBACKS: Final = 2
_APART_S: Final = 1.0  # what fails together has one cause
RETRY_S: Final = 30.0
RETRY_MAX_S: Final = 900.0
LOST_EARLY_S: Final = 10.0  # a subflow that ends by itself within this time after its join
LOST_EARLY_BYTES: Final = 64 * 1024  # ... and carried less than this

CAPABLE_STRIPPED: Final = "connections over it fall back to plain TCP: MP_CAPABLE is stripped on the way"
JOIN_STRIPPED: Final = "no connection can join over it: MP_JOIN is stripped or refused on the way"
DATA_LOST: Final = "joined subflows end by themselves: data after MP_JOIN is stripped on the way"


@dataclass(frozen=True, slots=True)
class MptcpVerdict:
    """What is thought of one line; `at` is CLOCK_MONOTONIC of the newest evidence, None = there is none."""

    state: MptcpState = "unknown"
    reason: str = ""
    at: float | None = None


@dataclass(slots=True)
class _Streak:
    """Failures in a row, at different times."""

    count: int = 0
    last_at: float = -1e9

    def add(self, now: float) -> None:
        if now - self.last_at >= _APART_S:
            self.count += 1
            self.last_at = now


@dataclass(slots=True)
class _Line:
    capable_ok: int = 0
    capable_failed: int = 0
    joins_ok: int = 0
    joins_failed: int = 0
    joins_lost: int = 0
    fallbacks: int = 0
    capable_tried: bool = False
    refused: _Streak = field(default_factory=_Streak)
    lost: _Streak = field(default_factory=_Streak)
    verdict: MptcpVerdict = MptcpVerdict()
    retry_s: float = RETRY_S
    retry_at: float = 0.0


class MptcpBook:
    """One worker's knowledge; the daemon tells every worker what another one found out."""

    def __init__(self) -> None:
        self._lines: dict[int, _Line] = {}

    # -- what happened ---------------------------------------------------------------------------------------

    def began(self, slot: int, multipath: bool, now: float) -> None:
        """Take that a connection was opened over the line alone, and whether it is Multipath TCP."""
        line = self._line(slot)
        line.capable_tried = True
        if multipath:
            line.capable_ok += 1
            line.fallbacks = 0
            if line.verdict.state in ("unknown", "stripped"):
                self._find(line, "ok" if line.joins_ok or line.verdict.state == "unknown" else "unknown", "", now)
            return
        line.capable_failed += 1
        line.fallbacks += 1
        if line.fallbacks >= FALLBACKS:
            self._find(line, "stripped", CAPABLE_STRIPPED, now)

    def joined(self, slot: int, now: float) -> None:
        """Take that a subflow over the line was established."""
        line = self._line(slot)
        line.joins_ok += 1
        line.refused = _Streak()
        if line.lost.count < FAILURES and line.verdict.reason != DATA_LOST:
            self._find(line, "ok", "", now)

    def join_failed(self, slot: int, now: float) -> None:
        """Take that a join over the line, which is up, did not complete."""
        line = self._line(slot)
        line.joins_failed += 1
        line.refused.add(now)
        if line.refused.count >= FAILURES and line.verdict.state != "stripped":
            self._find(line, "join-stripped", JOIN_STRIPPED, now)

    def join_lost(self, slot: int, now: float) -> None:
        """Take that a subflow ended by itself soon after its join, while its connection lived on."""
        line = self._line(slot)
        line.joins_lost += 1
        line.lost.add(now)
        if line.lost.count >= FAILURES:
            self._find(line, "join-stripped", DATA_LOST, now)

    def carried(self, slot: int, now: float) -> None:
        """Take that a joined subflow carries data: nothing is stripped."""
        line = self._line(slot)
        line.lost = _Streak()
        if line.verdict.state != "ok":
            self._find(line, "ok", "", now)

    def adopt(self, slot: int, verdict: MptcpVerdict) -> None:
        """Take what another worker found out, if it is newer."""
        line = self._line(slot)
        if verdict.at is None or (line.verdict.at is not None and verdict.at <= line.verdict.at):
            return
        if (verdict.state, verdict.reason) != (line.verdict.state, line.verdict.reason):
            self._find(line, verdict.state, verdict.reason, verdict.at)
        line.verdict = verdict

    def forget(self, slot: int) -> None:
        """Another network is behind the line now."""
        self._lines.pop(slot, None)

    # -- what follows ----------------------------------------------------------------------------------------

    def may_join(self, slot: int, now: float) -> bool:
        """Say whether to try a join over the line now; for one found out, yes means this once."""
        line = self._lines.get(slot)
        if line is None or line.verdict.state in ("unknown", "ok"):
            return True
        return self._take_trial(line, now)

    def is_stripped(self, slot: int) -> bool:
        """Say whether a connection should rather begin over another line."""
        line = self._lines.get(slot)
        return line is not None and line.verdict.state == "stripped"

    def wants_connection(self, slot: int, now: float) -> bool:
        """Say whether to open a connection over the line just to see what becomes of it; yes means this once."""
        line = self._lines.get(slot)
        if line is None or line.verdict.state in ("unknown", "ok"):
            return False
        if not line.capable_tried:
            line.capable_tried = True
            return True
        return line.verdict.state == "stripped" and self._take_trial(line, now)

    def verdict(self, slot: int) -> MptcpVerdict:
        """Return what is thought of the line."""
        line = self._lines.get(slot)
        return line.verdict if line is not None else MptcpVerdict()

    def document(self, slot: int) -> dict[str, Any]:
        """Return verdict and counts as the daemon hears of them."""
        line = self._lines.get(slot) or _Line()
        return {
            "state": line.verdict.state,
            "reason": line.verdict.reason,
            "at": line.verdict.at,
            "capable_ok": line.capable_ok,
            "capable_failed": line.capable_failed,
            "joins_ok": line.joins_ok,
            "joins_failed": line.joins_failed,
            "joins_lost": line.joins_lost,
        }

    def _line(self, slot: int) -> _Line:
        return self._lines.setdefault(slot, _Line())

    def _take_trial(self, line: _Line, now: float) -> bool:
        if now < line.retry_at:
            return False
        line.retry_s = min(RETRY_MAX_S, 2 * line.retry_s)
        line.retry_at = now + line.retry_s
        return True

    def _find(self, line: _Line, state: MptcpState, reason: str, now: float) -> None:
        if state in ("ok", "unknown"):
            line.retry_s = RETRY_S
            line.refused, line.fallbacks = _Streak(), 0
        elif line.verdict.state in ("ok", "unknown"):
            line.retry_s, line.retry_at = RETRY_S, now + RETRY_S
        line.verdict = MptcpVerdict(state, reason, now)
