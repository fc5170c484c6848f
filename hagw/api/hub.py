"""What streams tell, made once for all who listen: each document is encoded once, whoever is slow misses some.

Nothing is made while nobody listens. Of what is only a state (status, flows, history) a slow listener keeps the newest;
of what happens once it keeps so many, and then has to connect again and ask for what it missed.
"""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from hagw.control.standing import Standing

SCHEMA: Final = 1
TICK_S: Final = 1.0
STREAMS_MAX: Final = 64
WAITING_MAX: Final = 256
FLOWS_MAX: Final = 200  # the busiest; all of them are asked for by the page
TOPICS: Final = ("status", "flows", "history", "events", "changes", "speedtests")
STATES: Final = frozenset({"status", "flows", "history"})

Document = Mapping[str, Any]


class Listener:
    """One stream: what it has still to be sent."""

    def __init__(self, topics: frozenset[str]) -> None:
        self.topics = topics
        self.overrun = False
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._news = asyncio.Event()

    def offer(self, topic: str, message: bytes) -> None:
        """Queue a message; a state that was not sent yet is replaced by the newer one."""
        if topic not in self.topics:
            return
        if topic in STATES:
            self._waiting = deque(each for each in self._waiting if each[0] != topic)
        if len(self._waiting) >= WAITING_MAX:
            self.overrun = True
        else:
            self._waiting.append((topic, message))
        self._news.set()

    async def take(self, patience_s: float) -> bytes:
        """Return everything that waits as one piece, after `patience_s` at most; nothing then."""
        try:
            async with asyncio.timeout(patience_s):
                await self._news.wait()
        except TimeoutError:
            return b""
        self._news.clear()
        piece = b"".join(message for _, message in self._waiting)
        self._waiting.clear()
        return piece


class Hub:
    """All streams. `status`, `flows` (those that carry most) and `standing` return what is true now."""

    def __init__(
        self,
        status: Callable[[], Document],
        flows: Callable[[], Awaitable[Document]],
        standing: Callable[[], Standing],
    ) -> None:
        self._status = status
        self._flows = flows
        self._standing = standing
        self._listeners: set[Listener] = set()
        self._wanted = asyncio.Event()
        self._last: dict[str, bytes] = {}
        self._told: tuple[Any, ...] | None = None

    async def run(self) -> None:
        """Make what listeners want, once a second, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wanted.wait()
            due = loop.time() + TICK_S
            await self._tick()
            if not self._listeners:
                self._wanted.clear()
                self._last.clear()
                continue
            await asyncio.sleep(max(0.0, due - loop.time()))

    def join(self, topics: frozenset[str]) -> Listener | None:
        """Return a new listener, who hears the newest state at once; None where there are too many."""
        if len(self._listeners) >= STREAMS_MAX:
            return None
        listener = Listener(topics)
        self._listeners.add(listener)
        for topic, message in self._last.items():
            listener.offer(topic, message)
        self._wanted.set()
        return listener

    def leave(self, listener: Listener) -> None:
        """Forget a listener."""
        self._listeners.discard(listener)

    def tell(self, topic: str, document: Document) -> None:
        """Tell whoever listens to the topic."""
        if self._wants(topic):
            message = encode(topic, document)
            if topic in STATES:
                self._last[topic] = message
            for listener in self._listeners:
                listener.offer(topic, message)

    def look_for_changes(self) -> None:
        """Tell if the configuration stands otherwise than before."""
        if not self._wants("changes"):
            self._told = None
            return
        now = self._standing()
        seen = (now.generation, now.pending_confirm_s is not None, now.file_differs, now.notice)
        if self._told is not None and seen != self._told:
            self.tell("changes", {"schema": SCHEMA, **_fields(now)})
        self._told = seen

    async def _tick(self) -> None:
        self.look_for_changes()
        if self._wants("status"):
            self.tell("status", self._status())
        if self._wants("flows"):
            self.tell("flows", await self._flows())

    def _wants(self, topic: str) -> bool:
        return any(topic in listener.topics for listener in self._listeners)


def encode(topic: str, document: Document) -> bytes:
    """Return a message of `text/event-stream`; JSON has no line breaks of its own."""
    return f"event: {topic}\ndata: {json.dumps(document, separators=(',', ':'), default=list)}\n\n".encode()


def _fields(standing: Standing) -> dict[str, Any]:
    return {
        "generation": standing.generation,
        "pending_confirm_s": standing.pending_confirm_s,
        "file_differs": standing.file_differs,
        "notice": standing.notice,
    }
