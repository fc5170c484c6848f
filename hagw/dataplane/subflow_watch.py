"""Looks at a connection as soon as the kernel says that one of its subflows stands or has ended.

Level-triggered like everything: an event says which connection to look at, no more. Without events (a kernel that sends
none, a burst too large for the buffer) the same looks come later: every 0.2 s at what carries bulk, every 5 s at the
rest. Only what a connection still counts on is looked at: our own withdrawals are events too.
"""

from typing import Final
from weakref import WeakValueDictionary

from hagw.dataplane.gateway import GatewayConnection
from hagw.dataplane.loop import EPOLLIN, Loop
from hagw.dataplane.ports import SubflowNews

# A connection that ends closes its subflows first: by then it has ended, and a burst is one look for each.
QUIET_S: Final = 0.02
BURST_MAX: Final = 1024  # connections that wait to be looked at; the rest is found by the looks that come anyway


class SubflowWatch:
    """One worker's. Connections are known by their token for as long as somebody else holds them."""

    def __init__(self, loop: Loop, news: SubflowNews | None) -> None:
        self._loop = loop
        self._news = news
        self._known: WeakValueDictionary[int, GatewayConnection] = WeakValueDictionary()
        self._due: dict[int, GatewayConnection] = {}
        self.dropped = 0
        if news is not None:
            loop.add(news.fileno(), EPOLLIN, self._read)

    def add(self, connection: GatewayConnection) -> None:
        """Know a connection from now on; one that is plain TCP has no subflows."""
        token = connection.paths.token
        if token is not None:
            self._known[token] = connection

    def _read(self, _mask: int) -> None:
        assert self._news is not None
        told = self._news.read()
        if told is None:
            self.dropped += 1
            return
        for event in told:
            connection = self._known.get(event.token)
            if connection is None or len(self._due) >= BURST_MAX:
                continue
            if connection.paths.is_news(event.local, event.has_ended):
                if not self._due:
                    self._loop.call_in(QUIET_S, self._look)
                self._due[event.token] = connection

    def _look(self) -> None:
        due, self._due = self._due, {}
        for connection in due.values():
            self._loop.defer(connection.look)
