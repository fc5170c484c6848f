"""The demo's eye on the lines: their counters over time, and a live view of their rates on standard error.

With a terminal a table that is redrawn in place; without one a line of text a second.
"""

import bisect
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from hagw.lab.demo_measure import Sample
from hagw.lab.demo_report import DIRECTIONS, Direction
from hagw.lab.lab import Lab, LabError

SAMPLE_S: Final = 0.05
RATE_OVER_S: Final = 1.0
_REDRAWS_PER_S: Final = 4

Counters = Mapping[str, Mapping[Direction, int]]


class Watch:
    """Samples every line's counters in a thread while it is entered, and shows their rates."""

    def __init__(self, lab: Lab, lines: Sequence[str], console: Console) -> None:
        self._lab, self._lines, self._console = lab, lines, console
        self._times: list[float] = []
        self._counters: list[Counters] = []
        self._blackhole: dict[str, str] = {}
        self._phase, self._phase_since = "", time.monotonic()
        self._sampling = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._live: Live | None = None

    def __enter__(self) -> Self:
        self._sample()
        self._thread.start()
        if self._console.is_terminal:
            self._live = Live(
                get_renderable=self._table, console=self._console, refresh_per_second=_REDRAWS_PER_S, transient=True
            )
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()
        if self._live is not None:
            self._live.stop()

    def say(self, phase: str) -> None:
        """Name what is being done from now on."""
        self._phase, self._phase_since = phase, time.monotonic()
        self._console.print(phase, highlight=False, soft_wrap=True)

    def counted(self) -> Counters:
        """Return every line's IP bytes by direction, now."""
        self._sample()
        return self._counters[-1]

    def samples(self, line: str, direction: Direction, since: float) -> list[Sample]:
        """Return a line's counter over time since a moment (CLOCK_MONOTONIC)."""
        size = len(self._counters)
        first = bisect.bisect_left(self._times, since, hi=size)
        return [Sample(self._times[i], self._counters[i][line][direction]) for i in range(first, size)]

    def _run(self) -> None:
        line_due = time.monotonic() + 1.0
        while not self._ended.wait(SAMPLE_S):
            try:
                self._sample()
            except LabError:  # it is being taken down
                continue
            if not self._console.is_terminal and time.monotonic() >= line_due:
                line_due += 1.0
                self._console.print(self._words(), highlight=False, soft_wrap=True)

    def _sample(self) -> None:
        with self._sampling:
            self._take_sample()

    def _take_sample(self) -> None:
        links = self._lab.status()["links"]
        if not all(line in links for line in self._lines):
            raise LabError(f"the links of lab {self._lab.name!r} are gone")
        self._blackhole = {line: links[line]["blackhole"] for line in self._lines}
        now = time.monotonic()
        self._times.append(now)
        self._counters.append({line: {way: links[line][f"bytes_{way}"] for way in DIRECTIONS} for line in self._lines})

    def _rate_bps(self, line: str, direction: Direction) -> float:
        """Return the rate over the last second."""
        size = len(self._counters)
        now = self._times[size - 1]
        first = bisect.bisect_left(self._times, now - RATE_OVER_S, hi=size - 1)
        span = now - self._times[first]
        carried = self._counters[size - 1][line][direction] - self._counters[first][line][direction]
        return 8 * carried / span if span > 0 else 0.0

    def _state(self, line: str) -> str:
        return "" if self._blackhole.get(line, "none") == "none" else "blackhole"

    def _words(self) -> str:
        parts = []
        for line in self._lines:
            down, up = (self._rate_bps(line, way) / 1e6 for way in DIRECTIONS)
            state = self._state(line)
            parts.append(f"{line} {down:5.1f} down {up:5.1f} up{f' ({state})' if state else ''}")
        elapsed = time.monotonic() - self._phase_since
        return f"  {elapsed:4.0f} s  {'   '.join(parts)}   Mbit/s"

    def _table(self) -> Table:
        elapsed = time.monotonic() - self._phase_since
        table = Table(title=f"{self._phase}: {elapsed:.0f} s", title_justify="left")
        table.add_column("line")
        for heading in ("download Mbit/s", "upload Mbit/s"):
            table.add_column(heading, justify="right", min_width=16)
        table.add_column("", min_width=9)
        totals = dict.fromkeys(DIRECTIONS, 0.0)
        for line in self._lines:
            rates = {way: self._rate_bps(line, way) / 1e6 for way in DIRECTIONS}
            for way in DIRECTIONS:
                totals[way] += rates[way]
            table.add_row(line, f"{rates['down']:.1f}", f"{rates['up']:.1f}", self._state(line))
        table.add_section()
        table.add_row("together", f"{totals['down']:.1f}", f"{totals['up']:.1f}", "")
        return table
