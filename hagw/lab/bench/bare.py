"""A bare transparent relay in Python: one end of a pair, `near PORT HAG PORT` or `far PORT - -`. Nothing but relaying.

Its near end sends the server's address and port in six bytes ahead of the data. It has no policy, limits, timeouts,
accounting or logs, so it says what relaying itself costs in this language; the product is measured against it.
"""

import contextlib
import resource
import select
import socket
import struct
import sys
from typing import Final

_BUFFER: Final = bytearray(256 * 1024)
_VIEW: Final = memoryview(_BUFFER)
_IP_TRANSPARENT: Final = 19
_MPTCP: Final = 262  # IPPROTO_MPTCP
_HEADER: Final = 6
_IN: Final = select.EPOLLIN
_OUT: Final = select.EPOLLOUT


class Half:
    """One socket of a pair, and what is still to be written to it."""

    __slots__ = ("asked", "done", "mask", "other", "rest", "sock")

    def __init__(self, sock: socket.socket, mask: int) -> None:
        self.sock, self.mask = sock, mask
        self.other: Half | None = None
        self.rest = b""
        self.asked = b""  # at the far end, the header until it is whole
        self.done = False  # no more is to be read of it


class Relay:
    """One process, one epoll, many pairs."""

    def __init__(self, near: bool, port: int, far: tuple[str, int]) -> None:
        self._near, self._far = near, far
        self._poll = select.epoll()
        self._halves: dict[int, Half] = {}
        self._door = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0 if near else _MPTCP)
        self._door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if near:
            self._door.setsockopt(socket.SOL_IP, _IP_TRANSPARENT, 1)
        self._door.bind(("0.0.0.0", port))
        self._door.listen(4096)
        self._door.setblocking(False)
        self._poll.register(self._door, _IN)

    def run(self) -> None:
        """Relay until killed."""
        door = self._door.fileno()
        while True:
            for number, events in self._poll.poll():
                if number == door:
                    self._accept()
                    continue
                half = self._halves.get(number)
                if half is None:
                    continue
                try:
                    self._turn(half, events)
                except OSError:
                    self._drop(half)

    def _turn(self, half: Half, events: int) -> None:
        if events & _OUT:
            self._write(half)
        if events & ~_OUT and not half.done:
            self._read(half)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                client, _ = self._door.accept()
                client.setblocking(False)
                half = Half(client, _IN)
                self._add(half)
                if self._near:
                    address, port = client.getsockname()
                    self._dial(half, self._far, _MPTCP, socket.inet_aton(address) + struct.pack("!H", port))

    def _dial(self, half: Half, to: tuple[str, int], protocol: int, first: bytes) -> None:
        server = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
        server.setblocking(False)
        server.connect_ex(to)
        other = Half(server, _OUT)
        other.rest = first
        half.other, other.other = other, half
        self._add(other)

    def _add(self, half: Half) -> None:
        half.sock.setsockopt(socket.SOL_TCP, socket.TCP_NODELAY, 1)
        self._halves[half.sock.fileno()] = half
        self._poll.register(half.sock, half.mask)

    def _want(self, half: Half, mask: int) -> None:
        if mask != half.mask:
            half.mask = mask
            self._poll.modify(half.sock, mask)

    def _read(self, half: Half) -> None:
        if half.other is None:
            self._read_header(half)
            return
        try:
            size = half.sock.recv_into(_BUFFER)
        except BlockingIOError:
            return
        if not size:
            half.done = True
            self._want(half, half.mask & ~_IN)
            if not half.other.rest:
                self._finish(half, half.other)
            return
        other = half.other
        if other.rest:
            other.rest += bytes(_VIEW[:size])
            self._want(half, half.mask & ~_IN)
            return
        try:
            sent = other.sock.send(_VIEW[:size])
        except BlockingIOError:
            sent = 0
        if sent < size:
            other.rest = bytes(_VIEW[sent:size])
            self._want(other, other.mask | _OUT)
            self._want(half, half.mask & ~_IN)

    def _read_header(self, half: Half) -> None:
        received = half.sock.recv(_HEADER - len(half.asked))
        half.asked += received
        if not received:
            self._drop(half)
        elif len(half.asked) == _HEADER:
            address = socket.inet_ntoa(half.asked[:4])
            self._dial(half, (address, struct.unpack("!H", half.asked[4:])[0]), 0, b"")

    def _write(self, half: Half) -> None:
        if half.rest:
            sent = half.sock.send(half.rest)
            half.rest = half.rest[sent:]
        if half.rest:
            return
        self._want(half, _IN if not half.done else 0)
        if half.other is not None:
            if half.other.done:
                self._finish(half.other, half)
            else:
                self._want(half.other, half.other.mask | _IN)

    def _finish(self, half: Half, other: Half) -> None:
        """All that `half` will ever say has been written to `other`."""
        if other.done:
            self._drop(half)
        else:
            other.sock.shutdown(socket.SHUT_WR)

    def _drop(self, half: Half) -> None:
        for each in (half, half.other):
            if each is not None and self._halves.pop(each.sock.fileno(), None) is not None:
                each.sock.close()


if __name__ == "__main__":
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    _, end_of, listen_port, hag, hag_port = sys.argv
    Relay(end_of == "near", int(listen_port), (hag, int(hag_port))).run()
