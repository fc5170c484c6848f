"""How fast the API answers, and what the daemon costs, with many flows and open pages. No part of `./lab test`:

    python -m tests.soak.api_load --flows 2000 --streams 20

A pretended gateway, streams that take all topics over its socket, and one client that asks each resource in turn. What
the daemon itself costs is counted while the streams listen and nobody asks. Exit code 1 where a bound is missed.
"""

import argparse
import http.client
import itertools
import json
import os
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hagw.history.ring import Ring
from hagw.history.series import FIELDS, HOURS, MINUTES, SECONDS, TOTAL
from tests.pretended import Pretended, pretended

TOPICS: Final = "status,flows,history,events,changes,speedtests"
LINES: Final = ("dsl", "lte", "wifi")  # of the pretended gateway
P95_MAX_MS: Final = 50.0
CORE_MAX: Final = 0.05
RESOURCES: Final = (
    "status",
    "flows?limit=100",
    "flows?limit=100&sort=-bytes_down",
    "flows?limit=100&q=192.168&offset=400",
    "flows?limit=2000",
    "uplinks",
    "history?range=1h",
    "history?range=1h&series=uplink.*.down_bps",
    "history?range=24h",
    "history?range=30d",
    "history?range=30d&step_s=600&series=uplink.dsl.*",
    "history?range=1y",
    "events",
    "usage",
    "rules",
    "config",
    "explain?client=192.168.1.2&server=203.0.113.9&port=443",
    "alerts",
    "speedtests",
)


def main() -> int:
    """Measure; print one JSON document, return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flows", type=int, default=2000)
    parser.add_argument("--streams", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long the daemon's cost is counted")
    parser.add_argument("--listen", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.listen is not None:
        return listen(chosen.listen, chosen.streams)
    with tempfile.TemporaryDirectory() as there:
        options = ("--no-pretend-outages", "--pretend-flows", str(chosen.flows))
        fill(Path(there) / "state" / "history")
        with pretended(Path(there), *options) as daemon:
            daemon.wait("/status", lambda status: status["flows_active"] >= chosen.flows * 0.8, 60.0)
            alone = cost(daemon, chosen.seconds / 2)
            with streams(daemon, chosen.streams):
                time.sleep(3.0)
                shown = cost(daemon, chosen.seconds)
                asked = {each: times(daemon, each, chosen.rounds) for each in RESOURCES}
    found = {name: summary(each) for name, each in asked.items()}
    print(json.dumps({"core_alone": alone, "core_with_streams": shown, "ms": found}, indent=1))
    slow = [name for name, each in found.items() if each["p95"] > P95_MAX_MS]
    return 1 if slow or shown > CORE_MAX else 0


def fill(directory: Path) -> None:
    """Write the history of a machine that has run for a year."""
    directory.mkdir(parents=True)
    now = int(time.time())
    for name, (step_s, slots, suffix) in itertools.product((*LINES, TOTAL), (SECONDS, MINUTES, HOURS)):
        end = now // step_s * step_s
        values = {
            end - step_s * back: (48e6 + back * 1e3, 9e6 + back, 20.0 + back % 7, 0.01, 0.0, None)
            for back in range(1, slots)
        }
        Ring(directory / f"{name}.{suffix}", step_s, slots, len(FIELDS)).write(values)


def cost(daemon: Pretended, seconds: float) -> float:
    """Return the part of a core that the daemon uses."""
    began, before = time.monotonic(), cpu_s(daemon.process.pid)
    time.sleep(seconds)
    return round((cpu_s(daemon.process.pid) - before) / (time.monotonic() - began), 4)


def cpu_s(pid: int) -> float:
    """Return the seconds of processor a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def times(daemon: Pretended, resource: str, rounds: int) -> list[float]:
    """Return how long each request took, over one connection, in milliseconds; at moments that fit no tick."""
    connection = http.client.HTTPConnection("hagw")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(daemon.socket))
    taken = []
    for number in range(rounds):
        began = time.perf_counter()
        connection.request("GET", f"/api/v1/{resource}")
        answer = connection.getresponse()
        answer.read()
        taken.append((time.perf_counter() - began) * 1000)
        assert answer.status == 200, (resource, answer.status)
        time.sleep(0.02 + 0.019 * (number % 7))
    connection.close()
    return taken


def summary(taken: list[float]) -> dict[str, float]:
    """Return median, 95th percentile and the longest."""
    ordered = sorted(taken)
    p95 = ordered[max(0, -(-len(ordered) * 95 // 100) - 1)]
    return {"median": round(statistics.median(taken), 1), "p95": round(p95, 1), "max": round(ordered[-1], 1)}


@contextmanager
def streams(daemon: Pretended, count: int) -> Iterator[None]:
    """Have so many streams listen, in a process of their own."""
    command = (sys.executable, "-m", "tests.soak.api_load", "--listen", str(daemon.socket), "--streams", str(count))
    with subprocess.Popen(command) as listening:
        try:
            yield
        finally:
            listening.terminate()


def listen(path: Path, count: int) -> int:
    """Take what streams tell, for ever."""
    ready = selectors.DefaultSelector()
    for _ in range(count):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(path))
        sock.sendall(f"GET /api/v1/stream?topics={TOPICS} HTTP/1.1\r\nHost: hagw\r\n\r\n".encode())
        ready.register(sock, selectors.EVENT_READ)
    while True:
        for key, _ in ready.select():
            if not key.fileobj.recv(1 << 20):  # type: ignore[union-attr]  # it is a socket
                return 1


if __name__ == "__main__":
    sys.exit(main())
