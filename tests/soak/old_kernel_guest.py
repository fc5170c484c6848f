"""Run in the guest of `old_kernel`: what a lab's CPE and HAG do there with downloads, uploads and a line that dies."""

import json
import sys
import time

from hagw.lab.lab import Lab
from hagw.lab.traffic import Streams

SERVER = "203.0.113.10"
WAIT_S = 300.0
WARM_UP_S = 4.0
OUTAGE_S = 3.0


def main() -> int:
    """Print what was seen, "converted" if all of it was; return the exit code."""
    lab = Lab("oldkernel")
    try:
        lab.up(hagw=False)
        for node in ("hag", "cpe"):
            lab.hagw_start(node, WAIT_S)
        until_bonded(lab)
        with Streams(lab) as streams:
            for direction, begin in (("down", streams.download), ("up", streams.upload)):
                stream = begin("lan1", SERVER)
                time.sleep(WARM_UP_S)
                died_s = stream.elapsed_s()
                lab.link("dsl", blackhole="both")
                time.sleep(OUTAGE_S)
                gap_s = stream.meter.longest_gap_s(died_s, stream.elapsed_s())
                lab.link("dsl", blackhole="none")
                time.sleep(OUTAGE_S)
                print(f"{direction}load: gap {1000 * gap_s:.0f} ms, {'alive' if stream.is_alive() else 'dead'}")
                stream.stop()
                until_bonded(lab)
        told = lab.run("cpe", ["hagw", "flows", "--json", "--recent", "60"], capture_output=True, text=True, check=True)
        flows = json.loads(told.stdout)["flows"]
        for flow in flows:
            print(flow["path"], flow["by_uplink"])
        is_well = len(flows) == 2 and all(flow["path"] == "converted" and len(flow["by_uplink"]) == 3 for flow in flows)
        print("all of it converted" if is_well else "NOT all of it")
        return 0 if is_well else 1
    finally:
        lab.down()


def until_bonded(lab: Lab) -> None:
    """Wait until the CPE says that it bonds, and print what it says."""
    deadline = time.monotonic() + WAIT_S
    while status(lab)["state"] != "bonded" and time.monotonic() < deadline:
        time.sleep(1.0)
    print(status(lab)["state"], status(lab)["reason"])


def status(lab: Lab) -> dict[str, str]:
    """Return the CPE's status, or that there is none yet."""
    done = lab.run("cpe", ["hagw", "status", "--json"], capture_output=True, text=True)
    found: dict[str, str] = json.loads(done.stdout) if done.returncode == 0 else {"state": "", "reason": ""}
    return found


if __name__ == "__main__":
    sys.exit(main())
