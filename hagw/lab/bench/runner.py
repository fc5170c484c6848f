"""Runs scenarios: a lab each, systems interleaved run by run, one measurement after the other."""

import contextlib
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, assert_never

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import hagw
from hagw.errors import HagwError
from hagw.lab.bench.all_systems import systems
from hagw.lab.bench.asks import Asked, asks
from hagw.lab.bench.bulk import Moved, transfer
from hagw.lab.bench.client import start_servers
from hagw.lab.bench.crowd import kb_each
from hagw.lab.bench.endure import Endured, endure
from hagw.lab.bench.results import Machine, Result, Row
from hagw.lab.bench.scenario import Case, Measure, Scenario
from hagw.lab.bench.systems import Ready, System, lines_of
from hagw.lab.lab import Lab, LabError
from hagw.lab.link import tcp_payload_share
from hagw.lab.netns import CommandFailed

SETTLE_S: Final = 0.5  # after the lines were changed, so that what was on its way has arrived


def run(
    lab: Lab, scenarios: Sequence[Scenario], repeat: int, only: Sequence[str], console: Console
) -> Iterator[Result]:
    """Run scenarios and yield the results of each as it ends; `only` names systems, empty for all.

    Raise LabError if the lab is up already: a bench changes everything in it.
    """
    if lab.is_up():
        raise LabError(f"lab {lab.name!r} is up, and a bench needs one of its own: `lab down` first, or another --name")
    with _progress(console) as progress:
        for scenario in scenarios:
            chosen = tuple(name for name in scenario.systems if not only or name in only)
            try:
                lab.up(preset=scenario.preset, hagw=False)
                start_servers(lab)
                yield from _Bench(lab, scenario, chosen, progress).measure(repeat)
            finally:
                lab.down()


class _Bench:
    """One scenario in a lab that is up."""

    def __init__(self, lab: Lab, scenario: Scenario, names: tuple[str, ...], progress: Progress) -> None:
        self._lab, self._scenario, self._progress = lab, scenario, progress
        self._systems = systems(names, tuple(link.name for link in lines_of(lab)))
        self._results = [Result(scenario, case, measure) for case in scenario.cases for measure in scenario.measures]

    def measure(self, repeat: int) -> list[Result]:
        """Measure every case with every system, `repeat` times, in turn."""
        cases = len(self._scenario.cases)
        total = repeat * len(self._systems) * cases
        task = self._progress.add_task(self._scenario.name, total=total)
        able = []
        for system in self._systems:
            why = system.why_not()
            if why is None:
                able.append(system)
                continue
            for result in self._results:
                result.row(system.name).why_not = why
            self._progress.advance(task, repeat * cases)
        for turn in range(repeat):
            for system in able:
                self._progress.update(task, description=f"{self._scenario.name}: {system.name}, run {turn + 1}")
                self._turn(system, lambda: self._progress.advance(task))
        return self._results

    def _turn(self, system: System, step: Callable[[], None]) -> None:
        """Set a system up once and run every case with it."""
        left = list(self._scenario.cases)
        try:
            with system.working(self._lab) as ready:
                while left:
                    self._one(system, ready, left[0])
                    left.pop(0)
                    step()
        except HagwError as why:  # it could not be set up: said in the table, the others go on
            for case in left:
                self._failed(system, case, why)
                step()

    def _one(self, system: System, ready: Ready, case: Case) -> None:
        """Run one case with a system at work."""
        with self._lab.links_restored():
            for link, settings in case.links.items():
                self._lab.link(link, **settings)
            time.sleep(SETTLE_S)
            for result in self._of(case):
                if result.limit is None:
                    result.limit = limit(self._lab, result.measure, case)
            try:
                match self._scenario.activity:
                    case "transfer":
                        moved = transfer(self._lab, ready, case)
                        for result in self._of(case):
                            _note_moved(result.row(system.name), moved, result.measure, case)
                    case "asks":
                        asked = asks(self._lab, ready, case)
                        for result in self._of(case):
                            _note_asked(result.row(system.name), asked, result.measure)
                    case "hold":
                        each_kb = kb_each(self._lab, ready, case)
                        for result in self._of(case):
                            _add(result.row(system.name), each_kb)
                    case "endure":
                        endured = endure(self._lab, ready, case)
                        for result in self._of(case):
                            _note_endured(result.row(system.name), endured, result.measure)
                    case never:
                        assert_never(never)
            except (LabError, CommandFailed) as why:
                self._failed(system, case, why)

    def _of(self, case: Case) -> list[Result]:
        return [result for result in self._results if result.case is case]

    def _failed(self, system: System, case: Case, why: HagwError) -> None:
        for result in self._of(case):
            result.row(system.name).why_not = str(why).partition("\n")[0]


def limit(lab: Lab, measure: Measure, case: Case) -> float | None:
    """Return what physics allows in a case; None where nothing but the machine limits it.

    Goodput: the lines' payload rates added up. A gap: the round trip in which the far end can be told, over the best
    line that is not touched. First byte: the round trip of the question and its answer (two more for TLS 1.3's
    handshake and what follows it).
    """
    states = {link.name: lab.link(link.name) for link in lines_of(lab)}
    if not states:
        return None
    match measure.name:
        case "goodput":
            rates = [state[f"rate_{case.params['direction']}_bps"] for state in states.values()]
            # While lines change there is no one limit.
            return None if None in rates or case.events else sum(rates) * tcp_payload_share(mptcp=True)
        case "gap":
            hit = {event.link for event in case.events}
            alive = [state["delay_ms"] for name, state in states.items() if name not in hit]
            return 2.0 * min(alive) if alive else None
        case "first-byte":
            one_way_ms = min(state["delay_ms"] for state in states.values()) + lab.link("inet")["delay_ms"]
            return float(2.0 * one_way_ms * (2 if case.params["kind"] == "https" else 1))
        case _:
            return None


def machine() -> Machine:
    """Describe the machine the bench runs on."""
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "CPU"
    )
    total = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    words = f"{os.cpu_count()} × {cpu}, {total / 2**20:.0f} GiB, {_distribution()}"
    return Machine(words, platform.release(), commit(), Machine.stamp(time.time()))


def commit() -> str:
    """Return the commit of the source tree, or hagw's version outside of one."""
    argv = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    with contextlib.suppress(OSError):
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=10)
        if done.returncode == 0:
            return done.stdout.strip()
    return hagw.__version__


def _note_moved(row: Row, moved: Moved, measure: Measure, case: Case) -> None:
    """Add a transfer to a system's row."""
    goodput, gap = moved.goodput_bps(float(case.params["ramp_s"])), moved.gap_ms(float(case.params["lasts_s"]))
    figures = {"goodput": goodput, "gap": gap, "cpu-per-gb": moved.cpu_s_per_gb()}
    _add(row, figures[measure.name])
    if measure.name == "gap":
        row.notes.setdefault("goodput_bps", []).append(goodput)
    if len(moved.by_stream) > 1 and measure.name == "goodput":
        row.notes.setdefault("jain", []).append(moved.fairness())
    if moved.failed:
        row.notes.setdefault("streams_failed", []).append(moved.failed)
    if moved.proof is not None:
        row.proofs.append(str(moved.proof))
        row.unproven += not moved.proof.holds
    row.timeline = moved.timeline


def _note_asked(row: Row, asked: Asked, measure: Measure) -> None:
    """Add some short connections to a system's row."""
    figures = {
        "first-byte": asked.median_ms(),
        "first-byte-p99": asked.p99_ms(),
        "connections": asked.rate(),
        "cpu-per-connection": asked.cpu_us_each(),
    }
    _add(row, figures[measure.name])
    row.notes.setdefault("count", []).append(len(asked.waits_ms))
    if asked.failed:
        row.notes.setdefault("failed", []).append(asked.failed)


def _note_endured(row: Row, endured: Endured, measure: Measure) -> None:
    """Add a fault to a system's row."""
    match measure.name:
        case "outage":
            _add(row, endured.outage_ms)
            row.notes.setdefault("answered", []).append(endured.answered)
            row.notes.setdefault("failed", []).append(endured.failed)
        case "transfer-gap":
            _add(row, endured.transfer_gap_ms)
            row.notes.setdefault("cut_off", []).append(endured.cut_off)
        case _:
            _add(row, endured.bonded_again_s)
            row.why_not = f"not bonded: {endured.trouble}" if endured.trouble else row.why_not


def _add(row: Row, value: float | None) -> None:
    if value is None:
        row.why_not = "no proxy, so nothing to count"
    else:
        row.runs.append(value)


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)


def _lines(file: str) -> list[str]:
    return Path(file).read_text(encoding="utf-8", errors="replace").splitlines()


def _distribution() -> str:
    return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
