"""A simulated CPE: lines with delay, queue, loss and blackholes, TCP-like traffic on them, and a fleet watching.

One step is a millisecond. Traffic reacts to a blackhole the way TCP does: the sender stops when its window is full and
then retransmits rarely.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from hagw.health.fleet import Fleet
from hagw.health.gateway import Told
from hagw.health.gateways import Ask
from hagw.health.line import Counters, LineSetup
from hagw.health.link import Link
from hagw.model.intent import ProbeStyle, UplinkKind
from hagw.pmf.asker import Passage

STEP_S = 0.001


@dataclass
class SimLine:
    """A line; `load` is download, upload, both, udp-up, chat or None."""

    kind: UplinkKind = "ethernet"
    delay_s: float = 0.012
    queue_up_s: float = 0.0
    queue_down_s: float = 0.0
    loss: float = 0.0
    jitter_s: float = 0.0  # each way, more or less; nothing overtakes
    load: str | None = None
    packets_per_s: float = 1000.0
    dead_up: bool = False
    dead_down: bool = False
    dead_families: set[int] = field(default_factory=set)
    link: Link = field(default_factory=Link)
    rx: int = 0
    tx: int = 0
    rx_bytes: int = 0
    tx_bytes: int = 0
    stalled_s: float = 0.0
    stall_until: float = 0.0  # the emulator of this line is not scheduled until then
    retry_at: list[float] = field(default_factory=list)
    asked: int = 0
    reached: int = 0  # what the gateway counts
    told: tuple[int, int] = (0, 0)  # number of the newest answered question, and the gateway's count then
    last_out: dict[str, float] = field(default_factory=dict)  # by direction

    def blackhole(self, up: bool = True, down: bool = True) -> None:
        self.dead_up, self.dead_down = up, down

    def heal(self) -> None:
        self.dead_up = self.dead_down = False


class World:
    """The simulation; `now` is the real time, turns happen when the fleet asked for them."""

    def __init__(self, seed: int = 1, versions: tuple[int, ...] = (), **lines: SimLine) -> None:
        self.now = 1000.0
        self.versions = versions
        self.rng = random.Random(seed)
        self.lines = lines
        self.gateway_alive = True
        self.fleet = Fleet(self.now)
        self.configure()
        self.changes: list[tuple[float, str, str]] = []
        self.asks: list[tuple[float, Ask]] = []
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._turn_at = self.now
        self._asleep_until = 0.0
        self._deaf: list[Callable[[], None]] = []
        self._states: dict[str, str] = dict.fromkeys(lines, "") | {"gw": ""}

    def configure(self, metered: tuple[str, ...] = (), style: ProbeStyle = "normal") -> None:
        versions = {"gw": self.versions}
        setups = [
            LineSetup(n, line.kind, line.link, metered=n in metered, style=style, versions=versions)
            for n, line in self.lines.items()
        ]
        self.fleet.configure(setups, ["gw"], self.now)

    def hiccup(self, seconds: float, *, whole_machine: bool) -> None:
        """Stop our process, or everything including the traffic, for a while."""
        self._asleep_until = self.now + seconds
        if whole_machine:
            for line in self.lines.values():
                line.stall_until = self._asleep_until
            for i, (at, order, action) in enumerate(self.events):
                self.events[i] = (at + seconds, order, action)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now += STEP_S
            for line in self.lines.values():
                if self.now >= line.stall_until:
                    self._traffic(line)
            while self.events and self.events[0][0] <= self.now:
                action = heapq.heappop(self.events)[2]
                if self.now < self._asleep_until:
                    self._deaf.append(action)
                else:
                    action()
            if self.now >= self._turn_at and self.now >= self._asleep_until:
                self._take_turn()

    def until(self, condition: Callable[[], bool], limit_s: float) -> float:
        """Run until the condition holds; return after how many seconds."""
        begun = self.now
        while not condition():
            assert self.now - begun < limit_s, f"did not happen within {limit_s} s: {self.changes}"
            self.run(STEP_S)
        return self.now - begun

    def state(self, name: str) -> str:
        return self.fleet.uplinks()[name].state

    def reach(self) -> str:
        return self.fleet.gateways()["gw"].reach

    def suspicions(self) -> list[tuple[float, str, str]]:
        return [change for change in self.changes if change[2] in ("suspect", "down")]

    def asked_between(self, begin: float, end: float) -> int:
        return sum(begin <= at < end for at, _ in self.asks)

    def _take_turn(self) -> None:
        for action in self._deaf:
            action()
        self._deaf.clear()
        counters = {n: Counters(li.rx, li.tx, li.rx_bytes, li.tx_bytes) for n, li in self.lines.items()}
        orders = self.fleet.turn(self.now, counters)
        for ask in orders.asks:
            self._send(ask)
        self._turn_at = self.now + orders.again_s
        current = {name: health.state for name, health in self.fleet.uplinks().items()} | {"gw": self.reach()}
        for name, state in current.items():
            if self._states.get(name) not in ("", state):
                self.changes.append((self.now, name, state))
        self._states = dict(current)

    def _send(self, ask: Ask) -> None:
        line, asked_at = self.lines[ask.line], self.now
        self.asks.append((asked_at, ask))
        question = len(self.asks)
        self.fleet.asked(ask, question, asked_at)

        line.asked += 1
        number = line.asked

        def arrive_up() -> None:
            if self.gateway_alive:
                line.reached += 1
                reached = line.reached
                self._at(
                    line.delay_s + line.queue_down_s,
                    lambda: arrive_down(reached),
                    lambda: not line.dead_down,
                    line,
                    "down",
                )

        def arrive_down(reached: int) -> None:
            passage = Passage(number - line.told[0], reached - line.told[1], 1) if number > line.told[0] else None
            line.told = max(line.told, (number, reached))
            self.fleet.answered(ask, question, self.now - asked_at, Told(True, 5.0), self.now, passage)

        def passes_up() -> bool:
            return not line.dead_up and ask.version not in line.dead_families

        self._at(line.delay_s + line.queue_up_s, arrive_up, passes_up, line, "up")

    def _at(
        self, delay_s: float, action: Callable[[], None], passes: Callable[[], bool], line: SimLine, way: str
    ) -> None:
        if not passes() or self.rng.random() < line.loss:
            return
        start = max(self.now, line.stall_until)
        if line.jitter_s:
            out = start + delay_s + line.jitter_s * self.rng.uniform(-1.0, 1.0)
            line.last_out[way] = max(out, line.last_out.get(way, out))
            delay_s = line.last_out[way] - start
        self._order += 1

        def deliver() -> None:
            if passes():
                action()

        heapq.heappush(self.events, (start + delay_s, self._order, deliver))

    def _traffic(self, line: SimLine) -> None:
        if line.load is None or not line.link.carrier:
            return
        packets = self._arrivals(line.packets_per_s * STEP_S)
        broken = line.dead_up or line.dead_down or not self.gateway_alive
        if line.load == "udp-up":
            self._sent(line, packets, 1400)
            return
        if not broken:
            line.stalled_s, line.retry_at = 0.0, []
        else:
            line.stalled_s += STEP_S
        window_s = 2 * line.delay_s + line.queue_up_s + line.queue_down_s
        flowing_s = self._flowing_s(line, window_s) if broken else 1.0
        if line.stalled_s <= flowing_s:
            self._full_duplex(line, packets)
            return
        self._retransmit(line, window_s)

    def _flowing_s(self, line: SimLine, window_s: float) -> float:
        """How long packets keep arriving after the line broke."""
        if line.dead_down:
            return 0.0
        if line.load == "download":
            return window_s  # what the sender may have under way without our acknowledgements
        return 2 * line.delay_s + line.queue_down_s

    def _full_duplex(self, line: SimLine, packets: int) -> None:
        match line.load:
            case "download" if line.jitter_s:
                for _ in range(packets):
                    self._at(line.delay_s, lambda: self._arrived(line), lambda: not line.dead_down, line, "down")
            case "download":
                self._received(line, packets, 1400)
                self._sent(line, packets // 2 + packets % 2, 60)
            case "upload":
                self._sent(line, packets, 1400)
                self._received(line, self._arrivals(line.packets_per_s * STEP_S / 2), 60)
            case "both":
                self._received(line, packets, 1400)
                self._sent(line, packets, 1400)
            case "chat":
                if self.rng.random() < 0.005:
                    self._sent(line, 1, 100)
                    self._at(2 * line.delay_s, lambda: self._received(line, 1, 100), lambda: True, line, "down")

    def _retransmit(self, line: SimLine, window_s: float) -> None:
        if not line.retry_at:
            start = self.now + 2 * window_s
            line.retry_at = [start, start + 0.2, start + 0.6, start + 1.4, start + 3.0, start + 6.0]
        if self.now >= line.retry_at[0]:
            line.retry_at.pop(0)
            if line.load in ("download", "both") and not line.dead_down and self.gateway_alive:
                self._received(line, 1, 1400)
                self._sent(line, 1, 60)
            if line.load in ("upload", "both", "chat"):
                self._sent(line, 1, 1400)

    def _arrived(self, line: SimLine) -> None:
        """One packet of a download, which is acknowledged."""
        self._received(line, 1, 1400)
        self._sent(line, 1, 60)

    def _arrivals(self, mean: float) -> int:
        whole = int(mean)
        return whole + (self.rng.random() < mean - whole)

    def _received(self, line: SimLine, packets: int, size: int) -> None:
        line.rx += packets
        line.rx_bytes += packets * size

    def _sent(self, line: SimLine, packets: int, size: int) -> None:
        line.tx += packets
        line.tx_bytes += packets * size


DEMO = {
    "dsl": {"kind": "dsl", "delay_s": 0.012, "packets_per_s": 1300.0},
    "lte": {"kind": "wwan", "delay_s": 0.025, "packets_per_s": 4000.0},
    "wifi": {"kind": "wifi", "delay_s": 0.008, "packets_per_s": 1700.0},
}


def demo(load: str | None, seed: int = 1, *, names: tuple[str, ...] = tuple(DEMO), **queues: float) -> World:
    """The demo preset's lines, up and measured while idle, then under load for two seconds."""
    world = World(seed, **{name: SimLine(**DEMO[name]) for name in names})  # type: ignore[arg-type]
    world.run(1.0)
    for line in world.lines.values():
        line.load = load
        for name, value in queues.items():
            setattr(line, name, value)
    world.run(2.0)
    assert {world.state(name) for name in world.lines} == {"up"}
    assert world.reach() == "up"
    assert not world.suspicions()
    world.changes.clear()
    return world
