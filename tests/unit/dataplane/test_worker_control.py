"""The worker's control socket: what a daemon may send, a wrong one included, and that the worker lives on."""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from plane_rig import no_descriptors_left, turn_for, until

from hagw.dataplane.loop import Loop
from hagw.worker.main import LINE_MAX_BYTES, Control


class Plane:
    """A data plane that only remembers what it was told."""

    def __init__(self) -> None:
        self.active = 0
        self.heard_of: list[tuple[str, float]] = []
        self.listening = True
        self.closed = False
        self.entries: list[dict[str, Any]] = []
        self.on_handover: Callable[[], None] = list

    def stop_listening(self) -> None:
        self.listening = False

    def listeners(self) -> dict[str, socket.socket]:
        self.on_handover()
        return {}

    def close(self) -> None:
        self.closed = True

    def heard(self, gateway: str, at: float) -> None:
        self.heard_of.append((gateway, at))

    def stats(self) -> dict[str, Any]:
        return {"flows_active": self.active}

    def busiest(self, most: int) -> tuple[list[dict[str, Any]], int]:
        return [], 0

    def flows(self, recent_s: float) -> list[dict[str, Any]]:
        return self.entries


class Daemon:
    """A client of the control socket."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(path))
        self.sock.setblocking(False)
        self._received = bytearray()

    def say(self, document: object) -> None:
        self.sock.send(json.dumps(document).encode() + b"\n")

    def hear(self, loop: Loop) -> dict[str, Any]:
        """Return the next line."""

        def complete() -> bool:
            try:
                self._received += self.sock.recv(1 << 20)
            except BlockingIOError:
                pass
            return b"\n" in self._received

        until(loop, complete)
        line, _, rest = bytes(self._received).partition(b"\n")
        self._received = bytearray(rest)
        document: dict[str, Any] = json.loads(line)
        return document

    def is_dropped(self) -> bool:
        try:
            while self.sock.recv(1 << 20):
                pass
        except BlockingIOError:
            return False
        except ConnectionResetError:
            pass
        return True


class Rig:
    def __init__(self, directory: Path) -> None:
        self.loop = Loop()
        self.plane = Plane()
        self.path = directory / "worker-0.sock"
        self.control = Control(self.loop, self.path)
        self.control.plane = self.plane
        self.control.apply = self.apply
        self.applied: list[dict[str, Any]] = []
        self.failure: Exception | None = None
        self._daemons: list[Daemon] = []

    def apply(self, document: dict[str, Any]) -> int:
        if self.failure is not None:
            raise self.failure
        self.applied.append(document)
        return int(document["generation"])

    def daemon(self) -> Daemon:
        self._daemons.append(Daemon(self.path))
        return self._daemons[-1]

    def assert_alive(self, daemon: Daemon) -> None:
        """Check that it answers a ping, after whatever else it says."""
        daemon.say({"op": "ping", "id": 99})
        while (answer := daemon.hear(self.loop))["op"] != "pong":
            pass
        assert answer["id"] == 99

    def close(self) -> None:
        for daemon in self._daemons:
            daemon.sock.close()
        turn_for(self.loop, 0.01)
        self.control._listener.close()
        self.control.close()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.close()


def test_the_protocol(rig: Rig) -> None:
    daemon = rig.daemon()
    daemon.say({"op": "snapshot", "snapshot": {"generation": 7}})
    assert daemon.hear(rig.loop) == {"op": "applied", "generation": 7}
    daemon.say({"op": "ping", "id": 1})
    pong = daemon.hear(rig.loop)
    assert (pong["op"], pong["id"], pong["pid"]) == ("pong", 1, os.getpid())
    assert pong["stats"]["snapshot_generation"] == 7
    assert pong["stats"]["memory_kb"] > 1_000
    daemon.say({"op": "heard", "gateway": "hag", "at": 12.5})
    daemon.say({"op": "flows", "id": 2, "recent_s": 60})
    assert daemon.hear(rig.loop) == {"op": "flows", "id": 2, "flows": []}
    daemon.say({"op": "flows", "id": 3, "recent_s": 0, "busiest": 200})
    assert daemon.hear(rig.loop) == {"op": "flows", "id": 3, "flows": [], "total": 0}
    assert rig.plane.heard_of == [("hag", 12.5)]


def test_a_successor_finds_the_name_free_before_it_has_the_sockets(rig: Rig) -> None:
    """It takes the name at once: what is moved away after that would be its own socket."""
    there: list[bool] = []
    rig.plane.on_handover = lambda: there.append(rig.path.exists())
    heir = Daemon(rig.path)
    heir.say({"op": "handover"})
    assert heir.hear(rig.loop)["op"] == "handover"
    assert there == [False]
    heir.sock.close()
    until(rig.loop, rig.path.exists)  # it went before it listened


def test_the_socket_is_for_its_owner_only(rig: Rig) -> None:
    assert rig.path.stat().st_mode & 0o777 == 0o600


def test_several_requests_in_one_piece_and_one_in_several(rig: Rig) -> None:
    daemon = rig.daemon()
    daemon.sock.send(b'{"op":"ping","id":1}\n{"op":"ping","id":2}\n{"op":"pi')
    assert [daemon.hear(rig.loop)["id"] for _ in range(2)] == [1, 2]
    daemon.sock.send(b'ng","id":3}\n')
    assert daemon.hear(rig.loop)["id"] == 3


def test_events_go_to_everybody(rig: Rig) -> None:
    daemons = [rig.daemon(), rig.daemon()]
    for daemon in daemons:
        rig.assert_alive(daemon)
    rig.control.report({"event": "gateway-failed", "gateway": "hag"})
    for daemon in daemons:
        assert daemon.hear(rig.loop) == {"op": "event", "event": "gateway-failed", "gateway": "hag"}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"not json",
        b"{",
        b"\xff\xfe",
        b"null",
        b"5",
        b'"ping"',
        b"[]",
        b"{}",
        b'{"op": null}',
        b'{"op": "dance"}',
        b'{"op": ["ping"]}',
        b'{"op": "ping"}',
        b'{"op": "flows"}',
        b'{"op": "flows", "id": 1, "recent_s": "soon"}',
        b'{"op": "flows", "id": 1, "recent_s": ' + b"9" * 400 + b"}",
        b'{"op": "flows", "id": 1, "recent_s": null}',
        b'{"op": "heard"}',
        b'{"op": "heard", "gateway": "hag", "at": "now"}',
        b'{"op": "snapshot"}',
        b'{"op": "snapshot", "snapshot": {}}',
        b'{"op": "stop", "drain_s": "soon"}',
        b"[" * 100_000,
        b'{"op": ' + b"[" * 100_000,
        b"9" * 10_000,
    ],
    ids=lambda line: line[:48].decode(errors="replace"),
)
def test_a_request_that_makes_no_sense_is_answered_by_an_error(rig: Rig, line: bytes) -> None:
    daemon = rig.daemon()
    daemon.sock.send(line + b"\n")
    assert daemon.hear(rig.loop)["op"] == "error"
    rig.assert_alive(daemon)


@pytest.mark.parametrize("failure", [OSError(98, "Address already in use"), AttributeError("items"), KeyError("role")])
def test_a_snapshot_that_cannot_be_applied_is_answered_by_an_error(rig: Rig, failure: Exception) -> None:
    rig.failure = failure
    daemon = rig.daemon()
    daemon.say({"op": "snapshot", "snapshot": {"generation": 1}})
    assert daemon.hear(rig.loop)["op"] == "error"
    rig.assert_alive(daemon)


def test_a_huge_line_drops_its_sender_and_nobody_else(rig: Rig) -> None:
    other, daemon = rig.daemon(), rig.daemon()
    sent = 0
    block = b"x" * (1 << 18)
    while sent <= LINE_MAX_BYTES + (1 << 20):
        try:
            sent += daemon.sock.send(block)
        except BlockingIOError:
            rig.loop.turn(0.0)
        except (BrokenPipeError, ConnectionResetError):
            break
    until(rig.loop, daemon.is_dropped)
    assert sent <= LINE_MAX_BYTES + (4 << 20)
    rig.assert_alive(other)


def test_who_does_not_read_is_dropped_before_much_is_kept(rig: Rig) -> None:
    rig.plane.entries = [{"why": "x" * 1_000} for _ in range(1_000)]
    other, daemon = rig.daemon(), rig.daemon()
    for number in range(3 * LINE_MAX_BYTES // 1_000_000):
        try:
            daemon.say({"op": "flows", "id": number})
        except (BrokenPipeError, ConnectionResetError):
            break
        turn_for(rig.loop, 0.002)
    until(rig.loop, daemon.is_dropped)
    rig.control.report({"event": "gateway-failed"})
    rig.assert_alive(other)


def test_many_requests_of_one_who_does_not_read(rig: Rig) -> None:
    """All of them are there when the limit is reached: those behind it are not served any more."""
    rig.plane.entries = [{"why": "x" * 1_000} for _ in range(4_000)]
    other, daemon = rig.daemon(), rig.daemon()
    daemon.sock.send(b'{"op":"flows","id":1}\n' * 20)
    until(rig.loop, daemon.is_dropped)
    rig.assert_alive(other)


def test_who_goes_away_in_the_middle_is_forgotten(rig: Rig) -> None:
    rig.plane.entries = [{"why": "x" * 1_000} for _ in range(1_000)]
    other, daemon = rig.daemon(), rig.daemon()
    daemon.sock.send(b'{"op":"flows","id":1}\n' * 5 + b'{"op":')
    daemon.sock.close()
    turn_for(rig.loop, 0.05)
    rig.control.report({"event": "gateway-failed"})
    assert other.hear(rig.loop)["event"] == "gateway-failed"
    rig.assert_alive(other)


def test_who_comes_when_descriptors_are_out_waits_and_the_loop_does_not_spin(rig: Rig) -> None:
    other = rig.daemon()
    rig.assert_alive(other)
    late = rig.daemon()
    with no_descriptors_left():
        assert turn_for(rig.loop, 0.2) < 20
    rig.assert_alive(other)
    rig.assert_alive(late)


def test_stop_waits_for_what_lives_as_long_as_it_was_told(rig: Rig) -> None:
    rig.plane.active = 1
    rig.daemon().say({"op": "stop", "drain_s": 0.3})
    began = time.monotonic()
    rig.loop.run()
    assert 0.25 < time.monotonic() - began < 2.0
    assert rig.plane.closed
    assert not rig.plane.listening


@pytest.mark.parametrize(("second_s", "least_s"), [(30.0, 0.25), (0.1, 0.05), (0.0, 0.0)])
def test_a_second_stop_only_shortens_what_is_left(rig: Rig, second_s: float, least_s: float) -> None:
    rig.plane.active = 1
    daemon = rig.daemon()
    daemon.say({"op": "stop", "drain_s": 0.4})
    daemon.say({"op": "stop", "drain_s": second_s})
    began = time.monotonic()
    rig.loop.run()
    assert least_s <= time.monotonic() - began < least_s + 0.5
    assert rig.plane.closed


def test_stop_goes_when_nothing_lives(rig: Rig) -> None:
    rig.plane.active = 1
    rig.daemon().say({"op": "stop", "drain_s": 30})
    rig.loop.call_in(0.1, lambda: setattr(rig.plane, "active", 0))
    began = time.monotonic()
    rig.loop.run()
    assert time.monotonic() - began < 2.0


def test_a_snapshot_calls_back_who_was_told_to_stop(rig: Rig) -> None:
    rig.plane.active = 1
    daemon = rig.daemon()
    daemon.say({"op": "stop", "drain_s": 0.2})
    rig.loop.call_in(0.1, lambda: daemon.say({"op": "snapshot", "snapshot": {"generation": 7}}))
    rig.loop.call_in(0.5, rig.loop.stop)
    rig.loop.run()
    assert not rig.plane.closed
    daemon.say({"op": "stop", "drain_s": 0.0})
    rig.loop.run()
    assert rig.plane.closed
