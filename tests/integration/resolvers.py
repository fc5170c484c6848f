"""A real DNS server in the Internet, a real forwarder on the CPE, and clients that ask without a pause."""

import contextlib
import random
import selectors
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from plane_lab import INET, until

from hagw.lab.lab import Lab

ANSWER = "192.0.2.53"
EVERY_S = 0.1
RETRY_S = 0.3
_HEADER = struct.Struct(">6H")
_BASE = ("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file=")


@contextlib.contextmanager
def resolvers(lab: Lab) -> Iterator[None]:
    """Run dnsmasq as the server of zone `test` in `inet`, and as a forwarder without a cache on the CPE."""
    wanted = {
        "inet": [f"--address=/test/{ANSWER}"],
        "cpe": ["--cache-size=0", f"--server={INET[4]}", "--bind-interfaces", "--listen-address=192.168.77.1,fd77::1"],
    }
    running = [
        lab.popen(node, [*_BASE, "--user=root", *options], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for node, options in wanted.items()
    ]
    try:
        for node, address in (("lan1", INET[4]), ("lan1", INET[6]), ("lan1", "192.168.77.1"), ("cpe", INET[4])):
            with Asking(lab, node, address) as asking:
                until(lambda: asking.answered, 5.0)  # asked at once
        yield
    finally:
        for process in running:
            process.terminate()
            process.wait(5)
            if process.stderr is not None:
                process.stderr.close()


@dataclass(frozen=True, slots=True)
class Answered:
    """One query: when it was first sent (monotonic) and how long its answer took, None = it never came."""

    asked_at: float
    took_s: float | None


class Asking:
    """Asks a resolver for a fresh name each EVERY_S, and again each RETRY_S while it has no answer.

    With `fresh` each query has a socket of its own, as most programs do; else all go over one connected socket, whose
    source port and address never change: the hardest to move to another line.
    """

    def __init__(self, lab: Lab, node: str, address: str, *, fresh: bool = False) -> None:
        self._lab, self._node, self._to, self._fresh = lab, node, (address, 53), fresh
        self._family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._selector = selectors.DefaultSelector()
        self._open: dict[int, tuple[float, float, socket.socket]] = {}  # id -> first asked, last asked, over
        self.answered: list[Answered] = []
        self._shared = self._socket()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Asking":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]  # all are sockets
        self._selector.close()

    def stop(self) -> list[Answered]:
        """Ask no more; return all queries, also those without an answer, in the order they were asked."""
        self._ending.set()
        self._thread.join()
        lost = [Answered(first, None) for first, _, _ in self._open.values()]
        return sorted([*self.answered, *lost], key=lambda query: query.asked_at)

    def _socket(self) -> socket.socket:
        with self._lab.in_namespace(self._node):
            sock = socket.socket(self._family, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.connect(self._to)
        self._selector.register(sock, selectors.EVENT_READ)
        return sock

    def _run(self) -> None:
        next_at = time.monotonic()
        while not self._ending.is_set():
            now = time.monotonic()
            if now >= next_at:
                next_at += EVERY_S
                number = random.randrange(1 << 16)
                self._open[number] = (now, now, self._socket() if self._fresh else self._shared)
                self._send(number)
            for number, (first, last, sock) in list(self._open.items()):
                if now - last >= RETRY_S:
                    self._open[number] = (first, now, sock)
                    self._send(number)
            for key, _ in self._selector.select(0.01):
                self._receive(key.fileobj)  # type: ignore[arg-type]  # all are sockets

    def _send(self, number: int) -> None:
        name = b"".join(bytes([len(part)]) + part for part in (f"q{number}-{id(self)}".encode(), b"test")) + b"\0"
        with contextlib.suppress(OSError):  # unreachable just now: asked again
            self._open[number][2].send(_HEADER.pack(number, 0x0100, 1, 0, 0, 0) + name + struct.pack(">2H", 1, 1))

    def _receive(self, sock: socket.socket) -> None:
        try:
            answer = sock.recv(1500)
        except OSError:
            return
        number, flags, _, answers, _, _ = _HEADER.unpack_from(answer)
        if number in self._open and flags & 0x800F == 0x8000 and answers:
            first, _, over = self._open.pop(number)
            self.answered.append(Answered(first, time.monotonic() - first))
            if over is not self._shared:
                self._selector.unregister(over)
                over.close()


def longest_s(queries: list[Answered], since: float, till: float) -> float:
    """Return the longest time that a query asked in this span of time took; infinite for one never answered."""
    found = [float("inf") if q.took_s is None else q.took_s for q in queries if since <= q.asked_at < till]
    return max(found)


def watched(
    clients: dict[str, Asking], act: Callable[[], object], *, before_s: float, after_s: float
) -> dict[str, float]:
    """Have all clients ask while `act` happens; return each one's longest time for an answer from then on."""
    with contextlib.ExitStack() as stack:
        for client in clients.values():
            stack.enter_context(client)
        time.sleep(before_s)
        struck_at = time.monotonic()
        act()
        time.sleep(after_s)
        ended_at = time.monotonic()
        time.sleep(0.5)  # for the answers to the last queries
        return {name: longest_s(client.stop(), struck_at - 1, ended_at - 0.5) for name, client in clients.items()}
