"""Lossy, jittery lines that work must not be taken for dead. Takes minutes, so it is no part of `./lab test`:

    python -m tests.soak.calm_lines --minutes 10 --load download --load idle

Every line loses 2 % of its packets and delays the others by 5 to 65 ms. Exit code 1 if any was called down; suspicions
are counted and shown.
"""

import argparse
import re
import sys
import time
from contextlib import ExitStack
from typing import Final

from hagw.lab.gateway import node_directory
from hagw.lab.lab import Lab
from hagw.lab.traffic import Stream, Streams

SERVER: Final = "203.0.113.10"
# Slower than the presets', so that a busy machine is not what is measured.
LINES: Final = {"dsl": "8mbit", "lte": "12mbit", "wifi": "10mbit"}
CHANGED: Final = re.compile(r'event="uplink changed" uplink=(\S+) state=(\S+)(?: reason=(.*))?')
LOADS: Final = ("idle", "download", "upload", "chat")


def main() -> int:
    """Run every load for its time; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--load", choices=LOADS, action="append")
    parser.add_argument("--loss", default="2%")
    parser.add_argument("--jitter", default="30ms")
    chosen = parser.parse_args()
    lab = Lab("soak")
    downs = 0
    try:
        lab.up()
        for name, rate in LINES.items():
            lab.link(name, rate_down=rate, rate_up=rate, delay="35ms", loss=chosen.loss, jitter=chosen.jitter)
        for load in chosen.load or LOADS:
            downs += under(lab, load, 60.0 * chosen.minutes)
    finally:
        lab.down()
    return 1 if downs else 0


def under(lab: Lab, load: str, seconds: float) -> int:
    """Put one load on the lines; print what the daemon thought of them, and return how often one was called down."""
    log = node_directory(lab.directory, "cpe") / "daemon.log"
    already = len(log.read_text(encoding="utf-8"))
    begun = time.monotonic()
    carried = 0.0
    with ExitStack() as stack:
        streams = stack.enter_context(Streams(lab))
        while time.monotonic() - begun < seconds:
            carried += burst(lab, streams, load, min(20.0, seconds - (time.monotonic() - begun)))
    seen = CHANGED.findall(log.read_text(encoding="utf-8")[already:])
    suspects = [change for change in seen if change[1] == "suspect"]
    downs = [change for change in seen if change[1] == "down"]
    print(f"{load}: {seconds:.0f} s, {carried / 1e6:.1f} MB, {len(suspects)} suspicions, {len(downs)} times down")
    for name, state, reason in suspects + downs:
        print(f"  {name} {state}: {reason}")
    return len(downs)


def burst(lab: Lab, streams: Streams, load: str, seconds: float) -> float:
    """Load the lines for some seconds, with pauses, which are what raises doubts; return the bytes carried."""
    if load == "idle":
        time.sleep(seconds)
        return 0.0
    if load == "chat":
        for _ in range(max(1, round(seconds / 2))):
            lab.run("lan1", ["curl", "-s", "-o", "/dev/null", f"http://{SERVER}/1k.bin"], timeout=30)
            time.sleep(1.5)
        return 0.0
    start = streams.download if load == "download" else streams.upload
    stream: Stream = start("lan1", SERVER)
    try:
        time.sleep(max(0.0, seconds - 1.5))
        return stream.meter.total_bytes
    finally:
        stream.stop()
        time.sleep(1.5)


if __name__ == "__main__":
    sys.exit(main())
