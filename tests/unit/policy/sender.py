"""A sender with one connection over DSL (16 Mbit/s) and LTE (50), as Linux's Multipath TCP queues, and its controller.

Data is handed to a line when it is written, as much as the send buffer takes; what the closed line's rival got is not
taken back. The buffer is freed in the order of the data, and written to again only once a third of it is free.
"""

from collections import deque
from dataclasses import dataclass, field

from hagw.policy.modes.overflow import TICK_S, Overflow
from hagw.policy.modes.overflow_readings import Reading

STEP_S = 0.005
CHUNK = 65536.0
BUFFER = 750_000.0
MBIT = 1e6 / 8
ORDER_S = 0.03  # until a change of the flag reaches the sender


@dataclass
class Chunk:
    size: float
    left: float


@dataclass
class Sender:
    """`alike` says how long LTE's queue may be beside DSL's before DSL is taken: less than 1 prefers LTE."""

    demand: float
    alike: float
    overflow: Overflow = field(default_factory=Overflow)
    rates: tuple[float, float] = (16.0, 50.0)
    now: float = 100.0
    is_open: bool = False
    backlog: float = 0.0
    used: float = 0.0
    is_writable: bool = True
    ordered: deque[Chunk] = field(default_factory=deque)
    queues: tuple[deque[Chunk], deque[Chunk]] = field(default_factory=lambda: (deque(), deque()))
    moved: list[float] = field(default_factory=lambda: [0.0, 0.0])
    orders: deque[tuple[float, bool]] = field(default_factory=deque)
    tick_at: float = 100.0

    def run(self, seconds: float) -> tuple[float, float]:
        """Let time pass; return the mean rates over DSL and LTE."""
        before = list(self.moved)
        for _ in range(round(seconds / STEP_S)):
            self.now += STEP_S
            while self.orders and self.orders[0][0] <= self.now:
                self.is_open = self.orders.popleft()[1]
            self.backlog += self.demand * MBIT * STEP_S
            self._write()
            self._drain()
            if self.now >= self.tick_at + TICK_S - 1e-9:
                self.tick_at = self.now
                reading = Reading(self.now, int(self.moved[0]), int(self.moved[1]))
                self.orders.append((self.now + ORDER_S, self.overflow.update(reading, 1, 50.0, 30.0) > 0))
        dsl, lte = ((after - first) / seconds / MBIT for after, first in zip(self.moved, before, strict=True))
        return dsl, lte

    def _write(self) -> None:
        self.is_writable = self.is_writable or self.used <= BUFFER * 2 / 3
        while self.is_writable and self.backlog > 0:
            dsl, lte = (
                sum(chunk.left for chunk in queue) / rate for queue, rate in zip(self.queues, self.rates, strict=True)
            )
            over_lte = self.is_open and (dsl > self.alike * lte or (dsl == lte == 0.0 and self.alike < 1.0))
            chunk = Chunk(min(CHUNK, self.backlog), min(CHUNK, self.backlog))
            self.queues[over_lte].append(chunk)
            self.ordered.append(chunk)
            self.backlog -= chunk.size
            self.used += chunk.size
            self.is_writable = self.used < BUFFER

    def _drain(self) -> None:
        for number, queue in enumerate(self.queues):
            room = self.rates[number] * MBIT * STEP_S
            while room > 0 and queue:
                taken = min(room, queue[0].left)
                queue[0].left -= taken
                room -= taken
                self.moved[number] += taken
                if queue[0].left <= 0:
                    queue.popleft()
        while self.ordered and self.ordered[0].left <= 0:
            self.used -= self.ordered.popleft().size
