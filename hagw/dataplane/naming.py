"""The wait for a client's first bytes, where a rule depends on the server's name: peeked at, and left where they are.

A client that speaks first has spoken within a few milliseconds. One that waits for the server is not kept waiting
longer than that, and not at all on ports whose protocols are known to begin with the server.
"""

import socket
from collections.abc import Callable
from typing import Final

from hagw.dataplane.loop import EPOLLIN, Loop
from hagw.policy.first_bytes import MAX_BYTES, MORE, OTHER, FirstBytes, Named, read

REST_WAIT_S: Final = 0.1  # for the rest of what has begun: such a client does not wait for its server
SERVER_FIRST_PORTS: Final = frozenset({21, 22, 25, 110, 119, 143, 587, 3306, 4190, 5900})

OnName = Callable[["NameWait", Named | None], None]


class NameWait:
    """One accepted connection whose client has not said enough yet. `on_done` is called once, or `give_up`."""

    __slots__ = ("_loop", "_on_done", "_seen", "_sock", "_timer")

    def __init__(self, loop: Loop, sock: socket.socket, wait_s: float, on_done: OnName) -> None:
        self._loop = loop
        self._sock = sock
        self._on_done = on_done
        self._seen = 0
        loop.add(sock.fileno(), EPOLLIN, self._look)
        self._timer = loop.call_in(wait_s, self._too_late)

    def give_up(self, why: str = "") -> None:
        """Close the connection undecided."""
        self._timer.cancel()
        self._loop.close(self._sock)

    def _look(self, _mask: int) -> None:
        data = peek(self._sock)
        found: FirstBytes = OTHER if data is None or len(data) <= self._seen else read(data)
        if found != MORE or data is None:
            self._done(found)
            return
        if not self._seen:
            self._timer.cancel()
            self._timer = self._loop.call_in(REST_WAIT_S, self._too_late)
        self._seen = len(data)
        # Level-triggered: be woken when there is more, not because of what was seen already.
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, self._seen + 1)

    def _too_late(self) -> None:
        self._done(OTHER)

    def _done(self, found: FirstBytes) -> None:
        self._timer.cancel()
        self._loop.remove(self._sock.fileno())
        if self._seen:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        self._on_done(self, found if isinstance(found, Named) else None)


def peek(sock: socket.socket) -> bytes | None:
    """Return what has arrived, without taking it; None when nothing will."""
    try:
        return sock.recv(MAX_BYTES, socket.MSG_PEEK) or None
    except BlockingIOError:
        return b""
    except OSError:
        return None
