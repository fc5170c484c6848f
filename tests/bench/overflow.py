"""Measure steering mode priority-based over emulated lines, DSL 16/1 and LTE 50/20, and print a report.

Run as root: `python tests/bench/overflow.py [a b c …]`. Each scenario has a target; the exit code says whether
all were met.
"""

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

sys.path.append(str(Path(__file__).parents[2]))
sys.path.append(str(Path(__file__).parents[1] / "integration"))
from ends import Ends
from plane_lab import INET, Server, connect, own_lab, read_line

from hagw.lab.lab import Lab
from hagw.lab.link import tcp_payload_share
from hagw.lab.traffic import Streams

RULE: Final = """
rules:
  - name: cheapest-first
    precedence: 200
    steering: {mode: priority-based, uplinks: [dsl, lte]}
"""
PACED_PORT: Final = 5320


def carried(lab: Lab, direction: str = "down") -> dict[str, int]:
    """Return the IP bytes that each line has carried."""
    links: dict[str, Any] = lab.status()["links"]
    return {name: int(links[name][f"bytes_{direction}"]) for name in ("dsl", "lte")}


class Span:
    """What the lines carry between two moments."""

    def __init__(self, lab: Lab, direction: str = "down") -> None:
        self._lab, self._direction = lab, direction
        self._before, self._began = carried(lab, direction), time.monotonic()

    def mbit(self) -> dict[str, float]:
        """Return the mean rates since the beginning."""
        after, span = carried(self._lab, self._direction), time.monotonic() - self._began
        return {name: (after[name] - self._before[name]) * 8 / span / 1e6 for name in after}


class Curve:
    """Rates of both lines by second, taken in a thread of its own."""

    def __init__(self, lab: Lab, direction: str = "down") -> None:
        self._lab, self._direction = lab, direction
        self.seconds: list[dict[str, float]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            span = Span(self._lab, self._direction)
            self._stop.wait(1.0)
            self.seconds.append(span.mbit())

    def end(self) -> str:
        """Return the rates as text: DSL + LTE, second by second."""
        self._stop.set()
        self._thread.join()
        return " ".join(f"{second['dsl']:.0f}+{second['lte']:.0f}" for second in self.seconds)


def controllers(lab: Lab) -> list[dict[str, Any]]:
    """Return what the CPE's workers know, those first that carry something."""
    answers = Ends(lab).stats("cpe")
    found = [entry for stats in answers for entry in stats["overflow"]]
    return sorted(found, key=lambda entry: entry["state"] == "idle")


def paced(sock: socket.socket) -> None:
    """Serve `RATE` (bit/s) with data at that rate, in steps of 20 ms: an application that wants no more."""
    rate = float(read_line(sock)) / 8
    began, sent = time.monotonic(), 0
    block = bytes(256 * 1024)
    while True:
        due = int((time.monotonic() - began) * rate)
        while sent < due:
            size = min(len(block), due - sent)
            sock.sendall(block[:size])
            sent += size
        time.sleep(0.02)


@contextlib.contextmanager
def stream(lab: Lab, mbit: float, node: str = "lan1") -> Iterator[list[int]]:
    """Receive an application-limited stream; the list's one number is what has arrived."""
    client = connect(lab, INET[4], PACED_PORT, node=node)
    client.sendall(f"{mbit * 1e6}\n".encode())
    arrived = [0]

    def receive() -> None:
        with contextlib.suppress(OSError):
            while count := len(client.recv(256 * 1024)):
                arrived[0] += count

    thread = threading.Thread(target=receive, daemon=True)
    thread.start()
    try:
        yield arrived
    finally:
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
        thread.join(5.0)
        client.close()


def main(wanted: list[str]) -> int:
    """Run the scenarios and print what was found."""
    met = True
    with own_lab("overflow", preset="adsl", hagw=False) as lab:
        configure(lab)
        with Server(lab, paced, port=PACED_PORT), Streams(lab) as streams:
            for name, scenario in SCENARIOS.items():
                if wanted and name not in wanted:
                    continue
                with lab.links_restored():
                    time.sleep(2.0)
                    found, is_met = scenario(lab, streams)
                met &= is_met
                print(f"({name}) {'ok  ' if is_met else 'MISS'} {found}", flush=True)
    return 0 if met else 1


def configure(lab: Lab, rule: str = RULE) -> None:
    """Start hagw with a rule for everything."""
    for node in ("hag", "cpe"):
        if node == "cpe":
            file = lab.directory / "steered.yaml"
            file.write_text(lab.config("cpe") + rule, encoding="utf-8")
            lab.apply("cpe", file)
        lab.hagw_start(node)


def one_stream(lab: Lab, _: Streams) -> tuple[str, bool]:
    """(a) One stream of 8 Mbit/s: next to nothing over LTE."""
    span = Span(lab)
    with stream(lab, 8) as arrived:
        time.sleep(20.0)
        rates = span.mbit()
        goodput = arrived[0] * 8 / 20 / 1e6
    share = 100 * rates["lte"] / sum(rates.values())
    return f"one stream of 8 Mbit/s: {goodput:.2f} arrived, LTE carried {share:.2f} % (target < 1 %)", share < 1


def one_bulk(lab: Lab, streams: Streams) -> tuple[str, bool]:
    """(b) One bulk download: both lines used."""
    curve = Curve(lab)
    bulk = streams.download("lan1", INET[4])
    time.sleep(5.0)
    span = Span(lab)
    time.sleep(10.0)
    rates = span.mbit()
    bulk.stop()
    total, dsl = sum(rates.values()), rates["dsl"] / 16
    return (
        f"one bulk download after 5 s: {total:.1f} of 66 Mbit/s ({100 * total / 66:.0f} %, target 85), "
        f"DSL {100 * dsl:.0f} % used (target 90); by second: {curve.end()}",
        total >= 0.85 * 66 and dsl >= 0.9,
    )


def one_bulk_slow_dsl(lab: Lab, streams: Streams) -> tuple[str, bool]:
    """(b) The same with DSL the slower line in delay."""
    lab.link("dsl", delay=25)
    lab.link("lte", delay=10)
    return one_bulk(lab, streams)


def excess(lab: Lab, _: Streams, delays: tuple[float, float] = (12, 25), limit: float = 1.15) -> tuple[str, bool]:
    """(c) A stream of 25 Mbit/s: LTE carries what DSL cannot."""
    lab.link("dsl", delay=delays[0])
    lab.link("lte", delay=delays[1])
    curve = Curve(lab)
    with stream(lab, 25) as arrived:
        time.sleep(8.0)
        span, before = Span(lab), arrived[0]
        time.sleep(15.0)
        rates = span.mbit()
        goodput = (arrived[0] - before) * 8 / 15 / 1e6
    need = goodput / tcp_payload_share(mptcp=True) - 16.0
    used = rates["lte"] / need
    return (
        f"a stream of 25 Mbit/s, DSL {delays[0]} ms, LTE {delays[1]} ms: {goodput:.1f} arrived, "
        f"DSL {rates['dsl']:.1f}, LTE {rates['lte']:.1f} = {used:.2f} of the need (target {limit}); {curve.end()}",
        used <= limit and goodput > 24,
    )


def excess_slow_dsl(lab: Lab, streams: Streams) -> tuple[str, bool]:
    """(c) The same with DSL the slower line in delay."""
    return excess(lab, streams, (25, 10), 1.25)


def slower(lab: Lab, streams: Streams) -> tuple[str, bool]:
    """(d) DSL drops to 6 Mbit/s during a bulk download."""
    bulk = streams.download("lan1", INET[4])
    time.sleep(6.0)
    curve = Curve(lab)
    lab.link("dsl", rate_down="6mbit")
    time.sleep(10.0)
    known = controllers(lab)[0]["capacity_bps"] / 1e6
    span = Span(lab)
    time.sleep(4.0)
    rates = span.mbit()
    bulk.stop()
    return (
        f"DSL drops to 6 Mbit/s: 10 s later taken for {known:.1f} (target 6 ± 10 %), DSL {rates['dsl']:.1f}, "
        f"LTE {rates['lte']:.1f}; {curve.end()}",
        abs(known - 6) < 0.6 and rates["dsl"] > 5.4 and rates["lte"] > 40,
    )


def just_full(lab: Lab, _: Streams) -> tuple[str, bool]:
    """(e) A stream that just fits."""
    with stream(lab, 16 * tcp_payload_share(mptcp=True)):
        time.sleep(5.0)
        before, span = sum(entry["changes"] for entry in controllers(lab)), Span(lab)
        time.sleep(30.0)
        changes, rates = sum(entry["changes"] for entry in controllers(lab)) - before, span.mbit()
    return f"a load of just what DSL carries: {2 * changes} changes a minute (target 4), {rates}", 2 * changes <= 4


def slow_next(lab: Lab, streams: Streams) -> tuple[str, bool]:
    """(f) LTE's round trip rises to 400 ms."""
    bulk = streams.download("lan1", INET[4])
    time.sleep(6.0)
    curve = Curve(lab)
    lab.link("lte", delay="190ms")
    time.sleep(10.0)
    span = Span(lab)
    time.sleep(5.0)
    rates = span.mbit()
    state = controllers(lab)[0]["state"]
    bulk.stop()
    return (
        f"LTE's round trip rises to 400 ms: {state}, LTE {rates['lte']:.1f}, DSL {rates['dsl']:.1f}; {curve.end()}",
        rates["lte"] < 0.5 and rates["dsl"] > 14.4,
    )


def other_direction(lab: Lab, streams: Streams) -> tuple[str, bool]:
    """(g) An upload that fills DSL moves no download."""
    with stream(lab, 8):
        time.sleep(3.0)
        upload = streams.upload("lan2", INET[4])
        time.sleep(2.0)
        down, up = Span(lab), Span(lab, "up")
        time.sleep(10.0)
        carried_down, carried_up = down.mbit(), up.mbit()
        upload.stop()
    share = 100 * carried_down["lte"] / sum(carried_down.values())
    return (
        f"a saturating upload (DSL {carried_up['dsl']:.1f}, LTE {carried_up['lte']:.1f}) beside a stream of 8 Mbit/s: "
        f"LTE carried {share:.1f} % of what came down (target 5: the upload's acknowledgements among it)",
        share < 5,
    )


SCENARIOS: Final[dict[str, Callable[[Lab, Streams], tuple[str, bool]]]] = {
    "a": one_stream,
    "b": one_bulk,
    "b2": one_bulk_slow_dsl,
    "c": excess,
    "c2": excess_slow_dsl,
    "d": slower,
    "e": just_full,
    "f": slow_next,
    "g": other_direction,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
