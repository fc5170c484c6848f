"""Speed tests of single lines: one at a time, within the volume that a line may cost, to be cancelled at any time."""

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal, Protocol

from hagw.control.usage import DataCapStatus
from hagw.errors import HagwError, Refused
from hagw.log import log_of
from hagw.model.intent import CpeIntent, Intent
from hagw.model.snapshot import CpeSnapshot, Direction, Snapshot, UplinkView

LASTS_S: Final = 8.0
SLOW_START_S: Final = 1.0  # not counted: a connection begins slowly
TICK_S: Final = 0.2
BYTES_MAX: Final = 250_000_000
METERED_BYTES_MAX: Final = 10_000_000
CAP_SHARE_MAX: Final = 0.01  # of what a data cap leaves
BYTES_MIN: Final = 100_000  # less says nothing
KEPT_MAX: Final = 20

State = Literal["running", "done", "cancelled", "failed"]
Document = dict[str, Any]
Moved = Callable[[int], None]

log = log_of("hagw.speedtest")


class MoverPort(Protocol):
    """Who moves bytes over one line."""

    async def __call__(
        self, uplink: UplinkView, url: str, direction: Direction, limit_bytes: int, moved: Moved
    ) -> None:
        """Move up to `limit_bytes` to or from a URL, telling each piece. Raise OSError or HagwError."""


@dataclass(frozen=True, slots=True)
class Test:
    """One speed test. `progress` is 0..1; `rate_bps` is payload, null until the slow start is over."""

    id: str
    uplink: str
    direction: Direction
    state: State
    progress: float
    rate_bps: int | None
    bytes: int
    limit_bytes: int
    reason: str = ""

    def document(self) -> Document:
        """Return it as it is told."""
        return {"schema": 1, **asdict(self)}


class Speedtests:
    """The tests of one daemon."""

    def __init__(
        self,
        intent: Callable[[], Intent],
        snapshot: Callable[[], Snapshot | None],
        caps: Callable[[], list[DataCapStatus]],
        move: MoverPort,
    ) -> None:
        self.on_change: Callable[[Document], None] = lambda document: None
        self._intent = intent
        self._snapshot = snapshot
        self._caps = caps
        self._move = move
        self._tests: OrderedDict[str, Test] = OrderedDict()
        self._ids = itertools.count(1)
        self._running: asyncio.Task[None] | None = None
        self._wanted: asyncio.Queue[tuple[Test, UplinkView, str]] = asyncio.Queue()

    async def run(self) -> None:
        """Carry out what is asked for, for ever."""
        while True:
            test, line, url = await self._wanted.get()
            async with asyncio.TaskGroup() as group:
                self._running = group.create_task(self._carry_out(test, line, url))
            self._running = None

    def start(self, uplink: str, direction: Direction, max_bytes: int | None = None) -> Document:
        """Begin a test. Raise Refused where there is none to be had now."""
        if any(test.state == "running" for test in self._tests.values()):
            raise Refused("A speed test is running already; one at a time says something.")
        intent, snapshot = self._intent(), self._snapshot()
        if not isinstance(intent, CpeIntent) or not isinstance(snapshot, CpeSnapshot):
            raise Refused("Lines are tested on the CPE; this is a HAG.")
        url = intent.speedtest.down if direction == "down" else intent.speedtest.up
        if not url:
            raise Refused(f"There is nothing to test against: set speedtest.{direction} in the configuration to a URL.")
        line = next((each for each in snapshot.uplinks if each.name == uplink), None)
        if line is None or line.state != "up":
            raise Refused(f"Line {uplink} is not up." if line is not None else f"There is no line {uplink!r}.")
        limit = min(self._limit(line), max_bytes or BYTES_MAX)
        if limit < BYTES_MIN:
            raise Refused(f"What its data cap leaves of line {uplink} is too little for a test.")
        test = Test(f"s{next(self._ids)}", uplink, direction, "running", 0.0, None, 0, limit)
        self._keep(test)
        self._wanted.put_nowait((test, line, url))
        return test.document()

    def get(self, test_id: str) -> Document | None:
        """Return a test, None where there is none of this id."""
        found = self._tests.get(test_id)
        return None if found is None else found.document()

    def all(self) -> list[Document]:
        """Return the tests that are remembered, newest first."""
        return [test.document() for test in reversed(self._tests.values())]

    def cancel(self, test_id: str) -> Document | None:
        """End a test now; return it, None where there is none."""
        found = self._tests.get(test_id)
        if found is None:
            return None
        if found.state == "running":
            self._keep(replace(found, state="cancelled", reason="as asked"))
            if self._running is not None:
                self._running.cancel()
        return self._tests[test_id].document()

    def _limit(self, line: UplinkView) -> int:
        caps = [cap for cap in self._caps() if line.name in cap["uplinks"]]
        limit = METERED_BYTES_MAX if line.metered or caps else BYTES_MAX
        for cap in caps:
            for volume, used in (
                (cap["volume_bytes"], cap["used_bytes"]),
                (cap["volume_down_bytes"], cap["used_down_bytes"]),
                (cap["volume_up_bytes"], cap["used_up_bytes"]),
            ):
                if volume is not None:
                    limit = min(limit, int(max(0, volume - used) * CAP_SHARE_MAX))
        return 0 if line.cap in ("cut", "standby") else limit

    async def _carry_out(self, test: Test, line: UplinkView, url: str) -> None:
        if self._tests[test.id].state != "running":
            return  # cancelled before it began
        meter = _Meter(asyncio.get_running_loop().time())
        failure: str | None = None
        try:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(self._watch(test, meter))
                try:
                    async with asyncio.timeout(LASTS_S):
                        await self._move(line, url, test.direction, test.limit_bytes, meter.add)
                except TimeoutError:
                    pass  # long enough
                except (OSError, HagwError) as why:
                    failure = str(why) or type(why).__name__
                watching.cancel()
        finally:
            self._end(test, meter, failure)

    async def _watch(self, test: Test, meter: "_Meter") -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._keep(self._measured(test, meter))

    def _measured(self, test: Test, meter: "_Meter") -> Test:
        now = asyncio.get_running_loop().time()
        share = max((now - meter.began) / LASTS_S, meter.bytes / test.limit_bytes)
        return replace(test, progress=round(min(1.0, share), 3), rate_bps=meter.rate_bps(now), bytes=meter.bytes)

    def _end(self, test: Test, meter: "_Meter", failure: str | None) -> None:
        measured = self._measured(test, meter)
        if self._tests[test.id].state == "cancelled":
            self._keep(replace(measured, state="cancelled", reason="as asked"))
        elif failure is not None or meter.bytes == 0:
            self._keep(replace(measured, state="failed", reason=failure or "nothing came or went"))
        else:
            self._keep(replace(measured, state="done", progress=1.0))
            log.info("line tested", uplink=test.uplink, direction=test.direction, bps=measured.rate_bps)

    def _keep(self, test: Test) -> None:
        self._tests[test.id] = test
        while len(self._tests) > KEPT_MAX:
            self._tests.popitem(last=False)
        self.on_change(test.document())


class _Meter:
    """Counts what is moved; the rate is that after the slow start, where there was enough of it."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.bytes = 0
        self._first: tuple[float, int] | None = None
        self._last = began

    def add(self, size: int) -> None:
        """Take note of a piece."""
        now = asyncio.get_running_loop().time()
        self.bytes += size
        self._last = now
        if self._first is None and now - self.began >= SLOW_START_S:
            self._first = now, self.bytes

    def rate_bps(self, now: float) -> int | None:
        """Return the rate so far, None as long as it says nothing."""
        if self._first is not None and self._last > self._first[0] + TICK_S:
            return round((self.bytes - self._first[1]) * 8 / (self._last - self._first[0]))
        passed_s = self._last - self.began
        return round(self.bytes * 8 / passed_s) if passed_s > 0 and self.bytes else None
