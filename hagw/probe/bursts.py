"""Event sockets of the kernel, read in bursts: however much is announced, it costs a bounded share of a processor.

While a burst lasts the socket is left alone, for longer and longer. What does not fit into its buffer meanwhile is
dropped by the kernel (ENOBUFS), which costs nothing and says what any event says: look again.
"""

import asyncio
import errno
import socket
from collections.abc import Callable, Iterator
from typing import Final

RECEIVE_BYTES: Final = 65536
_SOL_NETLINK: Final = 270
_NETLINK_ADD_MEMBERSHIP: Final = 1
_SO_RCVBUFFORCE: Final = 33


def subscribed(protocol: int, groups: tuple[int, ...], buffer_bytes: int) -> socket.socket:
    """Open a netlink socket that hears these multicast groups, in the calling thread's network namespace."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, buffer_bytes)
        sock.bind((0, 0))
        for group in groups:
            sock.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)
    except OSError:
        sock.close()
        raise
    return sock


def datagrams(sock: socket.socket, most: int) -> Iterator[bytes | None]:
    """Yield what is waiting, `most` datagrams at most; None = the kernel had to drop some."""
    for _ in range(most):
        try:
            yield sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            yield None


class Bursts:
    """Has `read` called when the socket has something, and again after pauses for as long as it returns True.

    Pauses double from `first_s` to `longest_s`. With `lead` the first call too waits `first_s`, so that a burst which
    ends by then is read as one; without it, it comes at once.
    """

    def __init__(
        self, sock: socket.socket, read: Callable[[], bool], *, first_s: float, longest_s: float, lead: bool
    ) -> None:
        self._sock = sock
        self._read = read
        self._first_s = first_s
        self._longest_s = longest_s
        self._lead = lead
        self._pause_s = first_s
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to listen, in the running event loop."""
        asyncio.get_running_loop().add_reader(self._sock, self._begin)

    def stop(self) -> None:
        """Stop and close the socket."""
        asyncio.get_running_loop().remove_reader(self._sock)
        if self._timer is not None:
            self._timer.cancel()
        self._sock.close()

    def begin(self) -> None:
        """Have `read` called as if something had arrived."""
        if self._timer is None:
            self._begin()

    def _begin(self) -> None:
        asyncio.get_running_loop().remove_reader(self._sock)
        self._pause_s = self._first_s
        if self._lead:
            self._timer = asyncio.get_running_loop().call_later(self._first_s, self._turn)
        else:
            self._turn()

    def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        if self._read():
            self._timer = loop.call_later(self._pause_s, self._turn)
            self._pause_s = min(2 * self._pause_s, self._longest_s)
        else:
            self._timer = None
            loop.add_reader(self._sock, self._begin)
