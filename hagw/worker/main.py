"""A worker's life: the data plane's loop, told what to do by the daemon over a Unix socket.

The control protocol is one JSON document a line (docs/adr/0004). A worker outlives the daemon: it goes on with its
last snapshot, and the next daemon finds it by its socket.
"""

import gc
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from hagw import __version__
from hagw.dataplane import handover, readings, service
from hagw.dataplane.cpe import CpeWorker
from hagw.dataplane.faults import Faults
from hagw.dataplane.hag import HagWorker
from hagw.dataplane.loop import ACCEPT_PAUSE_S, EPOLLIN, EPOLLOUT, Loop
from hagw.dataplane.proven import PROVEN_FILE, ProvenAddresses
from hagw.kernel.mptcp import PathManager
from hagw.kernel.mptcp_events import SubflowEvents
from hagw.model.snapshot import CpeSnapshot, HagSnapshot, from_json
from hagw.policy.names import Learnt
from hagw.probe.counters import IpBytes

LINE_MAX_BYTES: Final = 16 * 1024 * 1024
DRAIN_POLL_S: Final = 0.1
USAGE: Final = "usage: hagw.worker (--role cpe|hag --index N | --seat ROLE-N) [--take-over]"

# What a request that makes no sense, or a snapshot this machine cannot follow, may raise: the worker lives on.
REQUEST_FAILED: Final = (
    ArithmeticError, AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError,
)  # fmt: skip


class Plane(Protocol):
    """What both roles' workers can do."""

    inherited: dict[str, socket.socket]

    def stop_listening(self) -> None: ...
    def listeners(self) -> dict[str, socket.socket]: ...
    def retire(self) -> None: ...
    def is_idle(self) -> bool: ...
    def close(self) -> None: ...
    def heard(self, gateway: str, at: float) -> None: ...
    def take_elsewhere(self, flows: Mapping[str, int]) -> None: ...
    def stats(self) -> dict[str, Any]: ...
    def flows(self, recent_s: float) -> list[dict[str, Any]]: ...
    def busiest(self, most: int) -> tuple[list[dict[str, Any]], int]: ...
    def flow(self, flow_id: str) -> dict[str, Any] | None: ...


def main(role: str, index: int, *, takes_over: bool = False) -> int:
    """Run worker `index` of a role until told to stop; return the exit code.

    With `takes_over` it continues with the listening sockets of the worker that has this index now.
    """
    runtime = Path(os.environ.get("HAGW_RUNTIME_DIR", "/run/hagw"))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    path = runtime / f"worker-{index}.sock"
    inheritance = handover.ask(path) if takes_over else None
    loop = Loop()
    control = Control(loop, path)
    loop.on_fault = control.faults.take
    plane: CpeWorker | HagWorker
    plane = (
        CpeWorker(loop, PathManager(), control.report, _subflow_events(), IpBytes())
        if role == "cpe"
        else HagWorker(loop, control.report, _proven(runtime))
    )
    control.plane = plane
    if isinstance(plane, HagWorker):
        control.store = service.Store()
        plane.inherited = control.store.taken_out()
    if inheritance is not None:
        plane.inherited = inheritance.sockets
        control.on_listening = lambda: _succeed(inheritance)
    control.apply = lambda document: _apply(plane, document)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: control.stop(0.0))
    # Sessions live and die without cycles: a rare full collection is enough, and what is loaded now stays.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    loop.run()
    if isinstance(plane, HagWorker):
        _keep_last(plane)
    control.close()
    return 0


def _succeed(inheritance: handover.Inheritance) -> None:
    """Let the predecessor go; where systemd runs us, our unit lives and dies with us from now on."""
    inheritance.taken()
    service.notify(f"MAINPID={os.getpid()}")


def _keep_last(plane: HagWorker) -> None:
    """Leave what customers used since the last reading to the daemon, where it finds what waits for the registry."""
    directory = Path(os.environ.get("HAGW_STATE_DIR") or "/var/lib/hagw") / "usage"
    for reading in plane.last_readings():
        try:
            readings.keep(directory, reading)
        except OSError as why:
            print(f"worker: last usage not kept: {why}", file=sys.stderr, flush=True)


def _proven(runtime: Path) -> ProvenAddresses | None:
    """Return what is known of customers' addresses; where that cannot be had, cookies are good everywhere."""
    try:
        return ProvenAddresses(runtime / PROVEN_FILE)
    except OSError as why:
        print(f"worker: addresses cannot be proved: {why}", file=sys.stderr, flush=True)
        return None


def _subflow_events() -> SubflowEvents | None:
    """Listen to what the kernel tells of subflows; where it tells nothing, they are looked at now and then."""
    try:
        return SubflowEvents()
    except OSError as why:
        print(f"worker: no events of subflows: {why}", file=sys.stderr, flush=True)
        return None


def _apply(plane: CpeWorker | HagWorker, document: dict[str, Any]) -> int:
    snapshot = from_json(document)
    match plane, snapshot:
        case CpeWorker(), CpeSnapshot():
            plane.apply(snapshot)
        case HagWorker(), HagSnapshot():
            plane.apply(snapshot)
        case _:
            raise ValueError("snapshot is for the other role")
    return snapshot.generation


class Control:
    """The control socket: the daemon's requests in, replies and events out."""

    def __init__(self, loop: Loop, path: Path) -> None:
        self.plane: Plane | None = None
        self.apply: Callable[[dict[str, Any]], int] | None = None
        self.faults = Faults()
        self._loop = loop
        self._path = self._home = path
        self._generation: int | None = None
        self._clients: dict[int, Client] = {}
        self._stops = 0
        self._stopping = False
        self._until = 0.0
        self._heir: int | None = None
        self._retired = False
        self.on_listening: Callable[[], None] | None = None
        self.store: service.Store | None = None
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        old = os.umask(0o177)
        try:
            self._listener.bind(str(path))
        finally:
            os.umask(old)
        self._listener.listen(8)
        loop.add(self._listener.fileno(), EPOLLIN, self._accept)

    def report(self, event: dict[str, Any]) -> None:
        """Send an event to whoever is connected."""
        for client in list(self._clients.values()):
            client.send({"op": "event", **event})

    def close(self) -> None:
        """Remove the socket."""
        self._path.unlink(missing_ok=True)

    def stop(self, drain_s: float) -> None:
        """Accept nothing more, give what lives `drain_s` to end, then leave; told again, whichever is sooner."""
        if self.plane is None:
            self._loop.stop()
            return
        until = self._loop.now + drain_s
        self._until = min(until, self._until) if self._stopping else until
        self._stopping = True
        self._stops += 1
        self.plane.stop_listening()
        self._drain(self._until, self._stops)

    def _drain(self, until: float, stop: int) -> None:
        plane = self.plane
        assert plane is not None
        if not self._stopping or stop != self._stops:
            return  # called back meanwhile
        if plane.stats()["flows_active"] and self._loop.now < until:
            self._loop.call_in(DRAIN_POLL_S, lambda: self._drain(until, stop))
            return
        plane.close()
        self._loop.stop()

    def serve(self, client: "Client", request: dict[str, Any]) -> None:
        """Carry out one request."""
        plane = self.plane
        assert plane is not None
        match request["op"]:
            case "snapshot" if self.apply is not None:
                self._generation = self.apply(request["snapshot"])
                if self.on_listening is not None:
                    self.on_listening()
                    self.on_listening = None
                self._keep_listening(plane)
                self._stopping = False  # who gets a snapshot is wanted, also one that was draining: it listens again
                client.send({"op": "applied", "generation": self._generation})
            case "ping":
                own = {"snapshot_generation": self._generation, "memory_kb": _memory_kb(), "faults": self.faults.count}
                stats = {**plane.stats(), **own, "version": __version__, "retired": self._retired}
                client.send({"op": "pong", "id": request["id"], "pid": os.getpid(), "stats": stats})
            case "flows" if "busiest" in request:
                chosen, total = plane.busiest(int(request["busiest"]))
                client.send({"op": "flows", "id": request["id"], "flows": chosen, "total": total})
            case "flows":
                flows = plane.flows(float(request.get("recent_s", 0.0)))
                client.send({"op": "flows", "id": request["id"], "flows": flows})
            case "try" if isinstance(plane, CpeWorker):
                number = request["id"]
                plane.try_gateway(lambda failure: client.send({"op": "tried", "id": number, "failure": failure}))
            case "flow":
                flow = plane.flow(str(request["flow"]))
                client.send({"op": "flows", "id": request["id"], "flows": [] if flow is None else [flow]})
            case "usage" if isinstance(plane, HagWorker):
                reading = plane.usage(str(request.get("ack", "")))
                client.send({"op": "flows", "id": request["id"], "flows": [reading]})
            case "elsewhere":
                plane.take_elsewhere({str(name): int(count) for name, count in request["flows"].items()})
            case "names" if isinstance(plane, CpeWorker):
                plane.learn([Learnt(str(a), str(domain), float(until)) for a, domain, until in request["names"]])
            case "heard":
                plane.heard(request["gateway"], float(request["at"]))
            case "handover" if not self._retired and self._heir is None:
                self._hand_over(client)
            case "taken" if client.number == self._heir:
                self._retire()
            case "bear":
                client.send({"op": "bore", "pid": service.bear(request["command"])})
            case "stop":
                if self.store is not None and not self._retired:
                    self.store.keep({})  # who is to accept nothing more leaves nobody waiting
                self.stop(float(request.get("drain_s", 0.0)))
            case unknown:
                client.send({"op": "error", "message": f"unknown request {unknown}"})

    def _keep_listening(self, plane: Plane) -> None:
        """Leave our sockets with systemd, and let go of those that a worker before us had and nobody wants."""
        if self.store is None or self._retired:
            return
        for unwanted in plane.inherited.values():
            unwanted.close()
        plane.inherited.clear()
        self.store.keep(plane.listeners())

    def _hand_over(self, heir: "Client") -> None:
        """Give a successor our listening sockets and our place; we go on until it says that it listens."""
        assert self.plane is not None
        # First of all: as soon as the successor has the sockets it takes the name, and we would move its socket away.
        self._move(self._path.with_name(f"retired-{os.getpid()}.sock"))
        try:
            heir.hand_over(self.plane.listeners())
        except OSError:
            self._move(self._home)
            raise
        self._heir = heir.number

    def _move(self, path: Path) -> None:
        self._path.rename(path)
        self._path = path

    def _retire(self) -> None:
        """Leave new connections to the successor, finish those there are, then end."""
        assert self.plane is not None
        self._retired = True
        self.plane.retire()
        self._end_when_idle()

    def _end_when_idle(self) -> None:
        assert self.plane is not None
        if self.plane.is_idle():
            self.stop(0.0)
        else:
            self._loop.call_in(DRAIN_POLL_S, self._end_when_idle)

    def _accept(self, _mask: int) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            self._loop.pause(self._listener.fileno(), ACCEPT_PAUSE_S)
            return
        sock.setblocking(False)
        self._clients[sock.fileno()] = Client(self._loop, sock, self)

    def gone(self, fd: int) -> None:
        """Forget a client; a successor that went before it listened has never been there."""
        self._clients.pop(fd, None)
        if fd == self._heir and not self._retired:
            self._heir = None
            self._move(self._home)


class Client:
    """One connected daemon; output it does not read is kept up to LINE_MAX_BYTES, then it is dropped."""

    def __init__(self, loop: Loop, sock: socket.socket, control: Control) -> None:
        self._loop = loop
        self._sock = sock
        self._control = control
        self._in = bytearray()
        self._out = bytearray()
        self._closed = False
        self.number = sock.fileno()
        loop.add(sock.fileno(), EPOLLIN, self._on_event)

    def send(self, document: dict[str, Any]) -> None:
        """Queue one line; one who was dropped gets no more."""
        if self._closed:
            return
        self._out += json.dumps(document, separators=(",", ":")).encode() + b"\n"
        self._flush()

    def hand_over(self, sockets: Mapping[str, socket.socket]) -> None:
        """Send open sockets. Raise OSError."""
        self._flush()
        handover.send(self._sock, sockets)

    def _on_event(self, mask: int) -> None:
        if mask & EPOLLOUT:
            self._flush()
        if not mask & ~EPOLLOUT:
            return
        try:
            data = self._sock.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._in += data
        if not data or len(self._in) > LINE_MAX_BYTES:
            self._close()
            return
        while not self._closed and (end := self._in.find(b"\n")) >= 0:
            line = bytes(self._in[:end])
            del self._in[: end + 1]
            try:
                self._control.serve(self, json.loads(line))
            except REQUEST_FAILED as why:
                print(f"worker: request failed: {why!r}", file=sys.stderr, flush=True)
                self.send({"op": "error", "message": f"request failed: {why!r}"})

    def _flush(self) -> None:
        try:
            while self._out:
                sent = self._sock.send(self._out)
                del self._out[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._close()
            return
        if len(self._out) > LINE_MAX_BYTES:
            self._close()
            return
        self._loop.set_mask(self._sock.fileno(), EPOLLIN | (EPOLLOUT if self._out else 0))

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            self._control.gone(self._sock.fileno())
            self._loop.close(self._sock)


def _memory_kb() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize() // 1024


def command(words: Sequence[str]) -> int:
    """Read our own command line: argparse would be a twentieth of what a worker is."""
    takes_over = "--take-over" in words
    words = [word for word in words if word != "--take-over"]
    match words:
        case ["--role", role, "--index", number]:
            pass
        case ["--seat", seat]:  # both of them, as a unit's instance is called
            role, _, number = seat.partition("-")
        case _:
            role, number = "", ""
    if role not in ("cpe", "hag") or not number.isdecimal():
        print(USAGE, file=sys.stderr)
        return 2
    return main(role, int(number), takes_over=takes_over)
