"""Small requests at a steady pace, whatever becomes of those before: says when each was answered, and when each failed.

A request that hangs keeps no other one waiting, so the longest span without an answer is what a LAN saw of a fault.
Standard library only, as it is part of the client's program (`hagw.lab.bench.peer`).
"""

import json
import selectors
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, TextIO

_ANSWER_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class Watch:
    """Whom to ask, how often, and how long to wait for one answer before it counts as failed."""

    address: str
    port: int
    every_ms: float
    patience_s: float


@dataclass(slots=True)
class Watched:
    """Moments in seconds since `began` (CLOCK_MONOTONIC)."""

    began: float
    answers: list[float] = field(default_factory=list)
    failures: list[float] = field(default_factory=list)


def watch(order: Watch, until: TextIO) -> None:
    """Ask until `until` has something to read, then print what was seen."""
    seen = _Asker(order).run(until)
    print(json.dumps({"began": seen.began, "answers": seen.answers, "failures": seen.failures}))
    sys.stdout.flush()


def longest_silence_s(answers: Sequence[float], since: float, until: float) -> float:
    """Return the longest span between two moments in which no answer came."""
    inner = [since, *(moment for moment in sorted(answers) if since < moment < until), until]
    return max(after - before for before, after in pairwise(inner))


class _Asker:
    def __init__(self, order: Watch) -> None:
        self._order = order
        self._seen = Watched(time.monotonic())
        self._selector = selectors.DefaultSelector()
        self._going: dict[socket.socket, float] = {}  # by when they began, the oldest first

    def run(self, until: TextIO) -> Watched:
        self._selector.register(until, selectors.EVENT_READ)
        due = self._seen.began
        while True:
            now = time.monotonic()
            if now >= due:
                self._begin(now)
                due = max(due + self._order.every_ms / 1000, now)
            self._give_up(now)
            for key, events in self._selector.select(max(0.0, due - time.monotonic())):
                if not isinstance(key.fileobj, socket.socket):
                    return self._seen
                self._go_on(key.fileobj, events)

    def _begin(self, now: float) -> None:
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        client.setblocking(False)
        client.connect_ex((self._order.address, self._order.port))
        self._going[client] = now
        self._selector.register(client, selectors.EVENT_WRITE)

    def _go_on(self, client: socket.socket, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                client.sendall(b"ask\n")
                self._selector.modify(client, selectors.EVENT_READ)
                return
            answered = bool(client.recv(_ANSWER_MAX))
        except OSError:
            answered = False
        self._end(client, self._seen.answers if answered else self._seen.failures)

    def _give_up(self, now: float) -> None:
        late = [client for client, began in self._going.items() if now - began > self._order.patience_s]
        for client in late:
            self._end(client, self._seen.failures)

    def _end(self, client: socket.socket, how: list[float]) -> None:
        how.append(time.monotonic() - self._seen.began)
        self._selector.unregister(client)
        del self._going[client]
        client.close()
