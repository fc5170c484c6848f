"""Bulk transfers: some connections move data one way for a while, lines change meanwhile, everything is counted."""

import contextlib
import json
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from hagw.lab.bench import systems
from hagw.lab.bench.client import PATIENCE_S, answer, client, cpu_s, reports
from hagw.lab.bench.figures import jain
from hagw.lab.bench.peer import BIN_S, Order
from hagw.lab.bench.proof import Direction, Proof, look, proof
from hagw.lab.bench.scenario import Case, Event
from hagw.lab.bench.systems import Ready
from hagw.lab.demo_measure import steady_rate_bps
from hagw.lab.lab import Lab, LabError

SAMPLE_S: Final = 0.1
_LOOK_S: Final = 0.4
_TAIL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Timeline:
    """Rates over time, one figure a step: of each line (IP bytes, in the transfer's direction) and at the receiver."""

    step_s: float
    lines: Mapping[str, Sequence[float]]
    arrived: Sequence[float]
    events: Sequence[tuple[float, str]]


@dataclass(frozen=True, slots=True)
class Moved:
    """A transfer that is over."""

    bins: Sequence[int]
    by_stream: Sequence[int]
    failed: int
    cpu_s: float | None  # of the system's proxies; None for one without any
    proof: Proof | None
    timeline: Timeline

    def goodput_bps(self, ramp_s: float) -> float:
        """Return the steady rate at the receiver, from `ramp_s` after the first arrival on."""
        return steady_rate_bps(self.bins, ramp_s, _TAIL_S)

    def gap_ms(self, lasts_s: float) -> float:
        """Return the longest silence at the receiver from the first arrival to the end, in whole bins."""
        longest = current = 0
        first = next((index for index, size in enumerate(self.bins) if size), 0)
        padded = [*self.bins, *[0] * (round(lasts_s / BIN_S) - len(self.bins))]
        for size in padded[first:]:
            current = 0 if size else current + 1
            longest = max(longest, current)
        return 1000 * longest * BIN_S

    def cpu_s_per_gb(self) -> float | None:
        """Return the CPU time that the proxies of both ends took for 10^9 bytes that arrived."""
        return None if self.cpu_s is None or not sum(self.bins) else 1e9 * self.cpu_s / sum(self.bins)

    def fairness(self) -> float:
        """Return Jain's index over the streams."""
        return jain(self.by_stream)


def transfer(lab: Lab, ready: Ready, case: Case) -> Moved:
    """Run one transfer of a case. Raise LabError if its client fails."""
    params = case.params
    direction, lasts_s = params["direction"], float(params["lasts_s"])
    order = Order(systems.SERVER_ADDRESS, ready.port, direction, int(params["streams"]), lasts_s, secrets.token_hex(8))
    subflows = _Subflows(lab, ready.far_port, direction, often=bool(case.events))
    pids = ready.pids()
    spent_s = cpu_s(pids)
    with client(lab, ready, "move", asdict(order)) as mover, _Sampler(lab, direction) as sampler, subflows:
        with changing(lab, case.events) as log:
            said = answer(mover, lasts_s + PATIENCE_S)
        spent_s = cpu_s(pids) - spent_s
        # First what arrived, then what subflows carried: an upload's queues go on emptying until its client is let go.
        arrivals = said if direction == "down" else _report(lab, ready.port, order.token)
        subflows.look()
    began = arrivals["began"]
    bins = arrivals["bins"][: round(lasts_s / BIN_S)]
    return Moved(
        bins=bins,
        by_stream=list(arrivals["streams"].values()),
        failed=said["failed"],
        cpu_s=spent_s if pids else None,
        proof=subflows.proof(sum(arrivals["bins"])),
        timeline=Timeline(
            SAMPLE_S,
            sampler.rates(began, lasts_s),
            _resampled(bins, lasts_s),
            [(at - began, words) for at, words in log],
        ),
    )


@contextlib.contextmanager
def changing(lab: Lab, events: Sequence[Event]) -> Iterator[list[tuple[float, str]]]:
    """Change links as the events say, in a thread; what it yields grows by (CLOCK_MONOTONIC, words)."""
    log: list[tuple[float, str]] = []
    over, began = threading.Event(), time.monotonic()

    def run() -> None:
        for event in sorted(events, key=lambda event: event.at_s):
            if over.wait(max(0.0, began + event.at_s - time.monotonic())):
                return
            lab.link(event.link, **event.settings)
            log.append((time.monotonic(), str(event)))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield log
    finally:
        over.set()
        thread.join()


class _Sampler:
    """Counts each line's bytes over time, in a thread."""

    def __init__(self, lab: Lab, direction: str) -> None:
        self._lab, self._key = lab, f"bytes_{direction}"
        self._names = [link.name for link in systems.lines_of(lab)]
        self._seen: list[tuple[float, dict[str, int]]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with contextlib.suppress(LabError):
                links = self._lab.status()["links"]
                self._seen.append((time.monotonic(), {name: links[name][self._key] for name in self._names}))
            if self._over.wait(SAMPLE_S):
                return

    def rates(self, began: float, lasts_s: float) -> dict[str, list[float]]:
        """Return each line's rate by step since a moment."""
        steps = range(round(lasts_s / SAMPLE_S))
        return {
            name: [
                round(
                    8 * (self._at(name, began + (i + 1) * SAMPLE_S) - self._at(name, began + i * SAMPLE_S)) / SAMPLE_S
                )
                for i in steps
            ]
            for name in self._names
        }

    def _at(self, name: str, moment: float) -> float:
        """Return a counter at a moment, between two looks in proportion."""
        previous = None
        for at, counted in self._seen:
            if at >= moment:
                if previous is None or at == previous[0]:
                    return float(counted[name])
                share = (moment - previous[0]) / (at - previous[0])
                return previous[1] + share * (counted[name] - previous[1])
            previous = (at, float(counted[name]))
        return previous[1] if previous else 0.0


class _Subflows:
    """What a system's subflows carry. Where lines fail, subflows go and take their counters along: looks `often`."""

    def __init__(self, lab: Lab, port: int | None, direction: Direction, *, often: bool) -> None:
        self._lab, self._port, self._direction = lab, port, direction
        self._before = {} if port is None else look(lab, systems.GATEWAY, port, direction)
        self._most = dict(self._before)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True) if often and port is not None else None

    def __enter__(self) -> Self:
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def look(self) -> None:
        """Look now."""
        if self._port is not None:
            for local, size in look(self._lab, systems.GATEWAY, self._port, self._direction).items():
                self._most[local] = max(size, self._most.get(local, 0))

    def proof(self, arrived_bytes: int) -> Proof | None:
        """Return the proof for what arrived; None for a system that uses no MPTCP."""
        return None if self._port is None else proof(self._before, self._most, arrived_bytes)

    def _run(self) -> None:
        while not self._over.wait(_LOOK_S):
            self.look()


def _report(lab: Lab, port: int, token: str) -> dict[str, Any]:
    """Return what a server saw of an upload. Raise LabError if nothing of it arrived."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asker:
        asker.settimeout(PATIENCE_S)
        asker.connect(str(reports(lab, port)))
        asker.sendall(token.encode())
        with asker.makefile("rb") as answer:
            arrivals: dict[str, Any] | None = json.loads(answer.read())
    if arrivals is None:
        raise LabError("nothing of the upload reached its server")
    return arrivals


def _resampled(bins: Sequence[int], lasts_s: float) -> list[float]:
    each = round(SAMPLE_S / BIN_S)
    padded = [*bins, *[0] * (round(lasts_s / BIN_S) - len(bins))]
    return [round(8 * sum(padded[i : i + each]) / SAMPLE_S) for i in range(0, len(padded), each)]
