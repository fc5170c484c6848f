"""Do open pages slow the data plane? No part of `./lab test`:

    python -m tests.soak.open_pages --rounds 5 --pages 20

A download and an upload through the lab's CPE, by turns without and with so many streams of all topics, which go
through `hagw web` and TLS to a host of the LAN. Exit code 1 if the medians differ by more than 3 %.
"""

import argparse
import json
import os
import selectors
import socket
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from hagw.cli.client import ask
from hagw.lab.demo_ui import NODE, _page
from hagw.lab.lab import Lab
from hagw.lab.traffic import Streams

SERVER: Final = "203.0.113.10"
PAGE: Final = ("192.168.77.1", 8443)
TOPICS: Final = "status,flows,history,events,changes,speedtests"
DIFFERENCE_MAX: Final = 0.03
SETTLES_S: Final = 2.0


def main() -> int:
    """Measure by turns; print one JSON document, return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pages", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--listen", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.listen is not None:
        return listen(chosen.listen, chosen.pages)
    lab = Lab(f"pages-{os.getpid()}")
    found: dict[str, dict[str, list[float]]] = {way: {"without": [], "with": []} for way in ("down", "up")}
    costs: list[float] = []
    try:
        lab.up()
        _page(lab, PAGE[1])
        secret = token(lab)
        with Streams(lab) as streams:
            measure(streams, "down", chosen.seconds)  # lines are learnt, the pool is warm
            for _ in range(chosen.rounds):
                for way in found:
                    found[way]["without"].append(measure(streams, way, chosen.seconds))
                with pages(lab, secret, chosen.pages):
                    for way in found:
                        before, began = cost_s(lab), time.monotonic()
                        found[way]["with"].append(measure(streams, way, chosen.seconds))
                        costs.append((cost_s(lab) - before) / (time.monotonic() - began))
    finally:
        lab.down()
    ratios = {way: statistics.median(each["with"]) / statistics.median(each["without"]) for way, each in found.items()}
    mbit = {
        way: {name: [round(rate / 1e6, 2) for rate in rates] for name, rates in each.items()}
        for way, each in found.items()
    }
    print(
        json.dumps({"mbit": mbit, "ratio": ratios, "core_daemon_and_web": round(statistics.median(costs), 3)}, indent=1)
    )
    return 0 if all(ratio >= 1 - DIFFERENCE_MAX for ratio in ratios.values()) else 1


def measure(streams: Streams, way: str, seconds: float) -> float:
    """Return the steady rate of one transfer in bit/s."""
    stream = (streams.download if way == "down" else streams.upload)("lan1", SERVER)
    meter = stream.run_for(SETTLES_S + seconds)
    return meter.rate_bps(SETTLES_S, SETTLES_S + seconds - 0.2)


def token(lab: Lab) -> str:
    """Return an API token that may look at everything."""
    door = Path(lab.node_env(NODE)["HAGW_RUNTIME_DIR"]) / "hagw.sock"
    ask(door, "PATCH", "/users/admin", {"password": "a lab horse battery"})
    made: str = ask(door, "POST", "/tokens", {"user": "admin", "name": "pages", "scopes": ["read"]})["secret"]
    return made


def cost_s(lab: Lab) -> float:
    """Return the seconds of processor that daemon and web process of the CPE have used."""
    used = 0
    for pid in (*lab.pids(NODE, "daemon"), *lab.pids(NODE, "web")):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        used += int(fields[11]) + int(fields[12])
    return used / os.sysconf("SC_CLK_TCK")


@contextmanager
def pages(lab: Lab, secret: str, count: int) -> Iterator[None]:
    """Have so many streams listen in a host of the LAN."""
    argv = [sys.executable, "-m", "tests.soak.open_pages", "--listen", secret, "--pages", str(count)]
    root = str(Path(__file__).parents[2])
    env: dict[str, Any] = {**lab.node_env("lan1"), "PYTHONPATH": root}
    with lab.popen("lan1", argv, env=env, cwd=root, stdout=subprocess.PIPE, text=True) as listening:
        try:
            assert listening.stdout is not None
            assert listening.stdout.readline().strip() == "all listen"
            yield
            assert listening.poll() is None, "a stream ended"
        finally:
            listening.terminate()


def listen(secret: str, count: int) -> int:
    """Take what streams tell, for ever; say when each has told something."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    ready = selectors.DefaultSelector()
    silent = set()
    for _ in range(count):
        sock = context.wrap_socket(socket.create_connection(PAGE))
        head = (
            f"GET /api/v1/stream?topics={TOPICS} HTTP/1.1\r\nHost: {PAGE[0]}\r\nAuthorization: Bearer {secret}\r\n\r\n"
        )
        sock.sendall(head.encode())
        ready.register(sock, selectors.EVENT_READ)
        silent.add(sock)
    while True:
        for key, _ in ready.select():
            sock = key.fileobj
            assert isinstance(sock, ssl.SSLSocket)
            piece = sock.recv(1 << 16)
            if not piece:
                return 1
            while sock.pending():
                piece += sock.recv(1 << 16)
            if silent and b"event: status" in piece:
                silent.discard(sock)
                if not silent:
                    print("all listen", flush=True)


if __name__ == "__main__":
    sys.exit(main())
