"""The workers as a whole: as many seats as the configuration wants, one snapshot for all, their answers together.

Workers outlive the daemon: cancelling `run` leaves them alone, the next daemon finds them through their sockets.
"""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from heapq import nlargest
from pathlib import Path
from typing import Any, Literal

from hagw.control.renewal import NotRenewed, Retired, retired_sockets, succeed
from hagw.control.worker_link import WorkerLink, encode
from hagw.control.worker_process import WorkerProcess
from hagw.control.worker_seat import END_TIMEOUT_S, Seat, SeatPlan, SeatState
from hagw.control.worker_unit import unit_of
from hagw.model.snapshot import Snapshot, to_json
from hagw.policy.names import Learnt

WORKERS_MIN = 2  # one that dies leaves another to take the connections the kernel moves
DRAIN_S = 5.0
SURPLUS_DRAIN_S = 600.0  # nobody waits for these: their flows may as well end by themselves
FLOWS_TIMEOUT_S = 0.5
LOOK_TIMEOUT_S = 1.0
TRIAL_TIMEOUT_S = 2.0
USAGE_TIMEOUT_S = 2.0
RENEW_TIMEOUT_S = 5.0
SETTLED_TIMEOUT_S = 3.0
SETTLED_LOOK_S = 0.02

Role = Literal["cpe", "hag"]


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What is known of one worker. `stats` as in its last answer, at `told_at`; empty when it is away."""

    index: int
    pid: int | None
    state: SeatState
    reason: str
    is_listening: bool
    adopted: bool
    starts: int
    generation: int | None
    stats: dict[str, Any]
    told_at: float = 0.0

    def is_ready(self, since: int) -> bool:
        """Say whether it accepts connections, and works by snapshot `since` or a newer one."""
        return self.is_listening and (self.generation or 0) >= since


@dataclass(frozen=True, slots=True)
class FlowsAnswer:
    """Flows of all workers that answered in time, and the seats that did not. `total` flows there are."""

    flows: list[dict[str, Any]]
    silent: tuple[int, ...]
    total: int


def worker_count(wanted: int) -> int:
    """Return how many workers to run: what is wanted (0 = one a core), never fewer than two."""
    return max(WORKERS_MIN, wanted or os.cpu_count() or 1)


def seat_plan(role: Role, index: int, runtime_dir: Path) -> SeatPlan:
    """Return how to start worker `index`: with a log file of its own unless the journal takes our output."""
    isolated = ("-P",) if sys.flags.safe_path else ()
    return SeatPlan(
        index=index,
        socket=runtime_dir / f"worker-{index}.sock",
        command=(sys.executable, *isolated, "-m", "hagw.worker", "--role", role, "--index", str(index)),
        log=None if "JOURNAL_STREAM" in os.environ else runtime_dir / f"worker-{index}.log",
        unit=unit_of(role, index),
    )


class Workers:
    """Supervises all seats. `on_event` gets a worker's event messages, `on_change` is called when a seat changes."""

    def __init__(
        self,
        plans: tuple[SeatPlan, ...],
        *,
        on_event: Callable[[dict[str, Any]], None],
        on_change: Callable[[], None],
    ) -> None:
        self._on_event = on_event
        self._on_change = on_change
        self._seats = [self._seat(plan) for plan in plans]
        self._running: dict[int, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._newest: tuple[int, bytes] | None = None
        self._usage_kept: dict[int, str] = {}
        self._elsewhere = False
        self._retired = Retired(on_event)
        self._renewing = asyncio.Lock()

    async def run(self) -> None:
        """Keep all seats taken, for ever."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                self._start()
                if self._seats:
                    self._retired.look(self._runtime_dir(), group, self._newest)
                await asyncio.get_running_loop().create_future()
            finally:
                self._group = None

    def resize(self, plans: tuple[SeatPlan, ...]) -> None:
        """Have these seats from now on; workers of those that go drain, and end by themselves."""
        wanted = {plan.index: plan for plan in plans}
        before = {seat.plan.index: seat for seat in self._seats}
        self._seats = [before.get(index) or self._seat(plan) for index, plan in wanted.items()]
        for seat in self._seats:
            if self._newest is not None and seat.plan.index not in before:
                seat.offer(*self._newest)
        self._start()
        for index, seat in before.items():
            if index not in wanted:
                self._retire(seat)

    def publish(self, snapshot: Snapshot) -> None:
        """Have every worker apply this snapshot; only the newest reaches one that is slow."""
        line = encode({"op": "snapshot", "snapshot": to_json(snapshot)})
        self._newest = (snapshot.generation, line)
        for seat in (*self._seats, *self._retired.seats()):
            seat.offer(snapshot.generation, line)

    def heard(self, gateway: str, at: float) -> None:
        """Tell the workers that `gateway` gave a proof of life at `at` (CLOCK_MONOTONIC)."""
        line = encode({"op": "heard", "gateway": gateway, "at": at})
        for seat in (*self._seats, *self._retired.seats()):
            seat.tell(line)

    def named(self, learnt: list[Learnt]) -> None:
        """Tell the workers names of servers."""
        entries = [[each.address, each.domain, each.until] for each in learnt]
        line = encode({"op": "names", "names": entries})
        for seat in self._seats:
            seat.tell(line)

    def listening_count(self) -> int:
        """Return how many workers accept connections."""
        return sum(seat.is_listening for seat in self._seats)

    async def settled(self) -> None:
        """Wait until every worker accepts connections, or SETTLED_TIMEOUT_S: less urgent things may start then."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + SETTLED_TIMEOUT_S
        while self.listening_count() < len(self._seats) and loop.time() < deadline:
            await asyncio.sleep(SETTLED_LOOK_S)

    async def look(self, timeout_s: float = LOOK_TIMEOUT_S) -> None:
        """Have the reports tell of now, and of after the newest snapshot, where workers answer in time."""
        await asyncio.gather(*(seat.look(timeout_s) for seat in (*self._seats, *self._retired.seats())))

    def reports(self) -> tuple[WorkerReport, ...]:
        """Return what is known of every worker, in the order of their index."""
        return tuple(_report(seat) for seat in self._seats)

    def retired(self) -> tuple[WorkerReport, ...]:
        """Return what is known of workers that only finish."""
        return tuple(_report(seat) for seat in self._retired.seats())

    async def renew(self) -> tuple[WorkerReport, ...]:
        """Replace every worker by a new process, one after the other; the old ones finish. Raise NotRenewed."""
        async with self._renewing:
            for seat in tuple(self._seats):
                if seat.state == "running":
                    await self._renew(seat)
        return self.reports()

    async def _renew(self, seat: Seat) -> None:
        index, group = seat.plan.index, self._group
        task = self._running.get(index)
        if task is None or group is None:
            return
        await succeed(seat.plan)
        task.cancel()  # which leaves the old one working
        await asyncio.wait({task})
        self._running[index] = group.create_task(seat.run())
        self._retired.look(self._runtime_dir(), group, self._newest)
        deadline = asyncio.get_running_loop().time() + RENEW_TIMEOUT_S
        while not seat.is_listening:  # the next one only then: somebody always accepts
            if asyncio.get_running_loop().time() > deadline:
                raise NotRenewed(f"Worker {index} was replaced, but its successor does not listen.")
            await asyncio.sleep(0.02)

    def _runtime_dir(self) -> Path:
        return self._seats[0].plan.socket.parent

    async def flows(self, recent_s: float, timeout_s: float = FLOWS_TIMEOUT_S) -> FlowsAnswer:
        """Return the flows of all workers; one that is silent costs `timeout_s`, not the answer."""
        seats = (*self._seats, *self._retired.seats())
        answers = await asyncio.gather(*(seat.flows(recent_s, timeout_s) for seat in seats))
        flows = [entry for answer in answers if answer is not None for entry in answer]
        silent = tuple(s.plan.index for s, answer in zip(seats, answers, strict=True) if answer is None)
        return FlowsAnswer(flows, silent, len(flows))

    async def busiest(self, most: int, timeout_s: float = FLOWS_TIMEOUT_S) -> FlowsAnswer:
        """Return the flows that carry most of all workers, the busiest first, with their rates."""
        seats = (*self._seats, *self._retired.seats())
        replies = await asyncio.gather(*(seat.busiest(most, timeout_s) for seat in seats))
        told = [reply for reply in replies if reply is not None]
        every = [{"down_bps": 0, "up_bps": 0, **entry} for reply in told for entry in reply.entries]
        flows = nlargest(
            most, every, key=lambda flow: (flow["down_bps"] + flow["up_bps"], flow.get("started_s") or 0.0)
        )
        silent = tuple(s.plan.index for s, reply in zip(seats, replies, strict=True) if reply is None)
        total = sum(len(reply.entries) if reply.total is None else reply.total for reply in told)
        return FlowsAnswer(flows, silent, total)

    async def read_usage(self, keep: Callable[[str, str, list[list[Any]]], Awaitable[None]]) -> None:
        """Read what customers used, worker by worker: name of the reading, day, and customer, down, up, flows.

        A reading that `keep` has not returned from is read again. Each worker is told what the others carry.
        """
        live: dict[int, dict[str, int]] = {}
        seats = (*self._seats, *self._retired.seats())
        for seat in seats:
            answer = await seat.usage(self._usage_kept.get(seat.plan.index, ""), USAGE_TIMEOUT_S)
            match answer:
                case {"batch": str(batch), "day": str(day), "used": list(used), "live": dict(flows)}:
                    live[seat.plan.index] = flows
                    if used:
                        await keep(batch, day, used)
                        self._usage_kept[seat.plan.index] = batch
        total = Counter[str]()
        for flows in live.values():
            total.update(flows)
        for seat in seats:
            own = live.get(seat.plan.index)
            if own is not None and (total or self._elsewhere):
                others = {name: count - own.get(name, 0) for name, count in total.items()}
                seat.tell(encode({"op": "elsewhere", "flows": others}))
        self._elsewhere = bool(total)

    def share_gateways(self) -> None:
        """Tell each worker of a CPE how many flows the others have through each gateway, for limits of them all."""
        through = {seat.plan.index: dict(seat.stats.get("through") or {}) for seat in self._seats}
        total = Counter[str]()
        for flows in through.values():
            total.update(flows)
        if total or self._elsewhere:
            for seat in self._seats:
                others = {name: count - through[seat.plan.index].get(name, 0) for name, count in total.items()}
                seat.tell(encode({"op": "elsewhere", "flows": others}))
        self._elsewhere = bool(total)

    async def try_gateway(self) -> str:
        """Have a worker open a connection to the gateway; return why that failed, "" = it did not."""
        seat = next((seat for seat in self._seats if seat.is_listening), None)
        return "no worker accepts connections" if seat is None else await seat.try_gateway(TRIAL_TIMEOUT_S)

    def _seat(self, plan: SeatPlan) -> Seat:
        return Seat(plan, on_event=self._on_event, on_change=self._on_change)

    def _start(self) -> None:
        """Run the seats that are not yet; before `run` there is nothing to do."""
        if self._group is not None:
            for seat in self._seats:
                if seat.plan.index not in self._running:
                    self._running[seat.plan.index] = self._group.create_task(seat.run())

    def _retire(self, seat: Seat) -> None:
        task = self._running.pop(seat.plan.index, None)
        if task is not None and self._group is not None:
            task.cancel()
            self._group.create_task(_retire_after(task, seat.plan.socket))

    async def flow(self, flow_id: str, timeout_s: float = FLOWS_TIMEOUT_S) -> dict[str, Any] | None:
        """Return the flow with this id and its timeline, None where no worker has it."""
        seats = (*self._seats, *self._retired.seats())
        answers = await asyncio.gather(*(seat.flow(flow_id, timeout_s) for seat in seats))
        return next((entry for answer in answers for entry in answer or ()), None)


async def retire_surplus(runtime_dir: Path, count: int) -> tuple[int, ...]:
    """Have workers beyond `count` (of an earlier configuration) drain and end by themselves; return their pids."""
    processes = [await _dismiss(path, SURPLUS_DRAIN_S) for path in _sockets(runtime_dir, count)]
    for process in processes:
        if process is not None:
            process.close()
    return tuple(process.pid for process in processes if process is not None)


async def stop_all(runtime_dir: Path, drain_s: float = DRAIN_S) -> int:
    """Have all workers drain and end; kill those that do not. Return how many there were."""
    # Those that retire first: one whose successor goes before it listened takes its place, and its name, again.
    paths = [*retired_sockets(runtime_dir), *_sockets(runtime_dir, 0)]
    found = [process for path in paths if (process := await _dismiss(path, drain_s)) is not None]
    deadline = asyncio.get_running_loop().time() + drain_s + END_TIMEOUT_S
    for process in found:
        if not await process.wait_ended(max(0.0, deadline - asyncio.get_running_loop().time())):
            process.kill()
            await process.wait_ended(END_TIMEOUT_S)
        process.close()
    for path in paths:
        path.unlink(missing_ok=True)
    return len(found)


async def _retire_after(task: "asyncio.Task[None]", path: Path) -> None:
    """Once nobody watches over the worker at `path` any more, have it drain and end by itself."""
    await asyncio.wait({task})
    process = await _dismiss(path, SURPLUS_DRAIN_S)
    if process is not None:
        process.close()


def _sockets(runtime_dir: Path, first: int) -> list[Path]:
    """Return the control sockets of workers from index `first` on."""
    numbers = {path: path.stem.removeprefix("worker-") for path in sorted(runtime_dir.glob("worker-*.sock"))}
    return [path for path, number in numbers.items() if number.isdecimal() and int(number) >= first]


async def _dismiss(path: Path, drain_s: float) -> WorkerProcess | None:
    """Tell the worker at `path` to drain and end; None when there is none."""
    try:
        link = await WorkerLink.connect(path, _ignore)
    except OSError:
        return None
    link.send(encode({"op": "stop", "drain_s": drain_s}))
    return await link.finish()


def _ignore(message: dict[str, Any]) -> None:
    """Nothing a retired worker says matters."""


def _report(seat: Seat) -> WorkerReport:
    return WorkerReport(
        index=seat.plan.index,
        pid=seat.pid,
        state=seat.state,
        reason=seat.reason,
        is_listening=seat.is_listening,
        adopted=seat.adopted,
        starts=seat.starts,
        generation=seat.applied,
        stats=seat.stats,
        told_at=seat.told_at,
    )
