"""One worker's place: adopt or start the process, talk to it, replace it when it ends or falls silent."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hagw.control.worker_link import WorkerLink, WorkerLost, encode
from hagw.control.worker_process import WorkerProcess
from hagw.control.worker_unit import start
from hagw.log import log_of

PING_INTERVAL_S = 0.3
LOOK_AGAIN_S = 0.01  # whether a worker has applied what it was given
SILENCE_MAX_S = 1.2
TICK_MAX_S = 1.5 * PING_INTERVAL_S  # what one tick may count as silence: the rest is our own lateness
START_GRACE_S = 3.0  # a process we just started may be this late with its first answer
START_TIMEOUT_S = 15.0
END_TIMEOUT_S = 2.0
APPLY_TIMEOUT_S = 5.0
LIVED_LONG_S = 10.0
BACK_OFF_S = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)
UNKNOWN_REQUEST = "unknown request "  # how a worker begins its answer to what it does not know
UNKNOWN_MAX = 16

SeatState = Literal["starting", "running", "ended"]
log = log_of("hagw.workers")


@dataclass(frozen=True, slots=True)
class SeatPlan:
    """How to reach and start the worker of one seat. `log` None = it writes to our own output.

    With `unit` systemd starts it, and `command` is only for its successors.
    """

    index: int
    socket: Path
    command: Sequence[str]
    log: Path | None
    unit: str | None = None


@dataclass(slots=True)
class FlowsReply:
    """A flows answer under way; it may come in several lines. `total`: they are some of so many."""

    total: int | None = None
    entries: list[dict[str, Any]] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Seat:
    """Keeps one worker running; what it tells is kept here, what it reports goes to the callbacks."""

    def __init__(
        self, plan: SeatPlan, *, on_event: Callable[[dict[str, Any]], None], on_change: Callable[[], None]
    ) -> None:
        self.plan = plan
        self.state: SeatState = "starting"
        self.reason = "starting"
        self.pid: int | None = None
        self.adopted = False
        self.starts = 0
        self.stats: dict[str, Any] = {}
        self.told_at = 0.0  # when it told them
        self.applied: int | None = None
        self._on_event = on_event
        self._on_change = on_change
        self._link: WorkerLink | None = None
        self._wanted: tuple[int, bytes] | None = None
        self._offered: tuple[int, float] | None = None  # generation and when, until it is applied
        self._ids = itertools.count(1)
        self._replies: dict[int, FlowsReply] = {}
        self._trials: dict[int, asyncio.Future[str]] = {}
        self._looks: dict[int, asyncio.Event] = {}
        self._heard_from = False
        self._unknown: set[str] = set()  # requests that this worker, an older one, does not know

    @property
    def is_listening(self) -> bool:
        """Say whether it accepts connections, as far as its last answer tells."""
        return self.state == "running" and bool(self.stats.get("listening"))

    def offer(self, generation: int, line: bytes) -> None:
        """Want this snapshot line applied; a newer one replaces it while the worker is busy with an older one."""
        self._wanted = (generation, line)
        self._send_wanted()

    def tell(self, line: bytes) -> None:
        """Send something that may as well get lost: left out while the worker is slow."""
        if self._link is not None and not self._link.is_congested():
            self._link.send(line)

    async def flows(self, recent_s: float, timeout_s: float) -> list[dict[str, Any]] | None:
        """Return its flows, None when it does not answer in time."""
        return await self._ask({"op": "flows", "recent_s": recent_s}, timeout_s)

    async def busiest(self, most: int, timeout_s: float) -> FlowsReply | None:
        """Return the flows that carry most with their rates, and how many there are; None when it does not answer.

        A worker of an older version tells all of them, without rates and `total`.
        """
        return await self._reply({"op": "flows", "recent_s": 0.0, "busiest": most}, timeout_s)

    async def flow(self, flow_id: str, timeout_s: float) -> list[dict[str, Any]] | None:
        """Return the flow with this id and its timeline if it has it, None when it does not answer in time."""
        return await self._ask({"op": "flow", "flow": flow_id}, timeout_s)

    async def usage(self, acknowledged: str, timeout_s: float) -> dict[str, Any] | None:
        """Return what customers used since the reading that is acknowledged, None when it does not answer in time."""
        answer = await self._ask({"op": "usage", "ack": acknowledged}, timeout_s)
        return answer[0] if answer else None

    async def _ask(self, request: dict[str, Any], timeout_s: float) -> list[dict[str, Any]] | None:
        reply = await self._reply(request, timeout_s)
        return None if reply is None else reply.entries

    async def _reply(self, request: dict[str, Any], timeout_s: float) -> FlowsReply | None:
        if self._link is None or request["op"] in self._unknown:
            return None
        number = next(self._ids)
        reply = self._replies[number] = FlowsReply()
        self._link.send(encode({**request, "id": number}))
        try:
            async with asyncio.timeout(timeout_s):
                await reply.done.wait()
        except TimeoutError:
            return None
        finally:
            del self._replies[number]
        return reply

    async def look(self, timeout_s: float) -> None:
        """Have its figures be of now, and of after the newest snapshot, unless it does not answer in time."""
        number = next(self._ids)
        answered = self._looks[number] = asyncio.Event()
        try:
            async with asyncio.timeout(timeout_s):
                while self._link is not None and self._wanted is not None and self.applied != self._wanted[0]:
                    await asyncio.sleep(LOOK_AGAIN_S)
                if self._link is not None:
                    self._link.send(encode({"op": "ping", "id": number}))
                    await answered.wait()
        except TimeoutError:
            pass  # what it said last stands
        finally:
            del self._looks[number]

    async def try_gateway(self, timeout_s: float) -> str:
        """Have it open a connection to the gateway; return why that failed, "" = it did not."""
        if self._link is None:
            return "the worker is away"
        number = next(self._ids)
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._trials[number] = answer
        self._link.send(encode({"op": "try", "id": number}))
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            return "the worker does not answer"
        finally:
            del self._trials[number]

    async def run(self) -> None:
        """Keep the seat taken, for ever; cancelling leaves the worker running."""
        fast_ends = 0
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                link = await self._fill()
                await self._converse(link)
            except WorkerLost as why:
                self._set("ended", str(why))
                log.warning("worker lost", index=self.plan.index, pid=self.pid, reason=str(why))
            fast_ends = 0 if loop.time() - began >= LIVED_LONG_S else fast_ends + 1
            await asyncio.sleep(BACK_OFF_S[min(fast_ends, len(BACK_OFF_S) - 1)])

    async def _fill(self) -> WorkerLink:
        """Return a link to the running worker, or to one started now."""
        try:
            link = await WorkerLink.connect(self.plan.socket, self._take)
        except OSError:
            link = await self._start()
            self.adopted = False
        else:
            self.adopted = True
        self.pid = link.process.pid
        log.info("worker found" if self.adopted else "worker started", index=self.plan.index, pid=self.pid)
        return link

    async def _start(self) -> WorkerLink:
        self.starts += 1
        self._set("starting", "starting")
        try:
            process = await start(tuple(self.plan.command), self.plan.log, self.plan.unit)
        except OSError as why:
            raise WorkerLost(f"cannot be started: {why.strerror}") from why
        link = None
        try:
            link = await self._await_socket(process)
            return link
        finally:
            if link is None:  # also when the daemon ends just now: nobody could reach this one any more
                process.kill()
            process.close()

    async def _await_socket(self, process: WorkerProcess) -> WorkerLink:
        """Wait for the started process to listen; kill it when it takes too long."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_TIMEOUT_S
        while loop.time() < deadline:
            if await process.wait_ended(0.02):
                raise WorkerLost("ended while starting")
            try:
                link = await WorkerLink.connect(self.plan.socket, self._take)
            except OSError:
                continue
            if link.process.pid != process.pid:  # another one of this seat was there first
                await _end(process)
            return link
        await _end(process)
        raise WorkerLost("did not open its control socket")

    async def _converse(self, link: WorkerLink) -> None:
        """Talk until the worker is lost; then make sure that it is gone. Raise WorkerLost."""
        self._link, self._offered, self._heard_from = link, None, False
        self._unknown.clear()
        try:
            self._send_wanted()
            reason = await self._watch(link)
            await _end(link.process)
        finally:
            self._link, self.applied, self.stats = None, None, {}
            link.close()
        raise WorkerLost(reason)

    async def _watch(self, link: WorkerLink) -> str:
        """Ping until the link breaks or SILENCE_MAX_S pass without an answer, not counting our own lateness."""
        loop = asyncio.get_running_loop()
        silence_s = 0.0 if self.adopted else SILENCE_MAX_S - START_GRACE_S
        last = loop.time()
        while silence_s < SILENCE_MAX_S:
            link.send(encode({"op": "ping", "id": next(self._ids)}))
            self._renew_offer(last)
            await asyncio.wait({link.lost}, timeout=PING_INTERVAL_S)
            if link.lost.done():
                return link.lost.result()
            now = loop.time()
            silence_s = 0.0 if self._heard_from else silence_s + min(now - last, TICK_MAX_S)
            self._heard_from, last = False, now
        return f"silent for {SILENCE_MAX_S} s"

    def _take(self, message: dict[str, Any]) -> None:
        match message:
            case {"op": "pong", "stats": dict(stats)}:
                self._heard_from = True
                was_listening = self.is_listening
                self.stats, self.told_at = stats, asyncio.get_running_loop().time()
                if (look := self._looks.get(message.get("id", 0))) is not None:
                    look.set()
                if self.state != "running" or was_listening != self.is_listening:
                    self._set("running", "")
            case {"op": "applied", "generation": int(generation)}:
                self.applied, self._offered = generation, None
                self._send_wanted()
            case {"op": "flows", "id": int(number), "flows": list(flows)}:
                if (reply := self._replies.get(number)) is not None:
                    reply.entries.extend(flows)
                    reply.total = message.get("total")
                    if not message.get("more"):
                        reply.done.set()
            case {"op": "tried", "id": int(number), "failure": str(failure)}:
                if (trial := self._trials.get(number)) is not None and not trial.done():
                    trial.set_result(failure)
            case {"op": "event", "event": str()}:
                # In a turn of its own: what goes wrong with an event must not look like a broken link.
                asyncio.get_running_loop().call_soon(self._on_event, message)
            case {"op": "error", "message": str(words)}:
                self._refused(words)
            case _:
                log.warning("worker said something unknown", index=self.plan.index, op=str(message.get("op")))

    def _refused(self, words: str) -> None:
        """It is asked no more for what it does not know, and the log tells so once."""
        unknown = words.removeprefix(UNKNOWN_REQUEST)
        if unknown == words or unknown not in self._unknown:
            log.warning("worker refused a request", index=self.plan.index, reason=words)
        if unknown != words and len(self._unknown) < UNKNOWN_MAX:
            self._unknown.add(unknown)

    def _send_wanted(self) -> None:
        if self._link is None or self._wanted is None or self._offered is not None:
            return
        generation, line = self._wanted
        if self.applied != generation:
            self._offered = (generation, asyncio.get_running_loop().time())
            self._link.send(line)

    def _renew_offer(self, now: float) -> None:
        """Offer again what was not applied for long: a worker may have dropped it."""
        if self._offered is not None and now - self._offered[1] > APPLY_TIMEOUT_S:
            log.warning("snapshot not applied", index=self.plan.index, generation=self._offered[0])
            self._offered = None
            self._send_wanted()

    def _set(self, state: SeatState, reason: str) -> None:
        self.state, self.reason = state, reason
        self._on_change()


async def _end(process: WorkerProcess) -> None:
    process.kill()
    if not await process.wait_ended(END_TIMEOUT_S):
        log.error("worker cannot be killed", pid=process.pid)
