"""Time series of lines: a second for an hour, a minute for 30 days, an hour for a year; and what is told of them.

    STATE/history/UPLINK.1s, .1m, .1h     rings, see `ring`

Seconds are gathered in memory and written once a minute; a loss of power costs the last minute at most, and is a gap.
Minutes are made of seconds, hours of minutes, when they are over.
"""

import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, Literal

from hagw.history.ring import Ring, Values
from hagw.log import log_of

FIELDS: Final = ("down_bps", "up_bps", "rtt_ms", "loss", "state", "kept_off_bytes")
DIGITS: Final = {"down_bps": None, "up_bps": None, "rtt_ms": 1, "loss": 4, "state": None, "kept_off_bytes": None}
STATES: Final = {"up": 0.0, "suspect": 1.0, "down": 2.0, "disabled": 3.0}
SECONDS: Final = (1, 3_600, "1s")
MINUTES: Final = (60, 43_200, "1m")
HOURS: Final = (3_600, 8_784, "1h")
FILES_MAX: Final = 96  # lines that come and go: the files of those not seen for longest go first
FLUSH_S: Final = 60
TOTAL: Final = "_total"  # payload of all flows together; no line is called so
NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")

Range = Literal["1h", "24h", "30d", "1y"]
POINTS_MAX: Final = 4_500  # of a series in one answer
# How far back, and how far apart unless it is asked for otherwise.
RANGES: Final[dict[Range, tuple[int, int]]] = {
    "1h": (3_600, 1),
    "24h": (86_400, 60),
    "30d": (2_592_000, 3_600),
    "1y": (31_536_000, 21_600),
}

log = log_of("hagw.history")


@dataclass(frozen=True, slots=True)
class Sample:
    """What a line did in a second. `kept_off_bytes`: what others carried for it in that second."""

    down_bps: float | None
    up_bps: float | None
    rtt_ms: float | None
    loss: float | None
    state: str
    kept_off_bytes: float | None = None

    def values(self) -> Values:
        """Return it as a record's numbers, as they are told."""
        figures = (self.down_bps, self.up_bps, self.rtt_ms, self.loss)
        return _rounded((*figures, STATES.get(self.state), self.kept_off_bytes))


@dataclass(frozen=True, slots=True)
class Told:
    """A stretch of history: each series has a value for every step, None where nothing is known."""

    begin_unix_s: int
    step_s: int
    series: dict[str, list[float | None]]


class Series:
    """All lines' series. `clock` is the wall clock. A disk that refuses costs what could not be written."""

    def __init__(self, directory: Path, clock: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._clock = clock
        self._recent: dict[str, deque[tuple[int, Values]]] = {}
        self._minute_at = 0
        self._written = 0  # the second up to which everything is on disk
        self._trouble = ""

    def now(self) -> float:
        """Return the wall clock's time."""
        return self._clock()

    def begin(self) -> None:
        """Take up what an earlier daemon has left: the last hour's seconds."""
        now = int(self._clock())
        self._written = now
        self._minute_at = now // 60
        for name in self._names():
            found = self._read(name, SECONDS, now - 3_600, now + 1)
            self._recent[name] = deque(((at, _rounded(found[at])) for at in sorted(found)), maxlen=3_600)

    def add(self, samples: Mapping[str, Sample]) -> tuple[int, dict[str, float | None]]:
        """Take a second's samples, by line; return the second, and them as the stream tells them."""
        now = int(self._clock())
        told: dict[str, float | None] = {}
        for name, sample in samples.items():
            known = self._recent.setdefault(name, deque(maxlen=3_600))
            if known and known[-1][0] > now:  # the clock went back: what was is not what was known of it
                known.clear()
            if not known or known[-1][0] < now:
                known.append((now, sample.values()))
            told |= {title(name, field): each for field, each in zip(FIELDS, known[-1][1], strict=True)}
        return now, told

    def is_due(self) -> bool:
        """Say whether it is time to `flush`."""
        return int(self._clock()) // 60 != self._minute_at or self._clock() < self._written

    def flush(self) -> None:
        """Write what is gathered; in whatever thread, but one at a time."""
        now = int(self._clock())
        since = self._written if self._written <= now else now - FLUSH_S
        try:
            self._directory.mkdir(mode=0o755, parents=True, exist_ok=True)
            for name, known in list(self._recent.items()):
                if NAME.fullmatch(name):
                    self._write(name, list(known), since, now)
            self._drop_old()
        except OSError as why:
            if str(why) != self._trouble:
                log.warning("history not written", reason=str(why))
            self._trouble = str(why)
        else:
            self._trouble = ""
        self._written, self._minute_at = now, now // 60

    def tell(
        self, wanted: Range, patterns: Iterable[str] = (), step_s: int | None = None, until: int | None = None
    ) -> Told:
        """Return the series of a range, those that a pattern fits (none = all).

        `step_s` asks for other steps than the range's own, `until` for what was before a second since 1970. There are
        POINTS_MAX at most, no finer than what is kept of that time: seconds for an hour, minutes for 30 days.
        """
        begin, end, step_s, source = _stretch(wanted, step_s, until, int(self._clock()))
        chosen = tuple(patterns)
        series: dict[str, list[float | None]] = {}
        for name in self._names() | self._recent.keys():
            fields = [
                (number, title(name, field))
                for number, field in enumerate(FIELDS)
                if not chosen or any(fnmatchcase(title(name, field), pattern) for pattern in chosen)
            ]
            if fields:
                rows = _stepped(self._records(name, source, begin, end), begin, end, step_s, source[0])
                series |= {title: _column(rows, number, source == SECONDS and step_s == 1) for number, title in fields}
        return Told(begin, step_s, series)

    def _records(self, name: str, source: tuple[int, int, str], begin: int, end: int) -> dict[int, Values]:
        if source == SECONDS:
            return dict(self._recent.get(name, ()))
        if source == MINUTES:
            return self._read(name, source, begin, end) | self._minutes(name, begin)
        hour = self._written // 3_600 * 3_600  # which is not over, so that only its minutes are there
        present = self._read(name, MINUTES, hour, end) | self._minutes(name, hour)
        return self._read(name, source, begin, end) | _grouped(present, 3_600)

    def _minutes(self, name: str, begin: int) -> dict[int, Values]:
        """Return the minutes of which only seconds are known so far: the present one."""
        known = list(self._recent.get(name, ()))  # a copy, in one step: who tells is a thread, seconds go on coming in
        first = max(begin, self._written // 60 * 60)
        return _grouped({at: values for at, values in known if at >= first}, 60)

    def _write(self, name: str, known: list[tuple[int, Values]], since: int, now: int) -> None:
        fresh = {at: values for at, values in known if since <= at <= now}
        if fresh:
            self._ring(name, SECONDS).write(fresh)
        begin, end = since // 60 * 60, now // 60 * 60
        minutes = _grouped({at: values for at, values in known if begin <= at < end}, 60)
        if minutes:
            ring = self._ring(name, MINUTES)
            ring.write(minutes)
            first, last = begin // 3_600 * 3_600, now // 3_600 * 3_600
            hours = _grouped(ring.read(first, last), 3_600) if first < last else {}
            if hours:
                self._ring(name, HOURS).write(hours)

    def _read(self, name: str, source: tuple[int, int, str], begin: int, end: int) -> dict[int, Values]:
        try:
            return self._ring(name, source).read(begin, end)
        except OSError as why:
            log.warning("history not read", reason=str(why))
            return {}

    def _ring(self, name: str, source: tuple[int, int, str]) -> Ring:
        step_s, slots, suffix = source
        return Ring(self._directory / f"{name}.{suffix}", step_s, slots, len(FIELDS))

    def _names(self) -> set[str]:
        return {path.name.removesuffix(".1m") for path in self._directory.glob("*.1m")}

    def _drop_old(self) -> None:
        files = sorted(self._directory.glob("*.1?"), key=lambda path: path.stat().st_mtime)
        for path in files[: max(0, len(files) - FILES_MAX)]:
            path.unlink(missing_ok=True)


def title(name: str, field: str) -> str:
    """Return what a series is called."""
    return f"total.{field}" if name == TOTAL else f"uplink.{name}.{field}"


def _stretch(
    wanted: Range, step_s: int | None, until: int | None, now: int
) -> tuple[int, int, int, tuple[int, int, str]]:
    """Return begin, end and step of what is asked for, and of what it is made."""
    length, usual_s = RANGES[wanted]
    last = now if until is None else min(until, now)
    step_s = max(usual_s if step_s is None else step_s, -(-length // POINTS_MAX))
    kept = [source for source in (SECONDS, MINUTES) if source[0] * source[1] >= now - (last - length)]
    source = next((each for each in (HOURS, *reversed(kept)) if each[0] <= step_s), kept[0] if kept else HOURS)
    step_s = -(-step_s // source[0]) * source[0]
    end = last // step_s * step_s + step_s
    return end - -(-length // step_s) * step_s, end, step_s, source


def _grouped(records: Mapping[int, Values], step_s: int) -> dict[int, Values]:
    """Return one record for each stretch of `step_s` that anything is known of."""
    groups: dict[int, list[Values]] = {}
    for at, values in records.items():
        groups.setdefault(at // step_s * step_s, []).append(values)
    return {at: _summary(group) for at, group in groups.items()}


def _summary(group: list[Values]) -> Values:
    """Return the means; of states the worst, of bytes the sum."""
    found: list[float | None] = []
    for fold, column in zip(_FOLDS, zip(*group, strict=True), strict=True):
        known = [value for value in column if value is not None] if None in column else column
        found.append(fold(known) if known else None)
    return tuple(found)


def _mean(known: Sequence[float]) -> float:
    return sum(known) / len(known)


_Fold = Callable[[Sequence[float]], float]
_OTHER_FOLDS: Final[dict[str, _Fold]] = {"state": max, "kept_off_bytes": sum}
_FOLDS: Final = tuple(_OTHER_FOLDS.get(field, _mean) for field in FIELDS)


def _stepped(records: Mapping[int, Values], begin: int, end: int, step_s: int, source_s: int) -> list[Values | None]:
    get = records.get
    if step_s == source_s:
        return [get(at) for at in range(begin, end, step_s)]
    rows: list[Values | None] = []
    for first in range(begin, end, step_s):
        group = [values for at in range(first, first + step_s, source_s) if (values := get(at)) is not None]
        rows.append(_summary(group) if group else None)
    return rows


def _column(rows: list[Values | None], number: int, is_rounded: bool) -> list[float | None]:
    values = [None if row is None else row[number] for row in rows]
    if is_rounded:
        return values
    digits = DIGITS[FIELDS[number]]
    return [None if value is None else round(value, digits) for value in values]


def _rounded(values: Values) -> Values:
    """Return a record as it is told: whole numbers where there are no digits, which are also quicker to write."""
    return tuple(
        None if value is None else round(value, DIGITS[field]) for field, value in zip(FIELDS, values, strict=True)
    )
