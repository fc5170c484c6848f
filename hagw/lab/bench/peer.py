"""The two ends of a bench's traffic: a server that sends, takes or echoes, and a client that moves data for a while.

Programs of their own, so that `mptcpize` can run them, and of the standard library only, so that they start quickly:

    python -m hagw.lab.bench.peer serve PORT REPORTS      REPORTS: a Unix socket that tells what uploads brought
    python -m hagw.lab.bench.peer move ORDER              ORDER: the JSON of an `Order`
    python -m hagw.lab.bench.peer ask QUESTION            QUESTION: the JSON of a `Question`
    python -m hagw.lab.bench.peer hold CROWD              CROWD: the JSON of a `Crowd`
    python -m hagw.lab.bench.peer watch WATCH             WATCH: the JSON of a `Watch`; ends with its input

A client prints one line of JSON when its time is over, and holds its connections until its input ends.
"""

import contextlib
import json
import resource
import select
import selectors
import socket
import ssl
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hagw.lab.bench.watch import Watch, watch

BIN_S: Final = 0.01
CHUNK: Final = 256 * 1024
ORDER_MAX: Final = 200
_CONNECT_S: Final = 20.0
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: close sends RST, and nothing is left in queues for the next run
_MPTCP: Final = 284  # SOL_MPTCP
_MPTCP_INFO: Final = 1
_FALLBACK: Final = 1  # of mptcpi_flags

_payload: Final = bytes(CHUNK)
_buffer: Final = bytearray(CHUNK)


@dataclass(frozen=True, slots=True)
class Order:
    """What a client is to do: `streams` connections, data in one direction for `lasts_s` seconds."""

    address: str
    port: int
    direction: str
    streams: int
    lasts_s: float
    token: str


@dataclass(frozen=True, slots=True)
class Question:
    """What a client is to ask, one connection each: `at_once` at a time for `lasts_s` seconds, `pause_ms` between."""

    address: str
    port: int
    kind: str
    at_once: int
    lasts_s: float
    pause_ms: float


@dataclass(frozen=True, slots=True)
class Crowd:
    """Connections that a client is to open, have answered once, and keep idle."""

    address: str
    port: int
    connections: int


class Arrivals:
    """Bytes that arrived, in bins of 10 ms since the first connection, and by stream."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.bins: list[int] = []
        self.streams: dict[str, int] = {}

    def add(self, stream: str, size: int) -> None:
        """Count bytes that have just arrived."""
        index = int((time.monotonic() - self.began) / BIN_S)
        if index >= len(self.bins):
            self.bins.extend([0] * (index + 1 - len(self.bins)))
        self.bins[index] += size
        self.streams[stream] = self.streams.get(stream, 0) + size

    def document(self) -> dict[str, Any]:
        """Return all of it, as JSON takes it; `began` is CLOCK_MONOTONIC, the same in all nodes."""
        return {"began": self.began, "bins": self.bins, "streams": self.streams}


class Server:
    """Serves until it is killed: each connection says in its first line what it wants."""

    def __init__(self, port: int, reports: Path) -> None:
        self._selector = selectors.DefaultSelector()
        self._arrivals: dict[str, Arrivals] = {}
        listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
        teller = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        teller.bind(str(reports))
        teller.listen(8)
        for door, accept in ((listener, self._accept), (teller, self._tell)):
            door.setblocking(False)
            self._selector.register(door, selectors.EVENT_READ, accept(door))

    def run(self) -> None:
        """Serve without end."""
        while True:
            for key, _ in self._selector.select():
                try:
                    next(key.data)
                except (StopIteration, OSError):
                    with contextlib.suppress(KeyError):  # a conversation that ended has unregistered itself
                        self._selector.unregister(key.fileobj)
                    if isinstance(key.fileobj, socket.socket):
                        key.fileobj.close()

    def _accept(self, door: socket.socket) -> Iterator[None]:
        while True:
            with contextlib.suppress(OSError):
                conversation, _ = door.accept()
                conversation.setblocking(False)
                self._selector.register(conversation, selectors.EVENT_READ, self._converse(conversation))
            yield

    def _converse(self, conversation: socket.socket) -> Iterator[None]:
        order = b""
        while not (end := order.find(b"\n") + 1):
            if len(order) == ORDER_MAX:
                return
            if order:
                yield
            order = conversation.recv(ORDER_MAX, socket.MSG_PEEK)
            if not order:
                return
        order = conversation.recv(end)
        verb, *words = order.decode(errors="replace").split()
        if verb == "ask":
            conversation.send(b"!")
            return
        if verb == "hold":
            conversation.send(b"!")
            yield
            return
        if verb == "send":
            self._selector.modify(conversation, selectors.EVENT_WRITE, sending(conversation))
        elif verb == "take":
            token, stream = words
            arrivals = self._arrivals.setdefault(token, Arrivals())
            self._selector.modify(conversation, selectors.EVENT_READ, taking(conversation, arrivals, stream))
        yield

    def _tell(self, door: socket.socket) -> Iterator[None]:
        while True:
            with contextlib.suppress(OSError):
                asker, _ = door.accept()
                with asker:
                    asker.settimeout(1.0)
                    token = asker.recv(ORDER_MAX).decode()
                    arrivals = self._arrivals.pop(token, None)
                    asker.settimeout(5.0)
                    asker.sendall(json.dumps(arrivals.document() if arrivals else None).encode())
            yield


def sending(sink: socket.socket) -> Iterator[None]:
    """Send zeros for as long as the other end takes them; wants to be resumed whenever the socket is writable."""
    while True:
        with contextlib.suppress(BlockingIOError):
            sink.send(_payload)
        yield


def taking(source: socket.socket, arrivals: Arrivals, stream: str) -> Iterator[None]:
    """Count what arrives until the other end ends; wants to be resumed whenever the socket is readable."""
    while True:
        with contextlib.suppress(BlockingIOError):
            received = source.recv_into(_buffer)
            if not received:
                return
            arrivals.add(stream, received)
        yield


def move(order: Order) -> None:
    """Move data, print what arrived (downloads) and whether it went over MPTCP, and hold the connections."""
    arrivals, ends = Arrivals(), selectors.DefaultSelector()
    clients = [_connected(order, index) for index in range(order.streams)]
    for index, client in enumerate(clients):
        way = taking(client, arrivals, str(index)) if order.direction == "down" else sending(client)
        event = selectors.EVENT_READ if order.direction == "down" else selectors.EVENT_WRITE
        ends.register(client, event, way)
    failed = _pump(ends, arrivals.began + order.lasts_s)
    print(json.dumps({**arrivals.document(), "failed": failed, "mptcp": [is_mptcp(client) for client in clients]}))
    sys.stdout.flush()
    sys.stdin.read()
    for client in clients:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        client.close()


def ask(question: Question) -> None:
    """Ask until the time is over, print how long each waited from its connect to its first byte, in ms."""
    began = time.monotonic()
    asked = _side_by_side if question.at_once > 1 else _one_by_one
    waits, failed = asked(question, began + question.lasts_s)
    took_s = time.monotonic() - began
    print(json.dumps({"began": began, "took_s": took_s, "failed": failed, "waits_ms": waits}))
    sys.stdout.flush()
    sys.stdin.read()


def hold(crowd: Crowd) -> None:
    """Open connections one after the other, print how many were answered, and keep them until the input ends."""
    answered, clients = 0, []
    for _ in range(crowd.connections):
        client = socket.create_connection((crowd.address, crowd.port), timeout=_CONNECT_S)
        client.sendall(b"hold\n")
        answered += client.recv(1) == b"!"
        clients.append(client)
    print(json.dumps({"answered": answered}))
    sys.stdout.flush()
    sys.stdin.read()
    for client in clients:
        client.close()


def is_mptcp(connection: socket.socket) -> bool:
    """Say whether a socket of this process speaks Multipath TCP, and has not fallen back to plain TCP."""
    try:
        info = connection.getsockopt(_MPTCP, _MPTCP_INFO, 16)
    except OSError:
        return False
    (flags,) = struct.unpack_from("I", info, 8)
    return not flags & _FALLBACK


def _connected(order: Order, index: int) -> socket.socket:
    client = socket.create_connection((order.address, order.port), timeout=_CONNECT_S)
    client.sendall(b"send\n" if order.direction == "down" else f"take {order.token} {index}\n".encode())
    client.setblocking(False)
    return client


def _pump(ends: selectors.BaseSelector, until: float) -> int:
    """Resume the streams as they can go on, until a time; return how many failed before it."""
    failed = 0
    while (left := until - time.monotonic()) > 0 and ends.get_map():
        for key, _ in ends.select(left):
            try:
                next(key.data)
            except (StopIteration, OSError):
                ends.unregister(key.fileobj)
                failed += 1
    return failed


def _one_by_one(question: Question, until: float) -> tuple[list[float], int]:
    waits, failed = [], 0
    while time.monotonic() < until:
        began = time.monotonic()
        try:
            waits.append(1000 * (_first_byte(question) - began))
        except OSError:
            failed += 1
        time.sleep(question.pause_ms / 1000)
    return waits, failed


def _first_byte(question: Question) -> float:
    """Make one connection and return when its first byte arrived. Raise OSError."""
    with socket.create_connection((question.address, question.port), timeout=_CONNECT_S) as client:
        client.setsockopt(socket.SOL_TCP, socket.TCP_NODELAY, 1)
        match question.kind:
            case "server-first":
                received = client.recv(1)
            case "https":
                with _unverified().wrap_socket(client) as secured:
                    secured.sendall(b"GET /1k.bin HTTP/1.0\r\n\r\n")
                    received = secured.recv(1)
            case _:
                client.sendall(b"ask\n")
                received = client.recv(1)
        arrived = time.monotonic()
    if not received:
        raise ConnectionError("the connection ended without an answer")
    return arrived


def _unverified() -> ssl.SSLContext:
    """Return what speaks TLS with anybody: the lab's certificate is its own, and only time is measured."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _side_by_side(question: Question, until: float) -> tuple[list[float], int]:
    """Keep `at_once` connections going, each asking once and read to its end, which is the server's to make."""
    waits: list[float] = []
    failed = 0
    poll = select.epoll()
    going: dict[int, tuple[socket.socket, float, list[float]]] = {}

    def begin() -> None:
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        client.setblocking(False)
        client.setsockopt(socket.SOL_TCP, socket.TCP_NODELAY, 1)
        client.connect_ex((question.address, question.port))
        going[client.fileno()] = (client, time.monotonic(), [])
        poll.register(client, select.EPOLLOUT)

    for _ in range(question.at_once):
        begin()
    while time.monotonic() < until:
        for number, events in poll.poll(0.1):
            client, began, arrived = going[number]
            try:
                if events & select.EPOLLOUT:
                    client.sendall(b"ask\n")
                    poll.modify(client, select.EPOLLIN)
                    continue
                received = client.recv(16)
            except OSError:
                received, arrived = b"", []
            if received:
                arrived.append(1000 * (time.monotonic() - began))
                continue
            waits += arrived
            failed += not arrived
            del going[number]
            client.close()
            begin()
    return waits, failed


def main(argv: list[str]) -> None:
    """Be one of the two ends."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    match argv:
        case ["serve", port, reports]:
            Server(int(port), Path(reports)).run()
        case ["move", order]:
            move(Order(**json.loads(order)))
        case ["ask", question]:
            ask(Question(**json.loads(question)))
        case ["hold", crowd]:
            hold(Crowd(**json.loads(crowd)))
        case ["watch", order]:
            watch(Watch(**json.loads(order)), sys.stdin)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
