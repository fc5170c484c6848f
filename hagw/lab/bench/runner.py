"""Runs scenarios: a lab each, systems interleaved run by run, one measurement after the other."""

import contextlib
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import hagw
from hagw.errors import HagwError
from hagw.lab.bench import bulk
from hagw.lab.bench.results import Machine, Result, Row
from hagw.lab.bench.scenario import LESS_IS_BETTER, Case, Scenario
from hagw.lab.bench.systems import Ready, System, lines_of, systems
from hagw.lab.lab import Lab, LabError
from hagw.lab.link import tcp_payload_share

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
                bulk.start_servers(lab)
                yield from _Bench(lab, scenario, chosen, progress).measure(repeat)
            finally:
                lab.down()


class _Bench:
    """One scenario in a lab that is up."""

    def __init__(self, lab: Lab, scenario: Scenario, names: tuple[str, ...], progress: Progress) -> None:
        self._lab, self._scenario, self._progress = lab, scenario, progress
        self._systems = systems(names, tuple(link.name for link in lines_of(lab)))
        self._results = [Result(scenario, case) for case in scenario.cases]

    def measure(self, repeat: int) -> list[Result]:
        """Measure every case with every system, `repeat` times, in turn."""
        total = repeat * len(self._systems) * len(self._results)
        task = self._progress.add_task(self._scenario.name, total=total)
        able = []
        for system in self._systems:
            why = system.why_not()
            if why is None:
                able.append(system)
                continue
            for result in self._results:
                result.row(system.name).why_not = why
            self._progress.advance(task, repeat * len(self._results))
        for turn in range(repeat):
            for system in able:
                self._progress.update(task, description=f"{self._scenario.name}: {system.name}, run {turn + 1}")
                self._turn(system, lambda: self._progress.advance(task))
        return self._results

    def _turn(self, system: System, step: Callable[[], None]) -> None:
        """Set a system up once and run every case with it."""
        left = list(self._results)
        try:
            with system.working(self._lab) as ready:
                while left:
                    self._one(system, ready, left[0])
                    left.pop(0)
                    step()
        except HagwError as why:  # it could not be set up: said in the table, the others go on
            for result in left:
                result.row(system.name).why_not = str(why)
                step()

    def _one(self, system: System, ready: Ready, result: Result) -> None:
        """Run one case with a system at work."""
        row = result.row(system.name)
        with self._lab.links_restored():
            for link, settings in result.case.links.items():
                self._lab.link(link, **settings)
            if result.limit is None:
                result.limit = limit(self._lab, self._scenario, result.case)
            time.sleep(SETTLE_S)
            try:
                _note(row, bulk.transfer(self._lab, ready, result.case), self._scenario, result.case)
            except LabError as why:
                row.why_not = str(why)


def limit(lab: Lab, scenario: Scenario, case: Case) -> float | None:
    """Return what physics allows in a case: the lines' payload rates added up, or a round trip to tell the far end."""
    states = {link.name: lab.link(link.name) for link in lines_of(lab)}
    if scenario.measure in LESS_IS_BETTER:
        hit = {event.link for event in case.events}
        alive = [state["delay_ms"] for name, state in states.items() if name not in hit]
        return 2.0 * min(alive) if alive else None
    rates = [state[f"rate_{case.params['direction']}_bps"] for state in states.values()]
    return None if None in rates else sum(rates) * tcp_payload_share(mptcp=True)


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


def _note(row: Row, moved: bulk.Moved, scenario: Scenario, case: Case) -> None:
    """Add a transfer to a system's row."""
    params = case.params
    goodput = moved.goodput_bps(float(params["ramp_s"]))
    row.runs.append(moved.gap_ms(float(params["lasts_s"])) if scenario.measure == "gap" else goodput)
    if scenario.measure == "gap":
        row.notes.setdefault("goodput_bps", []).append(goodput)
    if len(moved.by_stream) > 1:
        row.notes.setdefault("jain", []).append(moved.fairness())
    if moved.failed:
        row.notes.setdefault("streams_failed", []).append(moved.failed)
    if moved.proof is not None:
        row.proofs.append(str(moved.proof))
        row.unproven += not moved.proof.holds
    row.timeline = moved.timeline


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)


def _lines(file: str) -> list[str]:
    return Path(file).read_text(encoding="utf-8", errors="replace").splitlines()


def _distribution() -> str:
    return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
