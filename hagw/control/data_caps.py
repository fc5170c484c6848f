"""Data caps at work: counts what lines carry, keeps it on disk, and says what is left of each line.

The pure part is `hagw.caps`. Looks come the more often the nearer a rung is at the fastest rate seen, and the ledger is
saved every few seconds or megabytes. A restart loses nothing: the kernel's counters go on, and what they grew by
since the last save is booked at the first look.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final, Protocol

from hagw.caps.ladder import left_bytes, restraints, standing
from hagw.caps.ledger import corrected, count
from hagw.control.usage import DataCapStatus, document
from hagw.control.usage_file import UsageDamaged, UsageFile
from hagw.errors import Refused
from hagw.log import log_of
from hagw.model.intent import CpeIntent, DataCapIntent, Intent
from hagw.model.usage import CapStanding, Ledger, Reading, Restraint, Volume

LOOK_MIN_S: Final = 0.05
LOOK_MAX_S: Final = 0.25
SAVE_AFTER_S: Final = 20.0
SAVE_AFTER_BYTES: Final = 3_000_000  # with what comes until the next look and while it is written: 5 MB
SAVE_GAP_S: Final = 0.1  # however fast the line is: flash memory wears out
SAVE_LOOK_S: Final = 1.0
LOOK_AFTER_BYTES: Final = 1_000_000

log = log_of("hagw.caps")


class CountersPort(Protocol):
    """The kernel's counters."""

    def read(self, interfaces: Mapping[str, str]) -> dict[str, Reading]:
        """Return a reading by line, of the interfaces (line -> name) that exist. Raises OSError."""


class DataCaps:
    """All caps of the intent in force. `on_change` is called when what is left of some line has changed."""

    def __init__(
        self, counters: CountersPort, file: UsageFile, intent: Callable[[], Intent], clock: Callable[[], float]
    ) -> None:
        """Count for the intent that is in force at each look; `clock` is the wall clock in seconds."""
        self.on_change: Callable[[], None] = lambda: None
        self._counters = counters
        self._file = file
        self._intent = intent
        self._clock = clock
        self._interfaces: Mapping[str, str] = {}
        self._ledger = Ledger()
        self._saved = Ledger()
        self._saving = threading.Lock()
        self._saved_at = time.monotonic()
        self._looked_at: float | None = None
        self._fastest = 0.0  # bytes a second, of all capped lines together
        self._rate = 0.0  # likewise, between the last two looks
        self._is_much = asyncio.Event()  # so much that it is to be saved
        self._unsaved = 0
        self._trouble = ""
        self._standings: tuple[CapStanding, ...] = ()
        self._restraints: dict[str, Restraint] = {}
        self._load()

    @property
    def restraints(self) -> Mapping[str, Restraint]:
        """What is left of lines, by name, where that is not everything."""
        return self._restraints

    @property
    def intents(self) -> tuple[DataCapIntent, ...]:
        """The caps that are in force."""
        intent = self._intent()
        return intent.data_caps if isinstance(intent, CpeIntent) else ()

    def documents(self) -> list[DataCapStatus]:
        """Return every cap's status, in the order of the configuration."""
        self.look()
        known = {stands.name: stands for stands in self._standings}
        books = self._ledger.books
        return [document(cap, known[cap.name], books[cap.name].earlier) for cap in self.intents if cap.name in known]

    def use(self, interfaces: Mapping[str, str]) -> None:
        """Take the lines' interfaces (line -> name) as they are now."""
        self._interfaces = dict(interfaces)

    async def run(self) -> None:
        """Count for ever; what is not saved is when cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._save_for_ever())
                while True:
                    await asyncio.sleep(self.look())
        finally:
            self._save()

    def look(self) -> float:
        """Read the counters, book what they show and judge; return after how many seconds to look again."""
        caps = self.intents
        if not caps:
            self._judge(caps, self._now())
            return LOOK_MAX_S
        at, now = time.monotonic(), self._now()
        capped = {line for cap in caps for line in cap.uplinks}
        wanted = {line: name for line, name in self._interfaces.items() if line in capped and name}
        try:
            readings = self._counters.read(wanted)
        except OSError as why:
            self._tell_trouble(f"counters cannot be read: {why}")
            return LOOK_MAX_S
        before = self._ledger.books
        self._ledger, moved = count(self._ledger, caps, readings, now)
        for cap in caps:
            if cap.name in before and before[cap.name].now.begin != self._ledger.books[cap.name].now.begin:
                log.info("data cap period begins", cap=cap.name, begin=str(self._ledger.books[cap.name].now.begin))
        carried = sum(moved.values(), Volume()).total
        self._unsaved += carried
        if self._unsaved >= SAVE_AFTER_BYTES:
            self._is_much.set()
        if self._looked_at is not None and at > self._looked_at:
            self._rate = carried / (at - self._looked_at)
            self._fastest = max(self._fastest, self._rate)
        self._looked_at = at
        self._judge(caps, now)
        return self._patience_s(caps)

    async def correct(self, name: str, total: int | None, down: int | None, up: int | None) -> None:
        """Take the operator's figures for a cap's present period; on the disk when this returns.

        Raise Refused where there is no such cap, or the figures cannot be kept.
        """
        self.look()
        cap = next((cap for cap in self.intents if cap.name == name), None)
        if cap is None:
            known = ", ".join(cap.name for cap in self.intents) or "none"
            raise Refused(f"There is no data cap {name!r}; there are: {known}.")
        if name not in self._ledger.books:
            raise Refused(f"Nothing could be counted for {name!r} yet: {self._trouble or 'its lines are not there'}.")
        book = self._ledger.books[name]
        account = corrected(book.now, self._now(), total=total, down=down, up=up)
        self._ledger = replace(self._ledger, books={**self._ledger.books, name: replace(book, now=account)})
        self._judge(self.intents, self._now())
        if not await asyncio.to_thread(self._save):
            raise Refused(f"The correction counts, but cannot be kept: {self._trouble}.")
        log.info("data cap corrected", cap=name, used=account.used)

    def _judge(self, caps: tuple[DataCapIntent, ...], now: datetime) -> None:
        books = self._ledger.books
        self._standings = tuple(standing(cap, books[cap.name], now) for cap in caps if cap.name in books)
        for stands in self._standings:
            self._warn(stands)
        found = restraints(caps, self._standings)
        stages = {line: each.stage for line, each in found.items()}
        before = {line: each.stage for line, each in self._restraints.items()}
        self._restraints = found
        for line in sorted(stages.keys() | before.keys()):
            stage, was = stages.get(line, "normal"), before.get(line, "normal")
            if stage != was:
                reason = found[line].reason if line in found else ""
                log.warning("data cap changes what a line may carry", uplink=line, stage=stage, was=was, reason=reason)
        if stages != before:
            self.on_change()

    def _warn(self, stands: CapStanding) -> None:
        """Tell of a warning level once a period."""
        if stands.warned is None or stands.warned <= stands.account.said:
            return
        log.warning("data cap warning", cap=stands.name, percent=round(stands.share * 100, 1), reason=stands.reason)
        book = self._ledger.books[stands.name]
        told = replace(book, now=replace(book.now, said=stands.warned))
        self._ledger = replace(self._ledger, books={**self._ledger.books, stands.name: told})

    def _patience_s(self, caps: tuple[DataCapIntent, ...]) -> float:
        """Return how long a rung is certainly not reached, and half of that again, nor much passes, within bounds."""
        lefts = [left_bytes(cap, self._ledger.books[cap.name].now) for cap in caps]
        left = min((each for each in lefts if each is not None), default=None)
        until_much_s = LOOK_AFTER_BYTES / self._rate if self._rate > 0 else LOOK_MAX_S
        until_rung_s = LOOK_MAX_S if left is None or self._fastest <= 0 else left / self._fastest / 2
        return min(LOOK_MAX_S, max(LOOK_MIN_S, min(until_much_s, until_rung_s)))

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock())  # noqa: DTZ006  # contracts and people go by local time

    # -- on disk ---------------------------------------------------------------------------------------------

    def _load(self) -> None:
        try:
            self._ledger = self._saved = self._file.load()
        except (UsageDamaged, OSError) as why:
            log.error("usage not read, counting begins anew", reason=str(why))

    async def _save_for_ever(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_much.wait(), SAVE_LOOK_S)
            self._is_much.clear()
            age_s = time.monotonic() - self._saved_at
            due = age_s >= SAVE_AFTER_S or self._unsaved >= SAVE_AFTER_BYTES
            if due and self._ledger != self._saved:
                await asyncio.to_thread(self._save)
            await asyncio.sleep(SAVE_GAP_S)

    def _save(self) -> bool:
        """Write the ledger as it is, in whatever thread; say whether it is on the disk."""
        with self._saving:  # a thread that is cut loose by the end still writes, and what is newest comes last
            ledger = self._ledger
            if ledger == self._saved:
                return True
            self._unsaved = 0
            self._saved_at = time.monotonic()
            try:
                self._file.save(ledger)
            except OSError as why:
                self._tell_trouble(f"usage cannot be saved: {why.strerror or why}")
                return False
            self._saved, self._trouble = ledger, ""
            return True

    def _tell_trouble(self, reason: str) -> None:
        if reason != self._trouble:
            log.error("data caps are not kept", reason=reason)
        self._trouble = reason
