"""Measure steering mode smallest-delay: requests for 1 kB while a bulk download fills all lines, or all but one.

Run as root: `python tests/bench/delay.py`. The bound for each second is the shortest round trip of that second's lines,
loaded as they are, and 5 ms or 10 %; with a line that nothing loads, its idle round trip and 5 ms. The server is next
to the HAG: what is between these is no matter of lines. The exit code says whether both were kept to.
"""

import re
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

sys.path.append(str(Path(__file__).parents[2]))
sys.path.append(str(Path(__file__).parents[1] / "integration"))
from plane_lab import INET, Server, connect, own_lab, read_exactly, read_line

from hagw.lab.lab import Lab
from hagw.lab.traffic import Streams

PORT: Final = 5340
RULES: Final = """
rules:
  - name: quick
    precedence: 1
    traffic: {destination_port: ["5340"]}
    steering: {mode: smallest-delay, uplinks: [dsl, lte, wifi]}
  - name: bulk
    precedence: 2
    steering: {mode: load-balancing, uplinks: LINES}
"""
LINES: Final = ("dsl", "lte", "wifi")
SPAN_S: Final = 15.0
EVERY_S: Final = 0.05
SETTLE_S: Final = 5.0


class Pings:
    """Round trips from the CPE to the server over each line, ten a second."""

    def __init__(self, lab: Lab) -> None:
        self._began = time.time() - time.monotonic()
        self._running = {
            line: lab.popen(
                "cpe",
                ["ping", "-D", "-i", "0.1", "-W", "1", "-I", f"{line}0", INET[4]],
                stdout=subprocess.PIPE,
                text=True,
            )
            for line in LINES
        }

    def end(self) -> dict[str, list[tuple[float, float]]]:
        """Stop; return each line's round trips: when (monotonic), and in ms."""
        found = {}
        for line, process in self._running.items():
            process.terminate()
            text, _ = process.communicate(timeout=5.0)
            seen = re.findall(r"\[([\d.]+)\].*time=([\d.]+) ms", text)
            found[line] = [(float(at) - self._began, float(took)) for at, took in seen]
        return found


def answer(sock: socket.socket) -> None:
    """Serve 1 kB for a line."""
    read_line(sock)
    sock.sendall(bytes(1024))


def request(lab: Lab) -> float:
    """Return how long 1 kB took from connecting on, in ms."""
    began = time.monotonic()
    with connect(lab, INET[4], PORT) as client:
        client.sendall(b"?\n")
        read_exactly(client, 1024)
    return 1000 * (time.monotonic() - began)


def measure(lab: Lab, span_s: float) -> tuple[dict[int, list[float]], dict[str, list[tuple[float, float]]]]:
    """Make requests for a while; return their times by second, and the lines' round trips."""
    pings, began = Pings(lab), time.monotonic()
    took: dict[int, list[float]] = {}
    while time.monotonic() - began < span_s:
        due = time.monotonic() + EVERY_S
        at = int(time.monotonic())
        took.setdefault(at, []).append(request(lab))
        time.sleep(max(0.0, due - time.monotonic()))
    return took, pings.end()


def lowest_ms(pings: dict[str, list[tuple[float, float]]], second: int) -> float | None:
    """Return the shortest of the lines' median round trips within a second."""
    medians = [
        statistics.median(values)
        for found in pings.values()
        if (values := [took for at, took in found if int(at) == second])
    ]
    return min(medians, default=None)


def judge(name: str, took: dict[int, list[float]], bounds: dict[int, float]) -> bool:
    """Print how the medians of the seconds stand to their bounds; say whether the median second kept to it."""
    over = {second: statistics.median(took[second]) - bound for second, bound in bounds.items()}
    kept = sum(each <= 0 for each in over.values())
    every = [value for second in bounds for value in took[second]]
    bound = statistics.median(bounds.values())
    print(f"{name}: median {statistics.median(every):.1f} ms of {len(every)} requests, bound {bound:.1f} ms;", end=" ")
    print(f"over it by {statistics.median(over.values()):+.1f} ms in the median second", end=" ")
    print(f"({min(over.values()):+.1f} to {max(over.values()):+.1f}); {kept} of {len(over)} seconds within", flush=True)
    return statistics.median(over.values()) <= 0


def configure(lab: Lab, lines: str) -> None:
    """Put the rules in force."""
    file = lab.directory / "quick.yaml"
    file.write_text(lab.config("cpe").partition("\nrules:")[0] + RULES.replace("LINES", lines), encoding="utf-8")
    lab.apply("cpe", file)


def main() -> int:
    """Measure both and print what was found."""
    with own_lab("delay") as lab, Server(lab, answer, port=PORT), Streams(lab) as streams:
        lab.link("inet", delay=0)
        configure(lab, "[dsl, lte, wifi]")
        time.sleep(1.0)
        took, pings = measure(lab, 3.0)
        idle = {line: min(value for _, value in found) for line, found in pings.items()}
        print(
            f"idle: {statistics.median([each for times in took.values() for each in times]):.1f} ms; round trips {idle}"
        )
        bulk = streams.download("lan2", INET[4])
        time.sleep(SETTLE_S)
        took, pings = measure(lab, SPAN_S)
        bulk.stop()
        bounds = {at: low + max(5.0, 0.1 * low) for at in took if (low := lowest_ms(pings, at)) is not None}
        is_met = judge("all lines full", took, bounds)
        configure(lab, "[dsl, lte]")
        bulk = streams.download("lan2", INET[4])
        time.sleep(SETTLE_S)
        took, pings = measure(lab, SPAN_S)
        bulk.stop()
        bounds = dict.fromkeys(took, idle["wifi"] + 5.0)
        is_met &= judge("wifi not loaded", took, bounds)
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
