"""Keeps history going: a sample of every line each second, events as the log tells them, both on disk now and then."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from hagw.history.events import RETENTION_S, Events, News
from hagw.history.news import news_of
from hagw.history.series import Sample, Series

SAMPLE_S: Final = 1.0
EVENTS_S: Final = 5.0  # how late an event may be on disk
WAITING_MAX: Final = 1_000


class Tap:
    """Listens to the log: what of it is news for people waits here until it is taken. Any thread may log."""

    def __init__(self) -> None:
        self._waiting: deque[News] = deque(maxlen=WAITING_MAX)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_news: Callable[[], None] = lambda: None

    def __call__(self, said: Mapping[str, Any]) -> None:
        """Take note of a log event."""
        news = news_of(said)
        if news is not None:
            self._waiting.append(news)
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._on_news)

    def lead(self, loop: asyncio.AbstractEventLoop | None, on_news: Callable[[], None]) -> None:
        """Have `on_news` called in the loop whenever there is something to `take`; None = not any more."""
        self._on_news = on_news
        self._loop = loop

    def take(self) -> list[News]:
        """Return what waits, oldest first."""
        found = []
        while self._waiting:
            found.append(self._waiting.popleft())
        return found


class Keeper:
    """Series and events of one daemon. `look` returns a sample of every line, `on_sample` hears of it."""

    def __init__(self, state_dir: Path, tap: Tap) -> None:
        self.series = Series(state_dir / "history")
        self.events = Events(state_dir / "events")
        self.look: Callable[[], Mapping[str, Sample]] = dict
        self.events_s: Callable[[], float] = lambda: RETENTION_S  # how long they are wanted; 0 = not at all
        self.on_sample: Callable[[int, Mapping[str, float | None]], None] = lambda at, told: None
        self._tap = tap
        self._writing = threading.Lock()

    async def run(self) -> None:
        """Keep history for ever; when cancelled, write what is not written yet."""
        await asyncio.to_thread(self._begin)
        self._tap.lead(asyncio.get_running_loop(), self._drain)
        self._drain()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._write_for_ever())
                while True:
                    await asyncio.sleep(SAMPLE_S)
                    self.events.retention_s = self.events_s() or None
                    self.on_sample(*self.series.add(self.look()))
        finally:
            self._tap.lead(None, lambda: None)
            self._drain()
            self._write(self.series.flush)
            self._write(self.events.flush)

    async def _write_for_ever(self) -> None:
        """Write what is due; samples do not wait for the disk."""
        loop = asyncio.get_running_loop()
        events_at = loop.time() + EVENTS_S
        while True:
            await asyncio.sleep(SAMPLE_S)
            if self.series.is_due():
                await asyncio.to_thread(self._write, self.series.flush)
            if loop.time() >= events_at:
                events_at = loop.time() + EVENTS_S
                await asyncio.to_thread(self._write, self.events.flush)

    def _write(self, flush: Callable[[], None]) -> None:
        with self._writing:  # a thread that is cut loose by the end still writes
            flush()

    def _begin(self) -> None:
        self.series.begin()
        self.events.begin()

    def _drain(self) -> None:
        for news in self._tap.take():
            self.events.add(news)
