"""Traffic between nodes and how it is measured: at the receiving application, in bins of 10 ms.

`Streams` is an endless source and sink of plain TCP for rates and gaps; `Download` and `upload` move real files
with an unmodified curl and say whether they arrived intact.
"""

import contextlib
import hashlib
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from hagw.lab import netns, services
from hagw.lab.lab import Lab, LabError
from hagw.lab.topology import StaticRoute

BIN_S: Final = 0.01
PORT: Final = 5300
_CHUNK: Final = 256 * 1024
_TIMEOUT_S: Final = 30.0
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: close sends RST
_PREFERRED_METRIC: Final = 1

Clock = Callable[[], float]


class Meter:
    """Received bytes by bins of 10 ms since `start`, by its user's clock. One thread writes, others may read."""

    def __init__(self, start: float) -> None:
        self.start = start
        self.bins: list[int] = []
        self.total_bytes = 0

    def add(self, now: float, received: int) -> None:
        """Count bytes received at `now`, which never goes back."""
        index = int((now - self.start) / BIN_S)
        if index >= len(self.bins):
            self.bins.extend([0] * (index + 1 - len(self.bins)))
        self.bins[index] += received
        self.total_bytes += received

    def rate_bps(self, begin_s: float, end_s: float) -> float:
        """Return the mean rate between two times, in seconds since the start."""
        return 8 * sum(self._between(begin_s, end_s)) / (end_s - begin_s)

    def longest_gap_s(self, begin_s: float = 0.0, end_s: float | None = None) -> float:
        """Return the longest silence within an interval (default: from the first byte to the last), in whole bins."""
        inner = self._between(begin_s, len(self.bins) * BIN_S if end_s is None else end_s)
        if begin_s == 0.0 and self.total_bytes:
            del inner[: next(index for index, received in enumerate(inner) if received)]
        longest = current = 0
        for received in inner:
            current = 0 if received else current + 1
            longest = max(longest, current)
        return longest * BIN_S

    def _between(self, begin_s: float, end_s: float) -> list[int]:
        """Bins of an interval; those after the last byte are there as zeros."""
        first, last = round(begin_s / BIN_S), round(end_s / BIN_S)
        inner = self.bins[first:last]
        return inner + [0] * (last - first - len(inner))


class Streams:
    """A TCP server in a node that sends without end, or receives and measures, as each client asks.

    `clock` is what transfers are measured by, in seconds.
    """

    def __init__(self, lab: Lab, node: str = "inet", port: int = PORT, clock: Clock = time.monotonic) -> None:
        self._lab, self.port, self._clock = lab, port, clock
        with lab.in_namespace(node):
            self._server = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
        self._uploads: dict[str, Meter] = {}
        self._begun: list[Stream] = []
        self._arrived = threading.Condition()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def stop(self) -> None:
        """End the transfers that nobody has ended."""
        while self._begun:
            self._begun.pop().stop()

    def close(self) -> None:
        """Stop accepting, and whatever still runs."""
        self.stop()
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def download(self, node: str, address: str, device: str | None = None) -> "Stream":
        """Start receiving in `node` from this server at `address`, if need be over one `device` of the node."""
        client = self._connect(node, address, device, b"send\n")
        meter = Meter(self._clock())
        receiving = threading.Thread(target=_receive, args=(client, meter, self._clock), daemon=True)
        return self._begin(Stream(client, meter, receiving, self._clock))

    def upload(self, node: str, address: str, device: str | None = None) -> "Stream":
        """Start sending from `node` to this server at `address`; the meter is the server's."""
        token = f"{time.monotonic_ns()}"
        client = self._connect(node, address, device, f"take {token}\n".encode())
        with self._arrived:
            if not self._arrived.wait_for(lambda: token in self._uploads, _TIMEOUT_S):
                raise LabError("the upload did not reach its server")
            meter = self._uploads[token]
        sending = threading.Thread(target=_send, args=(client,), daemon=True)
        return self._begin(Stream(client, meter, sending, self._clock))

    def _begin(self, stream: "Stream") -> "Stream":
        self._begun = [*(each for each in self._begun if not each.is_stopped()), stream]
        return stream

    def _connect(self, node: str, address: str, device: str | None, order: bytes) -> socket.socket:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self._lab.in_namespace(node):
            client = socket.socket(family, socket.SOCK_STREAM)
        client.settimeout(_TIMEOUT_S)
        if device is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        client.connect((address, self.port))
        client.sendall(order)
        return client

    def _accept(self) -> None:
        while True:
            try:
                conversation, _ = self._server.accept()
            except OSError:  # closed
                return
            conversation.settimeout(_TIMEOUT_S)
            threading.Thread(target=self._converse, args=(conversation,), daemon=True).start()

    def _converse(self, conversation: socket.socket) -> None:
        with conversation, contextlib.suppress(OSError):
            order = b""
            while not order.endswith(b"\n"):
                received = conversation.recv(1)
                if not received:
                    return
                order += received
            verb, _, token = order.decode().strip().partition(" ")
            if verb == "send":
                _send(conversation)
                return
            meter = Meter(self._clock())
            with self._arrived:
                self._uploads[token] = meter
                self._arrived.notify_all()
            _receive(conversation, meter, self._clock)


class Stream:
    """A transfer under way. `meter` grows at the receiver."""

    def __init__(self, client: socket.socket, meter: Meter, thread: threading.Thread, clock: Clock) -> None:
        self._client, self.meter, self._thread, self._clock = client, meter, thread, clock
        thread.start()

    def run_for(self, seconds: float) -> Meter:
        """Let it run until `seconds` after its start, stop it and return the meter."""
        time.sleep(max(0.0, self.meter.start + seconds - self._clock()))
        self.stop()
        return self.meter

    def elapsed_s(self) -> float:
        """Return the time since the start, in the meter's terms."""
        return self._clock() - self.meter.start

    def is_alive(self) -> bool:
        """Say whether the connection has not failed."""
        return self._thread.is_alive()

    def is_stopped(self) -> bool:
        """Say whether `stop` was called."""
        return self._client.fileno() == -1

    def stop(self) -> None:
        """End the transfer at the client, by a reset: what it has not sent yet burdens nothing that comes after."""
        with contextlib.suppress(OSError):
            self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._client.shutdown(socket.SHUT_RDWR)
        self._thread.join(_TIMEOUT_S)
        self._client.close()


@dataclass(frozen=True, slots=True)
class Fetched:
    """A finished download: what arrived, and how curl ended (0 = well)."""

    size_bytes: int
    sha256: str
    exit_code: int
    error: str


class Download:
    """curl in a node, its output hashed and metered as it comes."""

    def __init__(self, lab: Lab, node: str, url: str, *options: str) -> None:
        argv = ["curl", "-sS", "-N", "--cacert", str(services.certificate_authority(lab.directory)), *options, url]
        self._curl = lab.popen(node, argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.meter = Meter(time.monotonic())
        self._hash = hashlib.sha256()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float) -> Fetched:
        """Wait for the end; one that takes longer than `timeout_s` is killed and counts as failed."""
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self._curl.kill()
            self._thread.join()
        _, error = self._curl.communicate()
        return Fetched(self.meter.total_bytes, self._hash.hexdigest(), self._curl.returncode, error.decode().strip())

    def _read(self) -> None:
        pipe = self._curl.stdout
        assert pipe is not None
        while received := pipe.read1(_CHUNK):  # type: ignore[attr-defined]  # a pipe is a BufferedReader
            self.meter.add(time.monotonic(), len(received))
            self._hash.update(received)


def upload(lab: Lab, node: str, file: Path, address: str = "203.0.113.10", name: str = "") -> str:
    """PUT a file to the web server with curl and return the SHA-256 of what arrived. Raise LabError if curl fails."""
    target = name or file.name
    host = f"[{address}]" if ":" in address else address
    argv = ["curl", "-sS", "--fail", "-T", str(file), f"http://{host}/upload/{target}"]
    done = lab.run(node, argv, capture_output=True, text=True)
    if done.returncode != 0:
        raise LabError(f"upload of {file.name} failed: {done.stderr.strip()}")
    return sha256_of(services.web_root(lab.directory) / "upload" / target)


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@contextlib.contextmanager
def preferring(lab: Lab, link: str, node: str = "cpe") -> Iterator[None]:
    """Have a node's own routing put new connections on one line, as if its others had a worse metric."""
    ends = lab.topology.links[link]
    routes = [route for route in lab.topology.nodes[node].routes if route.dev == ends.near[1]]
    netns.ip_batch(lab.namespace(node), [f"route add {_preferred(route)}" for route in routes])
    try:
        yield
    finally:
        netns.ip_batch(lab.namespace(node), [f"route del {_preferred(route)}" for route in routes])


def _preferred(route: StaticRoute) -> str:
    return f"{route.to} via {route.via} dev {route.dev} metric {_PREFERRED_METRIC}"


def _receive(source: socket.socket, meter: Meter, clock: Clock) -> None:
    buffer = bytearray(_CHUNK)
    with contextlib.suppress(OSError):
        while received := source.recv_into(buffer):
            meter.add(clock(), received)


def _send(sink: socket.socket) -> None:
    chunk = bytes(_CHUNK)
    with contextlib.suppress(OSError):
        while True:
            sink.sendall(chunk)
