"""LAN hosts that open one connection after the other, and what became of each."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hagw.lab.lab import Lab

WEB = ("203.0.113.10", 80)
REQUEST = b"GET /1k.bin HTTP/1.0\r\nHost: inet\r\n\r\n"
BODY_BYTES = 1000
PAUSE_S = 0.05


@dataclass(frozen=True)
class Call:
    """One connection: when it began (monotonic), how long it took, and why it failed ("" = it did not)."""

    began: float
    took_s: float
    failure: str


@dataclass
class Calls:
    """Connections so far, oldest first."""

    made: list[Call] = field(default_factory=list)

    def outage_s(self, since: float) -> float:
        """Return how long after `since` connections began that failed or took long, 0 = none did."""
        bad = [call for call in self.made if call.failure or call.took_s > 1.0]
        late = [call.began + call.took_s - since for call in bad if call.began + call.took_s > since]
        return max(late, default=0.0)


def fetch(timeout_s: float = 5.0) -> int:
    """Fetch the small file in the calling thread's namespace; return its size."""
    with socket.create_connection(WEB, timeout=timeout_s) as sock:
        sock.sendall(REQUEST)
        with sock.makefile("rb") as answer:
            return len(answer.read().partition(b"\r\n\r\n")[2])


@contextmanager
def calling(lab: Lab) -> Iterator[Calls]:
    """Have lan1 call again and again while the block runs."""
    calls, ending = Calls(), threading.Event()

    def call_on() -> None:
        with lab.in_namespace("lan1"):
            while not ending.wait(PAUSE_S):
                began = time.monotonic()
                failure = ""
                try:
                    size = fetch()
                    failure = "" if size == BODY_BYTES else f"{size} bytes"
                except OSError as error:
                    failure = str(error)
                calls.made.append(Call(began, time.monotonic() - began, failure))

    thread = threading.Thread(target=call_on)
    thread.start()
    try:
        until(lambda: len(calls.made) >= 3)
        yield calls
    finally:
        ending.set()
        thread.join()


def until(condition: Callable[[], object], timeout_s: float = 30.0) -> None:
    """Wait for the condition."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.02)


def document(lab: Lab, node: str, verb: str) -> dict[str, Any]:
    """Return a verb's `--json` document on a node."""
    done = lab.run(node, ["hagw", verb, "--json"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def wait_state(lab: Lab, state: str) -> dict[str, Any]:
    """Wait until the CPE's status has this state; return it."""
    status: dict[str, Any] = {}

    def reached() -> bool:
        status.update(document(lab, "cpe", "status"))
        return bool(status["state"] == state)

    until(reached)
    return status
