"""Faults of the bench: what a LAN notices is measured right, each fault is tried, and their table says what was."""

import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import pytest

from hagw.errors import ConfigError
from hagw.lab.bench.faults import FAULTS, NO_FAULT, alternating
from hagw.lab.bench.report import markdown
from hagw.lab.bench.results import Machine, Result, Row, document
from hagw.lab.bench.scenario import load_scenario, parse, scenario_names
from hagw.lab.bench.watch import Watch, longest_silence_s
from tests.unit import docs

ANSWER_S = 20.0
SOURCE = Path(__file__).parents[3]
MACHINE = Machine("2 × CPU, 4 GiB, Debian", "6.1.0", "abc123", "2026-01-02T03:04:05Z")
FAULTY = """
version: 1
name: mine
measure: [outage, bonded-again]
systems: [hagw]
targets: [{statistic: max, at_most: 2000}]
cases:
  dead: {params: {fault: worker-killed}}
  dark: {events: [{at_s: 0, link: dsl, set: {blackhole: both}}]}
"""


@pytest.mark.parametrize(
    ("answers", "longest"),
    [
        ([1.0, 2.0, 6.0, 8.0], 4.0),
        ([5.0, 2.0, 1.0], 5.0),  # until the end, and in whatever order they come
        ([4.0], 6.0),
        ([], 10.0),
        ([-3.0, 11.0, 9.0], 9.0),  # before and after it is none
    ],
)
def test_a_silence_is_the_longest_span_without_an_answer(answers: list[float], longest: float) -> None:
    assert longest_silence_s(answers, 0.0, 10.0) == pytest.approx(longest)


def test_a_request_that_hangs_keeps_no_other_one_waiting() -> None:
    """The server answers every second connection and leaves the others without an answer."""
    with _every_second_answered() as (port, held), _watching(Watch("127.0.0.1", port, 10.0, 0.2)) as watcher:
        assert watcher.stdin is not None
        deadline = time.monotonic() + ANSWER_S
        while len(held) < 40 and time.monotonic() < deadline:
            time.sleep(0.01)
        said = _told(watcher)
    assert len(said["answers"]) >= 15
    assert len(said["failures"]) >= 1
    assert all(0 <= moment < 2 * ANSWER_S for moment in said["answers"] + said["failures"])


def test_a_connection_that_ends_without_an_answer_is_a_failure() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        order = Watch("127.0.0.1", server.getsockname()[1], 5.0, 5.0)
        server.settimeout(ANSWER_S)
        with _watching(order) as watcher:
            for _ in range(20):
                server.accept()[0].close()
            said = _told(watcher)
    assert said["answers"] == []
    assert said["failures"]


def test_what_alternates_ends_as_it_was() -> None:
    done: list[str] = []
    with alternating(lambda: done.append("on"), lambda: done.append("off"), 0.001, 0.001):
        deadline = time.monotonic() + ANSWER_S
        while len(done) < 6 and time.monotonic() < deadline:
            time.sleep(0.001)
    assert done[:6] == ["on", "off"] * 3
    assert done[-1] == "off"


def test_every_fault_is_tried_by_a_scenario_that_ships() -> None:
    tried = {
        case.params["fault"]
        for name in scenario_names()
        if (scenario := load_scenario(name)).activity == "endure"
        for case in scenario.cases
    }
    assert tried == set(FAULTS)
    assert all(fault.title for fault in FAULTS.values())


def test_the_document_says_where_each_fault_is_tried_and_what_it_names_is_there() -> None:
    text = docs.text("docs/reliability.md")
    listed = set(re.findall(r"`([^`]+)`", text.partition("## Where each fault is tried")[2]))
    cases = {case.name for name in ("faults", "upgrade") for case in load_scenario(name).cases}
    assert cases <= listed
    for path in (name for name in listed if name.startswith("tests/")):
        assert (docs.ROOT / path).exists(), path


def test_a_fault_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="'earthquake' is not one of none, worker-killed"):
        parse(FAULTY.replace("worker-killed", "earthquake"), "mine.yaml")


def test_documents_have_a_row_a_fault_with_what_was_noticed() -> None:
    scenario = parse(FAULTY, "mine.yaml")
    results = [Result(scenario, case, measure) for case in scenario.cases for measure in scenario.measures]
    results[0].rows["hagw"] = Row([90.0, 110.0, 130.0], notes={"answered": [80, 81, 82], "failed": [0, 2, 0]})
    results[1].rows["hagw"] = Row([0.31])
    results[2].rows["hagw"] = Row([2500.0])
    results[3].rows["hagw"] = Row([60.0], why_not="not bonded: degraded: no line")
    section = markdown(document(MACHINE, results))
    assert "| fault | new requests unanswered for | bonded again after | |" in section
    dead = "| `dead`: one of the CPE's workers is killed, for 4 s | 110 ms (90 ms–130 ms) | 0.3 s |"
    assert f"{dead} requests failed: 2 beside 80, 81, 82 answered |" in section
    dark = "| `dark`: dsl blackhole both at 0 s, for 4 s | 2500 ms | 60.0 s |"
    assert f"{dark} MISSED: outage max ≤ 2000; not bonded: degraded: no line |" in section
    assert NO_FAULT not in section


def _watching(order: Watch) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-P", "-m", "hagw.lab.bench.peer", "watch", json.dumps(asdict(order))]
    env = {"PYTHONPATH": str(SOURCE), "PATH": "/usr/bin:/bin"}
    return subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _told(watcher: "subprocess.Popen[str]") -> dict[str, Any]:
    assert isinstance(watcher.stdout, TextIOWrapper)
    told, _ = watcher.communicate("\n", timeout=ANSWER_S)
    said: dict[str, Any] = json.loads(told)
    return said


@contextmanager
def _every_second_answered() -> Iterator[tuple[int, list[socket.socket]]]:
    """Serve on a port; yield it and the connections so far, which are open until the end."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        thread = threading.Thread(target=_answer_every_second, args=(server, held))
        thread.start()
        try:
            yield server.getsockname()[1], held
        finally:
            server.shutdown(socket.SHUT_RDWR)  # closing it would leave the thread waiting for ever
            thread.join()
            for client in held:
                client.close()


def _answer_every_second(server: socket.socket, held: list[socket.socket]) -> None:
    while True:
        try:
            client, _ = server.accept()
        except OSError:  # the test is over
            return
        held.append(client)
        if len(held) % 2:
            with suppress(OSError):  # it waited long enough
                client.sendall(b"!")
