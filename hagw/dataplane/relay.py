"""The hot file: bytes between two connected sockets, both directions, with backpressure, half-close and reset.

One shared buffer a worker; a byte is copied in and out once. What the far side cannot take is kept by its `End`
and reading stops until it is gone, so at most one buffer a direction is held. Style yields to speed here: a
session costs two `End` objects and no closure.
"""

import socket
import struct
from typing import Protocol

from hagw.dataplane.fairness import Share
from hagw.dataplane.loop import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, Loop
from hagw.dataplane.meter import Meter

BUFFER_BYTES = 256 * 1024
READS_AN_EVENT = 4
_ABORT = struct.pack("ii", 1, 0)  # SO_LINGER: close sends RST (MP_FASTCLOSE on MPTCP)
_IN_ORDER = struct.pack("ii", 0, 0)


def abort(sock: socket.socket) -> None:
    """Arrange that closing `sock` resets the connection instead of finishing it."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    except OSError:
        pass  # already dead: there is nobody to tell


def end_in_order(sock: socket.socket) -> None:
    """Take `abort` back."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _IN_ORDER)
    except OSError:
        pass


class RelayOwner(Protocol):
    """Who is told when a relay ends; `reset` is True when either side was reset or failed."""

    def relay_ended(self, relay: "Relay", reset: bool) -> None: ...


class End:
    """One socket of a relay. `pending` is what this end still has to send."""

    __slots__ = (
        "eof_sent",
        "fd",
        "mask",
        "meter",
        "peer",
        "pending",
        "read_eof",
        "received",
        "relay",
        "sent",
        "share",
        "sock",
        "watched",
    )

    def __init__(self, sock: socket.socket, relay: "Relay") -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.relay = relay
        self.peer: End = self
        self.pending: memoryview | None = None
        self.mask = 0
        self.meter: Meter | None = None  # of who is held to a rate
        self.share: Share | None = None  # of who takes turns with others
        self.watched = False
        self.read_eof = False
        self.eof_sent = False
        self.received = 0
        self.sent = 0

    def on_event(self, mask: int) -> None:
        """Serve one readiness report of this socket."""
        if mask & EPOLLOUT and not self._flush():
            return
        if mask & EPOLLIN:
            self._pump()
        elif mask & (EPOLLERR | EPOLLHUP):
            self._hung_up()

    def _pump(self) -> None:
        meter, share = self.meter, self.share
        if (meter is None or meter.admits(self)) and (share is None or share.admits(self)):
            self._read(meter, share)

    def read_now(self) -> None:
        """Its turn has come, if it still has something to read and somewhere to put it."""
        if not self.relay.over and not self.read_eof and self.peer.pending is None:
            self.watch(self.mask | EPOLLIN)
            meter = self.meter
            if meter is None or meter.admits(self):
                self._read(meter, self.share)

    def _read(self, meter: Meter | None, share: Share | None) -> None:
        relay = self.relay
        peer = self.peer
        view = relay.view if meter is None else relay.view[: meter.reading_bytes()]
        recv_into = self.sock.recv_into
        send = peer.sock.send
        for _ in range(READS_AN_EVENT):
            try:
                count = recv_into(view)
            except BlockingIOError:
                return
            except OSError:
                relay.fail()
                return
            if not count:
                self._read_ended()
                return
            self.received += count
            if meter is not None:
                meter.took(count)
            is_all = share is not None and share.took(count)
            try:
                sent = send(view[:count])
            except BlockingIOError:
                sent = 0
            except OSError:
                relay.fail()
                return
            peer.sent += sent
            if sent < count:
                peer.pending = memoryview(bytes(view[sent:count]))
                self.watch(self.mask & ~EPOLLIN)
                peer.watch(peer.mask | EPOLLOUT)
                return
            if count < BUFFER_BYTES or is_all:
                return

    def may_read_again(self) -> None:
        """Go on after the meter's pause, unless something else holds us up."""
        if not self.relay.over and not self.read_eof and self.peer.pending is None:
            self.watch(self.mask | EPOLLIN)

    def _flush(self) -> bool:
        """Send what is pending; False when the relay is over."""
        pending = self.pending
        if pending is not None:
            try:
                sent = self.sock.send(pending)
            except BlockingIOError:
                return True
            except OSError:
                self.relay.fail()
                return False
            self.sent += sent
            if sent < len(pending):
                self.pending = pending[sent:]
                return True
            self.pending = None
        self.watch(self.mask & ~EPOLLOUT)
        if self.peer.read_eof:
            return self.pass_eof()
        self.peer.watch(self.peer.mask | EPOLLIN)
        return True

    def _read_ended(self) -> None:
        self.read_eof = True
        self.watch(self.mask & ~EPOLLIN)
        if self.peer.pending is None:
            self.peer.pass_eof()

    def pass_eof(self) -> bool:
        """Half-close this socket towards its far side; False when the relay is over."""
        self.eof_sent = True
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.relay.fail()
            return False
        if self.read_eof and self.peer.eof_sent:
            self.relay.finish()
            return False
        self.relay.half_closed()
        return True

    def _hung_up(self) -> None:
        """Error or hang-up while we are not reading: a reset ends all; otherwise wait for room, unwatched."""
        try:
            failed = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
        except OSError:
            failed = True
        if failed:
            self.relay.fail()
        elif self.mask & EPOLLIN:
            self._pump()
        else:
            self.relay.loop.remove(self.fd)
            self.watched = False

    def give_up(self, why: str) -> None:
        """End the relay with a reset on both sides."""
        self.relay.fail()

    def watch(self, mask: int) -> None:
        """Set the epoll mask, touching the kernel only when it changes."""
        loop = self.relay.loop
        if not self.watched:
            if mask:
                loop.add(self.fd, mask, self.on_event)
                self.watched = True
        elif mask != self.mask:
            loop.set_mask(self.fd, mask)
        self.mask = mask


class Relay:
    """Two ends and their life. `near` is the accepted socket, `far` the one we opened."""

    __slots__ = ("far", "half_closed_at", "loop", "near", "over", "owner", "view")

    def __init__(
        self, loop: Loop, view: memoryview, owner: RelayOwner, near: socket.socket, far: socket.socket
    ) -> None:
        self.loop = loop
        self.view = view
        self.owner = owner
        self.over = False
        self.half_closed_at: float | None = None
        self.near = End(near, self)
        self.far = End(far, self)
        self.near.peer = self.far
        self.far.peer = self.near

    def start(
        self, *, near_watched: int, far_watched: int, to_near: bytes = b"", to_far: bytes = b"", near_eof: bool = False
    ) -> None:
        """Begin with two sockets already watched with those masks; `to_*` bytes go out first.

        `near_eof`: the near side said its last before the relay began.
        """
        for end, watched in ((self.near, near_watched), (self.far, far_watched)):
            # Until it ends in order: if this process dies, neither side may take what it has for the whole.
            abort(end.sock)
            end.watched = True
            end.mask = watched
            self.loop.set_handler(end.fd, end.on_event)
        self.near.read_eof = near_eof
        for end, first in ((self.near, to_near), (self.far, to_far)):
            if first and not self._first(end, first):
                return
        for end in (self.near, self.far):
            wanted = EPOLLIN if end.peer.pending is None and not end.read_eof else 0
            end.watch(wanted | (EPOLLOUT if end.pending is not None else 0))
        if near_eof and self.far.pending is None:
            self.far.pass_eof()

    def _first(self, end: End, data: bytes) -> bool:
        try:
            sent = end.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.fail()
            return False
        end.sent += sent
        if sent < len(data):
            end.pending = memoryview(data)[sent:]
        return True

    def half_closed(self) -> None:
        """Note when one direction ended, for the owner's timer."""
        self.half_closed_at = self.loop.now

    def finish(self) -> None:
        """Both directions ended in order."""
        self._end(reset=False)

    def fail(self) -> None:
        """Either side was reset or failed: the other gets a reset, nothing queued is left behind."""
        self._end(reset=True)

    def _end(self, *, reset: bool) -> None:
        if self.over:
            return
        self.over = True
        if not reset:
            for end in (self.near, self.far):
                end_in_order(end.sock)
        self.owner.relay_ended(self, reset)
        self.loop.close(self.near.sock)
        self.loop.close(self.far.sock)
