"""Connecting to a server without a gateway: over the best uplink, then over the next one that is up."""

import errno
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from hagw.dataplane.gateway import bind_to_uplink
from hagw.dataplane.loop import EPOLLOUT, Timer

if TYPE_CHECKING:
    from hagw.dataplane.cpe import CpeWorker

UPLINK_DIAL_S: Final = 3.0
SILENT: Final = "the server is silent"


class DirectDial:
    """One attempt; ends in `on_connected(socket)`, watched for EPOLLOUT, or in `on_failed(reason)`.

    `reason` is why the last uplink tried did not reach the server; None = no uplink could be tried.
    """

    __slots__ = ("_left", "_on_connected", "_on_failed", "_server", "_sock", "_timer", "_worker", "slot")

    def __init__(
        self,
        worker: "CpeWorker",
        server: tuple[str, int],
        slots: tuple[int, ...],
        on_connected: Callable[[socket.socket], None],
        on_failed: Callable[[str | None], None],
    ) -> None:
        self._worker = worker
        self._server = server
        self._left = list(slots)
        self._on_connected = on_connected
        self._on_failed = on_failed
        self._sock: socket.socket | None = None
        self._timer: Timer | None = None
        self.slot = 0

    def start(self) -> None:
        """Begin with the first uplink."""
        self._next(None)

    def close(self) -> None:
        """Give up without a word."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._sock is not None:
            self._worker.loop.close(self._sock)
            self._sock = None

    def _next(self, reason: str | None) -> None:
        self.close()
        ipv6 = ":" in self._server[0]
        while self._left:
            slot = self._left.pop(0)
            local = self._worker.uplinks.address(slot, ipv6)
            if local is not None and self._over(slot, local, ipv6):
                return
        self._on_failed(reason)

    def _over(self, slot: int, local: str, ipv6: bool) -> bool:
        family = socket.AF_INET6 if ipv6 else socket.AF_INET
        try:
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError:
            return False
        try:
            bind_to_uplink(sock, self._worker.uplinks.by_slot[slot].interface, local)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = sock.connect_ex(self._server)
        except OSError:
            code = errno.ENETUNREACH
        if code not in (0, errno.EINPROGRESS):
            sock.close()
            return False
        self._sock = sock
        self.slot = slot
        self._worker.loop.add(sock.fileno(), EPOLLOUT, self._on_event)
        self._timer = self._worker.loop.call_in(UPLINK_DIAL_S, lambda: self._next(SILENT))
        return True

    def _on_event(self, _mask: int) -> None:
        sock = self._sock
        assert sock is not None
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code == errno.ECONNREFUSED:
            self._left.clear()  # the server itself said so: it would over any line
        if code:
            self._next(os.strerror(code))
            return
        self._sock = None
        self.close()
        self._on_connected(sock)
