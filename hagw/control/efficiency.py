"""What all flows together carry, and what part that is of what the lines could.

`Goodput` is payload, by the workers' own counts and at the moments they told them. `bonding_efficiency` compares it
with what is known of the lines: their configured rates, else what was learnt of them, and at least what they carry now.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from hagw.control.ports import Traffic, UplinkHealths
from hagw.control.workers import WorkerReport
from hagw.health.capacity import EXPIRY_S
from hagw.model.intent import UplinkIntent
from hagw.model.snapshot import Direction, LearnedView

WINDOW_S: Final = 1.0
IDLE_BPS: Final = 64_000  # less is upkeep and chatter, which says nothing about the bond


@dataclass(frozen=True, slots=True)
class Goodput:
    """Payload of all flows, in bit/s."""

    down_bps: float
    up_bps: float

    def towards(self, direction: Direction) -> float:
        """Return that of a direction."""
        return self.down_bps if direction == "down" else self.up_bps


class GoodputMeter:
    """Makes rates of what workers count. One that was replaced begins from nothing."""

    def __init__(self) -> None:
        self._told: dict[int, deque[tuple[float, int, int]]] = {}  # by process: when, bytes down, bytes up

    def take(self, workers: Iterable[WorkerReport]) -> None:
        """Take what workers said last."""
        there = set()
        for worker in workers:
            down, up = worker.stats.get("bytes_down"), worker.stats.get("bytes_up")
            if worker.pid is None or not isinstance(down, int) or not isinstance(up, int):
                continue
            there.add(worker.pid)
            _note(self._told.setdefault(worker.pid, deque()), (worker.told_at, down, up))
        for gone in [pid for pid in self._told if pid not in there]:
            del self._told[gone]

    def rate(self) -> Goodput | None:
        """Return what is carried now, None while nothing can be said."""
        rates = [rate for told in self._told.values() if (rate := _rate(told)) is not None]
        if not rates:
            return None
        return Goodput(sum(rate.down_bps for rate in rates), sum(rate.up_bps for rate in rates))


def bonding_efficiency(
    goodput: Goodput | None,
    uplinks: Iterable[UplinkIntent],
    healths: UplinkHealths,
    traffic: Mapping[str, Traffic],
    learned: Iterable[LearnedView],
    now: float,
) -> float | None:
    """Return payload carried / what the usable lines can carry together, 0..1, of the direction that is fuller.

    None where next to nothing is carried (IDLE_BPS), or no line is usable. A line of which nothing is known counts as
    what it carries. `now` is CLOCK_MONOTONIC, as in `learned`.
    """
    if goodput is None:
        return None
    usable = [line for line in uplinks if line.enabled and _is_usable(healths, line.name)]
    views = {(view.uplink, view.direction): view for view in learned}
    shares = []
    directions: tuple[Direction, ...] = ("down", "up")
    for direction in directions:
        capacity = sum(
            max(_capacity(line, direction, views.get((line.name, direction)), now), _carried(traffic, line, direction))
            for line in usable
        )
        carried = goodput.towards(direction)
        if carried >= IDLE_BPS and capacity > 0:
            shares.append(min(1.0, carried / capacity))
    return round(max(shares), 3) if shares else None


def _note(told: deque[tuple[float, int, int]], reading: tuple[float, int, int]) -> None:
    """Append a reading; keep the newest that is WINDOW_S old, and what came after it."""
    if told and (reading[1] < told[-1][1] or reading[2] < told[-1][2]):
        told.clear()
    if not told or reading[0] > told[-1][0]:
        told.append(reading)
    while len(told) > 2 and told[1][0] <= reading[0] - WINDOW_S:
        told.popleft()


def _rate(told: deque[tuple[float, int, int]]) -> Goodput | None:
    first, last = told[0], told[-1]
    passed_s = last[0] - first[0]
    if passed_s <= 0:
        return None
    return Goodput((last[1] - first[1]) * 8 / passed_s, (last[2] - first[2]) * 8 / passed_s)


def _is_usable(healths: UplinkHealths, name: str) -> bool:
    health = healths.get(name)
    return health is not None and health.state == "up" and health.cap not in ("cut", "standby")


def _capacity(line: UplinkIntent, direction: Direction, view: LearnedView | None, now: float) -> float:
    configured = line.rate_down_bps if direction == "down" else line.rate_up_bps
    if configured:
        return configured
    if view is None or view.bps is None or view.at is None or now - view.at > EXPIRY_S:
        return 0.0
    return view.bps


def _carried(traffic: Mapping[str, Traffic], line: UplinkIntent, direction: Direction) -> float:
    found = traffic.get(line.name)
    if found is None:
        return 0.0
    return found.down_bps if direction == "down" else found.up_bps
