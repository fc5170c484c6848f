"""What the tests of the data plane share: a loop driven by the test itself, and pairs of real loopback sockets."""

import socket
import time
from collections.abc import Callable

from hagw.dataplane.loop import Loop

HOST = "127.0.0.1"


def until(loop: Loop, condition: Callable[[], object], within_s: float = 5.0) -> None:
    """Turn the loop until the condition holds."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        loop.turn(0.005)


def turn_for(loop: Loop, seconds: float) -> int:
    """Turn the loop for a time; return how many turns it took."""
    turns = 0
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        loop.turn(left)
        turns += 1
    return turns


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a loopback TCP connection, opening side first, both non-blocking."""
    with socket.create_server((HOST, 0)) as listener:
        opened = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
    for sock in (opened, accepted):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened, accepted


class Peer:
    """The far end of a connection under test: what it received, and how that ended (None, "eof" or "reset")."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = bytearray()
        self.ended: str | None = None

    def poll(self) -> None:
        """Take in what is there."""
        while self.ended is None:
            try:
                data = self.sock.recv(1 << 20)
            except BlockingIOError:
                return
            except ConnectionResetError:
                self.ended = "reset"
                return
            if not data:
                self.ended = "eof"
            self.received += data

    def has(self, wanted: bytes) -> bool:
        """Say whether exactly this was received so far."""
        self.poll()
        return bytes(self.received) == wanted

    def saw(self, end: str) -> bool:
        """Say whether the connection ended for this side, and check that it ended this way."""
        self.poll()
        assert self.ended in (None, end)
        return self.ended is not None

    def send_all(self, loop: Loop, data: bytes, within_s: float = 10.0) -> None:
        """Send everything, turning the loop as long as the other side is full."""
        view = memoryview(data)
        deadline = time.monotonic() + within_s
        while view:
            try:
                view = view[self.sock.send(view) :]
            except BlockingIOError:
                loop.turn(0.005)
            assert time.monotonic() < deadline, f"{len(view)} bytes could not be sent"

    def reset(self) -> None:
        """Close with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()
