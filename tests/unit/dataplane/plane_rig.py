"""What the tests of the data plane share: a loop driven by the test itself, and pairs of real loopback sockets."""

import contextlib
import gc
import os
import resource
import select
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from hagw.dataplane.loop import Loop
from hagw.lab import netns

HOST = "127.0.0.1"
WAY_S = 10.0


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

    def send_all(self, loop: Loop, data: bytes, *, reader: "Peer | None" = None) -> None:
        """Send everything, turning the loop as long as the other side is full; `reader` reads meanwhile."""
        view = memoryview(data)
        deadline = time.monotonic() + 10.0
        while view:
            try:
                view = view[self.sock.send(view) :]
            except BlockingIOError:
                loop.turn(0.005)
            if reader is not None:
                reader.poll()
            assert time.monotonic() < deadline, f"{len(view)} bytes could not be sent"

    def takes_more(self) -> bool:
        """Say whether something could be sent now."""
        return bool(select.select([], [self.sock], [], 0)[1])

    def reset(self) -> None:
        """Close with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()


HAG = "198.51.100.10"
SERVER = "203.0.113.10"
SERVER6 = "2001:db8:113::10"
LINES = ("192.168.1.2", "192.168.2.2")


@contextlib.contextmanager
def own_network() -> Iterator[str]:
    """Hold this thread in a fresh network namespace whose loopback has the addresses above; yield its name."""
    name = f"plane-{os.getpid()}-{time.monotonic_ns()}"
    netns.create(name)
    try:
        addresses = [f"address add {address}/32 dev lo" for address in (HAG, SERVER, *LINES)]
        netns.ip_batch(name, ["link set lo up", *addresses, f"address add {SERVER6}/128 dev lo nodad"])
        with netns.entered(name):
            Path("/proc/sys/net/mptcp/blackhole_timeout").write_text("0", encoding="ascii")
            _await_way(SERVER6)
            yield name
    finally:
        netns.remove(name)


def _await_way(address: str) -> None:
    """Wait for the route to an IPv6 address of our own: the kernel adds it in a thread, also without DAD."""
    deadline = time.monotonic() + WAY_S
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        while probe.connect_ex((address, 9)) != 0:
            assert time.monotonic() < deadline, address
            time.sleep(0.005)


class Server:
    """A server that accepts when told to."""

    def __init__(self, address: str = SERVER, backlog: int = 128, protocol: int = socket.IPPROTO_TCP) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, protocol)
        self.sock.bind((address, 0))
        self.sock.listen(backlog)
        self.address, self.port = self.sock.getsockname()[:2]
        self._accepted: list[Peer] = []

    @property
    def accepted(self) -> list["Peer"]:
        """Everybody who came so far."""
        while not self.has_nobody():
            pass
        return self._accepted

    def accept(self, loop: Loop, within_s: float = 5.0) -> Peer:
        """Return the next connection, turning the loop until there is one."""
        until(loop, lambda: not self.has_nobody(), within_s)
        return self._accepted[-1]

    def has_nobody(self) -> bool:
        """Accept what waits to be accepted; say whether there was nobody."""
        try:
            sock, _ = self.sock.accept()
        except BlockingIOError:
            return True
        sock.setblocking(False)
        self._accepted.append(Peer(sock))
        return False

    def close(self) -> None:
        """Close the listener and whatever it accepted."""
        self.sock.close()
        for peer in self._accepted:
            peer.sock.close()


@contextlib.contextmanager
def no_descriptors_left() -> Iterator[None]:
    """Let every attempt to open something fail for want of a descriptor number."""
    gc.collect()  # what earlier tests left must not give a number back in the middle of this
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = [os.open("/dev/null", os.O_RDONLY)]
    highest = max(int(name) for name in os.listdir("/proc/self/fd")) + 1
    while held[-1] < highest:
        held.append(os.open("/dev/null", os.O_RDONLY))
    resource.setrlimit(resource.RLIMIT_NOFILE, (held[-1] + 1, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for fd in held:
            os.close(fd)
