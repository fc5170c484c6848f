"""The steering modes, enforced: which lines of each converted connection stand by now.

Every connection begins with its plan's reserve. Those of mode priority-based that carry bulk are looked at ten times
a second: one `Overflow` for each set of preferred lines and direction says how many may use more.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from hagw.dataplane.ports import LineCounters
from hagw.model.snapshot import Direction, LearnedView
from hagw.policy.modes.overflow import TICK_S, Overflow
from hagw.policy.modes.overflow_readings import Reading
from hagw.policy.modes.plan import TIERED, SteerPlan
from hagw.policy.modes.smallest_delay import Choice, others, quickest
from hagw.policy.modes.split import Split

if TYPE_CHECKING:
    from hagw.dataplane.cpe import CpeWorker
    from hagw.dataplane.gateway import GatewayConnection

SEARCH_TICKS: Final = 5  # how often all connections are looked at, not only those that carry bulk
BULK_BYTES: Final = 256 * 1024
BULK_RATE_BYTES: Final = 16 * 1024  # a second, else it pauses
QUEUED_BYTES: Final = 128 * 1024
ONE_WAY: Final = 4
TELL_AFTER_S: Final = 2.0  # how long a line must have been closed to count as in reserve
TELL: Final = 0.05  # change of a capacity that is worth telling
_MEMORY: Final = 0.9  # a tick

Stage = tuple[tuple[int, ...], tuple[int, ...], Direction]  # preferred lines, the next tier, direction


@dataclass(slots=True)
class _Flow:
    """One connection. `recent` are bytes of about the last second; `opened` is how far the next tier was open."""

    number: int
    connection: "GatewayConnection"
    moved: Callable[[], tuple[int, int]]
    down: int = 0
    up: int = 0
    recent_down: float = 0.0
    recent_up: float = 0.0
    accounted: int = 0
    opened: float = 0.0
    told: frozenset[int] = frozenset()  # the lines in reserve, as its timeline has it
    open_at: float = -TELL_AFTER_S  # when more than the reserve was last open to it
    kept_off: dict[int, int] = field(default_factory=dict)
    choice: Choice | None = None
    carried: dict[int, int] | None = None  # payload bytes by slot, as last seen while it was split by weight

    def look(self, ticks: int) -> None:
        """Take what it moved in the last `ticks`."""
        down, up = self.moved()
        keep = _MEMORY**ticks
        self.recent_down = self.recent_down * keep + down - self.down
        self.recent_up = self.recent_up * keep + up - self.up
        self.down, self.up = down, up

    def direction(self) -> Direction | None:
        """Return the direction in which it carries bulk now."""
        down, up = self.recent_down, self.recent_up
        if down >= ONE_WAY * up and self.down >= BULK_BYTES and down >= BULK_RATE_BYTES:
            return "down"
        if up >= ONE_WAY * down and self.up >= BULK_BYTES and (up >= BULK_RATE_BYTES or self._is_queued()):
            return "up"
        return None

    def _is_queued(self) -> bool:
        """Say whether much of what it sent is under way: over a slow line a full buffer takes nothing for long."""
        return self.connection.unacknowledged() >= QUEUED_BYTES


@dataclass(slots=True)
class _Stage:
    overflow: Overflow
    told_bps: float = 0.0
    rested_at: float = math.inf  # when there was last nothing to look at, until there is again


class Steering:
    """What a worker's connections may use now. `counters` None = nothing overflows."""

    def __init__(self, worker: "CpeWorker", counters: LineCounters | None = None) -> None:
        self._worker = worker
        self._counters = counters
        self._flows: dict[int, _Flow] = {}
        self._stages: dict[Stage, _Stage] = {}
        self._splits: dict[SteerPlan, Split] = {}
        self._ticks = 0
        self._is_ticking = False
        self._quickest: dict[SteerPlan, int | None] = {}
        self.kept_off: dict[int, int] = {}

    def reserve(self, plan: SteerPlan) -> frozenset[int]:
        """Return the lines that stand by for a connection of which nothing is known yet."""
        usable = self._usable(plan.slots)
        if plan.mode == "smallest-delay":
            self._quickest[plan] = quickest(self._rtts_ms(usable), self._quickest.get(plan))
            return others(plan.slots, self._quickest[plan])
        spared = self._worker.uplinks.spared().keys() & set(plan.slots) - set(usable)
        return plan.reserve(usable) | spared if plan.mode in TIERED else frozenset()

    def began(self, number: int, connection: "GatewayConnection", moved: Callable[[], tuple[int, int]]) -> None:
        """Steer a connection by its plan from now on; `moved` tells the bytes it has carried, down and up."""
        plan = connection.plan
        if len(plan.tiers) < 2 and plan.mode != "smallest-delay" and not plan.weights:
            self.ended(number)
            return
        self._flows.setdefault(number, _Flow(number, connection, moved))
        if not self._is_ticking:
            self._is_ticking = True
            self._worker.loop.call_in(TICK_S, self._tick)

    def document(self) -> list[dict[str, Any]]:
        """Return what is known of the lines that are filled first."""
        name = self._worker.uplinks.name
        return [
            {
                "preferred": [name(slot) for slot in preferred],
                "next": [name(slot) for slot in following],
                "direction": direction,
                "state": stage.overflow.state,
                "allowed_bps": None if stage.overflow.allowance.bps is None else round(stage.overflow.allowance.bps),
                "capacity_bps": None if stage.overflow.cap_bps is None else round(stage.overflow.cap_bps),
                "changes": stage.overflow.changes,
            }
            for (preferred, following, direction), stage in self._stages.items()
        ]

    def kept(self, number: int) -> dict[int, int]:
        """Return by line how many bytes of a connection others carried while it could have, but stood by."""
        flow = self._flows.get(number)
        if flow is None:
            return {}
        self._account(flow)
        return flow.kept_off

    def ended(self, number: int) -> None:
        """Forget a connection, once its last bytes are accounted for."""
        flow = self._flows.pop(number, None)
        if flow is not None:
            self._account(flow)

    def keep(self, connection: "GatewayConnection") -> None:
        """Lines came or went: bring a connection that is not under way to its plan's reserve."""
        if connection.state != "taken":
            connection.paths.stand_by(self.reserve(connection.plan))

    # --- ten times a second

    def _tick(self) -> None:
        if not self._flows:
            self._is_ticking = False
            for stage in self._stages.values():
                stage.overflow.rest()
                stage.rested_at = self._worker.loop.now
            return
        self._worker.loop.call_in(TICK_S, self._tick)
        self._ticks += 1
        is_search = self._ticks % SEARCH_TICKS == 0
        bulk: dict[tuple[SteerPlan, Direction], list[_Flow]] = {}
        split: dict[SteerPlan, list[_Flow]] = {}
        for flow in self._flows.values():
            direction = flow.direction()
            if is_search or direction is not None:
                flow.look(SEARCH_TICKS if direction is None else 1)
                direction = flow.direction()
                if is_search:
                    self._account(flow)
            if direction is not None and self._is_harmed(flow):
                flow.opened = 1.0
                self._stand_by(flow, frozenset(), "the preferred line holds it up")
            elif direction is not None and flow.connection.plan.mode == "priority-based":
                bulk.setdefault((flow.connection.plan, direction), []).append(flow)
            elif flow.connection.plan.weights:
                split.setdefault(flow.connection.plan, []).append(flow)
            elif is_search:
                self._rest(flow)
        self._steer(bulk)
        for plan, flows in split.items():
            self._split(plan, flows)
        for plan in self._splits.keys() - split.keys():
            del self._splits[plan]

    def _split(self, plan: SteerPlan, flows: list[_Flow]) -> None:
        """Have a plan's connections together keep to its weights."""
        moved: dict[int, int] = {}
        for flow in flows:
            carried = {slot: each.down + each.up for slot, each in flow.connection.paths.carried().items()}
            before = carried if flow.carried is None else flow.carried  # what an earlier rule had it do does not count
            for slot, size in carried.items():
                moved[slot] = moved.get(slot, 0) + size - before.get(slot, 0)
            flow.carried = carried
        known = self._splits.setdefault(plan, Split(dict(plan.weights)))
        closed = known.update(moved, frozenset(self._usable(plan.slots)), self._worker.loop.now)
        for flow in flows:
            flow.connection.paths.stand_by(closed)

    def _is_harmed(self, flow: _Flow) -> bool:
        """Say whether the no-harm guard has it do without a preferred line: then it needs the next ones whole."""
        plan, withheld = flow.connection.plan, flow.connection.paths.withheld
        return plan.mode == "priority-based" and bool(withheld.keys() & set(plan.slots) - self.reserve(plan))

    def _rest(self, flow: _Flow) -> None:
        flow.opened = 0.0
        plan, paths, now = flow.connection.plan, flow.connection.paths, self._worker.loop.now
        if plan.mode != "smallest-delay":
            flow.choice = None
            self._stand_by(flow, self.reserve(plan), plan.mode)
            return
        rtts_ms = self._rtts_ms(self._usable(plan.slots))
        if flow.choice is None:
            present = next((slot for slot in rtts_ms if slot not in paths.standby), None)
            flow.choice = Choice(quickest(rtts_ms) if present is None else present, now)
        self._stand_by(flow, others(plan.slots, flow.choice.look(rtts_ms, now)), plan.mode)

    def _steer(self, bulk: dict[tuple[SteerPlan, Direction], list[_Flow]]) -> None:
        """Have each stage say which flows may use the tier after it; flows of several plans may share a stage."""
        stages: dict[Stage, list[_Flow]] = {}
        for (plan, direction), flows in bulk.items():
            for stage in self._stages_of(plan, direction):
                stages.setdefault(stage, []).extend(flows)
        admitted: dict[Stage, frozenset[int]] = {}
        for stage in {**self._stages, **stages}:
            flows = sorted(stages.get(stage, ()), key=lambda flow: flow.number)
            admitted[stage] = self._admit(stage, flows)
        for (plan, direction), flows in bulk.items():
            for flow in flows:
                self._apply(flow, plan, direction, admitted)

    def _stages_of(self, plan: SteerPlan, direction: Direction) -> list[Stage]:
        by_slot = self._worker.uplinks.by_slot
        up = [tuple(slot for slot in tier if slot in by_slot and by_slot[slot].state == "up") for tier in plan.tiers]
        tiers = [tuple(slot for slot in tier if by_slot[slot].cap == "normal") for tier in up]
        tiers.append(tuple(slot for tier in up for slot in tier if by_slot[slot].cap == "overflow"))
        tiers = [tier for tier in tiers if tier]
        return [
            (tuple(slot for tier in tiers[: index + 1] for slot in tier), tiers[index + 1], direction)
            for index in range(len(tiers) - 1)
        ]

    def _admit(self, stage: Stage, flows: list[_Flow]) -> frozenset[int]:
        known = self._stages.get(stage)
        if known is None:
            known = self._stages[stage] = _Stage(Overflow(self._hint_bps(stage)))
        reading = self._read(stage)
        if reading is None:
            return frozenset()
        self._exchange(stage, known)
        allowance = known.overflow.allowance
        count = known.overflow.update(reading, len(flows), self._rtt_ms(stage[0]), self._rtt_ms(stage[1]))
        if not flows and known.overflow.state == "idle" and known.overflow.cap_bps is None:
            del self._stages[stage]
        for number, flow in enumerate(flows):
            flow.opened = allowance.opened(number)
        return frozenset(flow.number for flow in flows[:count])

    def _apply(self, flow: _Flow, plan: SteerPlan, direction: Direction, admitted: dict[Stage, frozenset[int]]) -> None:
        """Give a flow the tiers it may use at this tick; the others stand by."""
        standby, why = set(self.reserve(plan)), str(plan.mode)
        for stage in self._stages_of(plan, direction):
            if flow.number not in admitted[stage]:
                break
            standby -= set(stage[1])
            why = self._why_open(stage)
        self._stand_by(flow, frozenset(standby), why)

    def _stand_by(self, flow: _Flow, standby: frozenset[int], why: str) -> None:
        """Have lines stand by; the timeline tells what becomes of them, not every tick of a share."""
        paths, now = flow.connection.paths, self._worker.loop.now
        paths.stand_by(standby)
        is_priority = flow.connection.plan.mode == "priority-based"
        told = flow.told
        for slot in sorted(told - standby):
            paths.tell("overflowing" if is_priority else "in use", slot, why, now)
        if flow.opened:
            flow.open_at = now
        if is_priority and now - flow.open_at < TELL_AFTER_S:
            flow.told = told & standby
            return
        for slot in sorted(standby - told):
            paths.tell("in reserve", slot, flow.connection.plan.mode, now)
        flow.told = standby

    def _why_open(self, stage: Stage) -> str:
        names = ", ".join(self._worker.uplinks.name(slot) for slot in stage[0])
        overflow = self._stages[stage].overflow
        if overflow.state != "over" or overflow.cap_bps is None:
            return f"a trial whether {names} can carry no more"
        return f"{names} can carry no more than {overflow.cap_bps / 1e6:.1f} Mbit/s"

    # --- what is known of the lines

    def _usable(self, slots: tuple[int, ...]) -> tuple[int, ...]:
        """Return the lines that are up, those that a data cap spares only where there is no other."""
        by_slot = self._worker.uplinks.by_slot
        up = tuple(slot for slot in slots if slot in by_slot and by_slot[slot].state == "up")
        return tuple(slot for slot in up if by_slot[slot].cap == "normal") or up

    def _exchange(self, stage: Stage, known: _Stage) -> None:
        """Share with this worker's guard, and by it with the other workers, what a line carries at most."""
        preferred, _, direction = stage
        if len(preferred) != 1:
            return
        name, book, now = self._worker.uplinks.name(preferred[0]), self._worker.capacities, self._worker.loop.now
        cap_bps, told_bps = known.overflow.cap_bps, known.told_bps
        newer_bps = book.limit_since(name, direction, known.rested_at)
        known.rested_at = math.inf
        if newer_bps is not None:
            known.overflow.cap_bps = newer_bps  # others went on while nobody looked here
        elif cap_bps is None:
            known.overflow.suggest(book.limit_bps(name, direction, now))
        elif known.overflow.state == "over" and abs(cap_bps - told_bps) > TELL * cap_bps:
            known.told_bps = cap_bps
            book.adopt(LearnedView(name, direction, cap_bps, full=True, at=now))

    def _hint_bps(self, stage: Stage) -> float | None:
        preferred, _, direction = stage
        lines = [self._worker.uplinks.by_slot[slot] for slot in preferred]
        rates = [line.rate_down_bps if direction == "down" else line.rate_up_bps for line in lines]
        known = [float(rate) for rate in rates if rate is not None]
        return sum(known) if len(known) == len(rates) else None

    def _read(self, stage: Stage) -> Reading | None:
        """Read what a stage's lines have carried, None where a line's interface is gone."""
        if self._counters is None:
            return None
        preferred, excess, direction = stage
        by_slot = self._worker.uplinks.by_slot
        if not all(slot in by_slot for slot in (*preferred, *excess)):
            return None
        names = {slot: by_slot[slot].interface for slot in (*preferred, *excess)}
        read = self._counters.read(names.values())
        if not all(name in read for name in names.values()):
            return None
        way = 0 if direction == "down" else 1
        return Reading(
            self._worker.loop.now,
            sum(read[names[slot]][way] for slot in preferred),
            sum(read[names[slot]][way] for slot in excess),
            sum(read[names[slot]][1 - way] for slot in preferred),
        )

    def _rtts_ms(self, slots: tuple[int, ...]) -> dict[int, float | None]:
        return {slot: self._worker.uplinks.by_slot[slot].rtt_ms for slot in slots}

    def _rtt_ms(self, slots: tuple[int, ...]) -> float | None:
        """Return the longest round trip of some lines, None while it is not known."""
        by_slot = self._worker.uplinks.by_slot
        known = [by_slot[slot].rtt_ms for slot in slots if slot in by_slot]
        return max((rtt for rtt in known if rtt is not None), default=None)

    # --- the account

    def _account(self, flow: _Flow) -> None:
        """Count what others carried while a line could have been used, but stood by."""
        down, up = flow.moved()
        size, flow.accounted = down + up - flow.accounted, down + up
        if size <= 0 or flow.connection.plan.mode not in TIERED:
            return
        for slot in self._usable(tuple(self.reserve(flow.connection.plan))):
            kept = round(size * (1.0 - flow.opened))
            flow.kept_off[slot] = flow.kept_off.get(slot, 0) + kept
            self.kept_off[slot] = self.kept_off.get(slot, 0) + kept
