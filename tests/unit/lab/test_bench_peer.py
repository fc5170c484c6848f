"""The two ends of a bench's traffic, as processes over the loopback, and the bare relay's far end between them."""

import contextlib
import json
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from hagw.lab.bench.peer import Crowd, Order, Question

ANSWER_S = 20.0
SOURCE = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """A running server: its port, and the socket that tells of uploads."""
    port, reports = free_port(), tmp_path_factory.mktemp("peer") / "reports.sock"
    with running("hagw.lab.bench.peer", "serve", str(port), str(reports)):
        await_listener(port)
        yield port, reports


@pytest.mark.parametrize("at_once", [1, 8])
def test_questions_are_answered_and_their_waits_told(server: tuple[int, Path], at_once: int) -> None:
    said = client("ask", asdict(Question("127.0.0.1", server[0], "request", at_once, 2.0, 0.0)))
    assert said["failed"] == 0
    assert len(said["waits_ms"]) > at_once
    assert all(0 < wait < 1000 * ANSWER_S for wait in said["waits_ms"])


def test_nobody_there_is_counted_as_failed() -> None:
    said = client("ask", asdict(Question("127.0.0.1", free_port(), "request", 1, 0.2, 50.0)))
    assert said["waits_ms"] == []
    assert said["failed"] > 0


def test_a_crowd_is_answered_and_kept(server: tuple[int, Path]) -> None:
    assert client("hold", asdict(Crowd("127.0.0.1", server[0], 50))) == {"answered": 50}


def test_a_download_is_metered_by_the_client(server: tuple[int, Path]) -> None:
    said = client("move", asdict(Order("127.0.0.1", server[0], "down", 3, 2.0, "d")))
    assert sorted(said["streams"]) == ["0", "1", "2"]
    assert sum(said["bins"]) == sum(said["streams"].values()) > 0
    assert said["mptcp"] == [False] * 3
    assert said["failed"] == 0


def test_an_upload_is_metered_by_the_server_once(server: tuple[int, Path]) -> None:
    said = client("move", asdict(Order("127.0.0.1", server[0], "up", 2, 2.0, "token-u")))
    assert said["streams"] == {}
    found = report(server[1], "token-u")
    assert sorted(found["streams"]) == ["0", "1"]
    assert sum(found["bins"]) == sum(found["streams"].values()) > 0
    assert report(server[1], "token-u") is None


def test_data_that_comes_with_the_order_is_not_lost(server: tuple[int, Path]) -> None:
    with socket.create_connection(("127.0.0.1", server[0]), timeout=ANSWER_S) as sender:
        sender.sendall(b"take token-with 0\n" + bytes(5_000))
        sender.shutdown(socket.SHUT_WR)
        assert sender.recv(1) == b""
    assert report(server[1], "token-with")["streams"] == {"0": 5_000}


def test_the_bare_relays_far_end_reaches_the_server_its_header_names(server: tuple[int, Path]) -> None:
    port = free_port()
    with running("hagw.lab.bench.bare", "far", str(port), "-", "0"):
        await_listener(port)
        with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S) as near:
            header = socket.inet_aton("127.0.0.1") + struct.pack("!H", server[0])
            near.sendall(header[:4])
            near.sendall(header[4:] + b"ask\n")
            assert near.recv(16) == b"!"
            assert near.recv(16) == b""


def client(verb: str, order: dict[str, Any]) -> dict[str, Any]:
    argv = [sys.executable, "-P", "-m", "hagw.lab.bench.peer", verb, json.dumps(order)]
    done = subprocess.run(argv, env=environment(), input="", capture_output=True, text=True, timeout=60, check=True)
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def report(reports: Path, token: str) -> Any:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asker:
        asker.settimeout(ANSWER_S)
        asker.connect(str(reports))
        asker.sendall(token.encode())
        with asker.makefile("rb") as answer:
            return json.loads(answer.read())


@contextlib.contextmanager
def running(module: str, *words: str) -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-P", "-m", module, *words], env=environment()) as process:
        try:
            yield
        finally:
            process.kill()


def environment() -> dict[str, str]:
    return {"PYTHONPATH": str(SOURCE), "PATH": "/usr/bin:/bin"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_listener(port: int) -> None:
    until = time.monotonic() + ANSWER_S
    while time.monotonic() < until:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)
    raise AssertionError(f"nobody listens on port {port}")
