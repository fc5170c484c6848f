"""How much a bulk connection may queue in the kernel: enough to fill its lines, not so much that a loss hurts.

The kernel lets every subflow queue what its congestion window suggests, 0.3 s and more of data. When a line dies,
what it held is repeated *behind* the other lines' queues, and the receiver waits that long; small answers wait behind
big ones in the same way. So the send buffer of a connection that carries bulk is held to what its lines take in about
two round trips. Measured (demo lines, silent blackhole, 18 runs each): the receiver's gap fell from 260-720 ms to
100-200 ms; the rate stayed what it was.
"""

import socket
from typing import Final

from hagw.dataplane.mptcp_socket import SubflowInfo

SO_SNDBUFFORCE: Final = 32
MIN_BYTES: Final = 128 * 1024  # a share of 8 Mbit/s queues 0.24 s as well; at 512 KiB it took 0.5 s to send again
FIRST_BYTES: Final = 1024 * 1024  # until the rate is known; doubles with each look while the lines take more
MAX_BYTES: Final = 64 * 1024 * 1024
ROUND_TRIPS: Final = 2.0
SPAN_MIN_S: Final = 0.24
STRETCH: Final = 1.5  # times the shortest round trip; beyond that it is this connection's own queue in the line
KEEP: Final = 0.8  # of the peak rate, each look: a pause does not shrink the queue at once
CHANGE: Final = 1.15  # smaller changes are not worth a system call


_Ends = tuple[tuple[str, int], tuple[str, int]]


class SendQueue:
    """The limit of one connection's queue; `update` is called a few times a second while it carries bulk."""

    __slots__ = ("_acked", "_at", "_peak_bytes_s", "_rates", "_set_bytes")

    def __init__(self) -> None:
        self._acked: dict[_Ends, int] = {}
        self._rates: dict[_Ends, float] = {}  # each subflow's peak, like that of all
        self._at = 0.0
        self._peak_bytes_s = 0.0
        self._set_bytes = 0

    def begin(self, sock: socket.socket) -> None:
        """Hold the queue from the first byte on: a sender fills megabytes before the first look."""
        self._set_bytes = FIRST_BYTES
        set_send_buffer(sock, FIRST_BYTES)

    def update(self, sock: socket.socket, infos: tuple[SubflowInfo, ...], now: float) -> None:
        """Take the subflows' figures and set the send buffer when what is wanted has changed."""
        wanted = self._wanted(infos, now)
        if wanted and not self._set_bytes / CHANGE < wanted < self._set_bytes * CHANGE:
            self._set_bytes = wanted
            set_send_buffer(sock, wanted)

    def _wanted(self, infos: tuple[SubflowInfo, ...], now: float) -> int:
        acked = {(info.local, info.remote): info.bytes_acked for info in infos}
        moved = {ends: count - self._acked.get(ends, count) for ends, count in acked.items()}
        self._acked = acked
        span, self._at = now - self._at, now
        if not 0.05 < span < 5.0:
            return 0
        gone_bytes_s = sum(rate for ends, rate in self._rates.items() if ends not in acked)
        self._rates = {ends: max(count / span, self._rates.get(ends, 0.0) * KEEP) for ends, count in moved.items()}
        self._peak_bytes_s = max(sum(moved.values()) / span, (self._peak_bytes_s - gone_bytes_s) * KEEP)
        if self._peak_bytes_s < MIN_BYTES or not infos:
            return 0  # slow or idle: the kernel's own tuning does no harm here
        slowest_s = max(min(info.srtt_us, STRETCH * info.min_rtt_us) for info in infos) / 1e6
        return int(min(max(self._peak_bytes_s * max(ROUND_TRIPS * slowest_s, SPAN_MIN_S), MIN_BYTES), MAX_BYTES))


def set_send_buffer(sock: socket.socket, size_bytes: int) -> None:
    """Hold the kernel's send queue to `size_bytes`, beyond the system's limit where we may."""
    half = size_bytes // 2  # the kernel doubles it
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, half)
    except PermissionError:
        limit = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        if half < limit:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, half)
    except OSError:
        pass  # the connection ended meanwhile
