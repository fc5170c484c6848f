"""What the tests of the data plane in the lab share: labs, servers and clients of plain TCP."""

import contextlib
import hashlib
import os
import random
import selectors
import socket
import statistics
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from hagw.lab.lab import Lab

INET = {4: "203.0.113.10", 6: "2001:db8:113::10"}
INET_OTHER = {4: "203.0.113.20", 6: "2001:db8:113::20"}
HAG = {4: "198.51.100.10", 6: "2001:db8:100::10"}
CHUNK = 256 * 1024
TIMEOUT_S = 30.0


@contextlib.contextmanager
def own_lab(label: str, **options: Any) -> Iterator[Lab]:
    """A lab of this process's own, taken down afterwards."""
    lab = Lab(f"{label}-{os.getpid()}")
    try:
        lab.up(**options)
        yield lab
    finally:
        lab.down()


def until(condition: Callable[[], object], within_s: float, *, every_s: float = 0.05) -> float:
    """Wait until the condition holds; return how long it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within_s, f"not within {within_s} s"
        time.sleep(every_s)
    return time.monotonic() - began


def figures(label: str, unit: str, values: Sequence[float]) -> str:
    """Print and return the minimum, median and maximum of several runs."""
    runs = f"{min(values):.0f} / {statistics.median(values):.0f} / {max(values):.0f} {unit}"
    text = f"{label}: {runs} (min / median / max of {len(values)})"
    print(text)
    return text


def pattern(size: int, seed: int = 0) -> bytes:
    """Return bytes that do not repeat, the same for the same seed."""
    return random.Random(seed).randbytes(size)


# --- servers


class Server:
    """A TCP server in a node; each connection is served by `serve` in a thread of its own."""

    def __init__(
        self, lab: Lab, serve: Callable[[socket.socket], object], *, node: str = "inet", port: int = 5310
    ) -> None:
        self.port = port
        self._serve = serve
        with lab.in_namespace(node):
            self._listener = socket.create_server(
                ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=4096, reuse_port=False
            )
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                conversation, _ = self._listener.accept()
            except OSError:  # closed
                return
            conversation.settimeout(TIMEOUT_S)
            threading.Thread(target=self._converse, args=(conversation,), daemon=True).start()

    def _converse(self, conversation: socket.socket) -> None:
        with conversation, contextlib.suppress(OSError):
            self._serve(conversation)


class Echo:
    """A server of many connections in one thread: what comes goes back."""

    def __init__(self, lab: Lab, *, node: str = "inet", port: int = 5311) -> None:
        self.port = port
        with lab.in_namespace(node):
            self._listener = socket.create_server(
                ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=4096
            )
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._wake, self._waker = socket.socketpair()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._waker.send(b"x")
        self._thread.join(5.0)
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]  # all are sockets
        self._waker.close()
        self._selector.close()

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                if sock is self._wake:
                    return
                if sock is self._listener:
                    accepted, _ = sock.accept()
                    accepted.settimeout(TIMEOUT_S)
                    self._selector.register(accepted, selectors.EVENT_READ)
                    continue
                try:
                    data = sock.recv(CHUNK)
                    sock.sendall(data)
                except OSError:
                    data = b""
                if not data:
                    self._selector.unregister(sock)
                    sock.close()


def read_line(sock: socket.socket) -> str:
    """Read one line byte by byte, so that nothing behind it is taken."""
    line = b""
    while not line.endswith(b"\n"):
        byte = sock.recv(1)
        if not byte:
            raise ConnectionError(f"ended within a line: {line!r}")
        line += byte
    return line.decode().strip()


def read_exactly(sock: socket.socket, size: int) -> bytes:
    """Read so many bytes, less only if the other side ends before."""
    data = bytearray()
    while len(data) < size and (received := sock.recv(size - len(data))):
        data += received
    return bytes(data)


def read_to_end(sock: socket.socket) -> tuple[int, str]:
    """Read until the other side ends; return size and SHA-256."""
    digest = hashlib.sha256()
    size = 0
    buffer = memoryview(bytearray(CHUNK))
    while count := sock.recv_into(buffer):
        digest.update(buffer[:count])
        size += count
    return size, digest.hexdigest()


class Store:
    """Serves `down SIZE SEED` with bytes, `up` with the SHA-256 of what came, `first SIZE SEED` by ending first.

    `first` sends and ends, then takes what comes: its digest is in `taken` by the client's port.
    """

    def __init__(self) -> None:
        self.taken: dict[str, tuple[int, str]] = {}

    def __call__(self, sock: socket.socket) -> None:
        verb, *words = read_line(sock).split()
        match verb:
            case "down":
                sock.sendall(pattern(int(words[0]), int(words[1])))
            case "up":
                size, digest = read_to_end(sock)
                sock.sendall(f"{size} {digest}\n".encode())
            case "first":
                sock.sendall(pattern(int(words[0]), int(words[1])))
                sock.shutdown(socket.SHUT_WR)
                self.taken[words[2]] = read_to_end(sock)


# --- clients


def connect(lab: Lab, address: str, port: int, *, node: str = "lan1", timeout_s: float = TIMEOUT_S) -> socket.socket:
    """Connect from a node."""
    with lab.in_namespace(node):
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    sock.settimeout(timeout_s)
    try:
        sock.connect((address, port))
    except OSError:
        sock.close()
        raise
    return sock


def reset(sock: socket.socket) -> None:
    """Close with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One short request: seconds since the start of the series, and None or why it failed."""

    began_s: float
    took_s: float
    failure: str | None


class Attempts:
    """Short requests from a LAN host, one begun every `every_s`, whatever became of those before."""

    def __init__(self, lab: Lab, address: str, port: int, *, every_s: float = 0.04, node: str = "lan1") -> None:
        self._lab, self._to, self._every_s, self._node = lab, (address, port), every_s, node
        self._done: list[Attempt] = []
        self._running = True
        self._began = time.monotonic()
        self._threads: list[threading.Thread] = []
        self._pace = threading.Thread(target=self._start_all, daemon=True)
        self._pace.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def now_s(self) -> float:
        """Return the time in the attempts' terms."""
        return time.monotonic() - self._began

    def stop(self) -> list[Attempt]:
        """Begin no more, wait for those under way and return all, in the order they began."""
        self._running = False
        self._pace.join()
        for thread in self._threads:
            thread.join()
        return sorted(self._done, key=lambda attempt: attempt.began_s)

    def _start_all(self) -> None:
        number = 0
        while self._running:
            time.sleep(max(0.0, number * self._every_s - self.now_s()))
            with self._lab.in_namespace(self._node):
                sock = socket.socket()
            thread = threading.Thread(target=self._attempt, args=(sock, number), daemon=True)
            self._threads.append(thread)
            thread.start()
            number += 1

    def _attempt(self, sock: socket.socket, number: int) -> None:
        began = self.now_s()
        failure = None
        sock.settimeout(6.0)
        try:
            with sock:
                sock.connect(self._to)
                sock.sendall(f"{os.getpid()}-{id(self)}-{number}\n".encode())
                if read_line(sock) != "ok":
                    failure = "wrong answer"
        except OSError as error:
            failure = type(error).__name__
        self._done.append(Attempt(began, self.now_s() - began, failure))


class Counting:
    """Answers `ok` to each line and counts how often it saw it."""

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}
        self._lock = threading.Lock()

    def __call__(self, sock: socket.socket) -> None:
        line = read_line(sock)
        with self._lock:
            self.seen[line] = self.seen.get(line, 0) + 1
        sock.sendall(b"ok\n")

    def twice(self) -> list[str]:
        """Return what was seen more than once."""
        return [line for line, count in self.seen.items() if count > 1]


def curl(lab: Lab, url: str, *options: str, node: str = "lan1") -> subprocess.CompletedProcess[str]:
    """Run an unmodified curl in a node."""
    return lab.run(node, ["curl", "-sS", "-g", *options, url], capture_output=True, text=True, timeout=60)
