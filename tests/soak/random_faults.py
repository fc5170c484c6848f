"""Half an hour of traffic and random faults: every byte must arrive as it was sent, and nothing may be left behind.

Takes long, so it is no part of `./lab test`:

    python -m tests.soak.random_faults --minutes 30 --seed 1

LAN hosts load files down and up without a break and compare their SHA-256, others ask small requests. Lines fail, lose,
slow down and come back, gateways fall silent, workers are replaced, rules vanish. No process is killed, so that its
memory can be compared: after each quarter of the time everything is let go, and what processes hold is written down.
A transfer may break off while a gateway is silent for long; one that ends has the right bytes. Exit code 1 if not, or
if something grew.
"""

import argparse
import contextlib
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

sys.path.append(str(Path(__file__).parents[1] / "integration"))
from ends import Ends, lasting_files
from plane_lab import INET, own_lab, until

from hagw.lab import services, traffic
from hagw.lab.bench.client import memory_kb
from hagw.lab.bench.faults import FAULTS
from hagw.lab.lab import Lab, LabError

FILE: Final = "10M.bin"
LINES: Final = ("dsl", "lte", "wifi")
TROUBLES: Final = (
    {"blackhole": "both"},
    {"blackhole": "up"},
    {"blackhole": "down"},
    {"carrier": "off"},
    {"loss": "5%"},
    {"loss": "30%"},
    {"jitter": "30ms"},
    {"delay": "200ms"},
    {"rate_down": "1mbit", "rate_up": "500kbit"},
    {"strip_mptcp": "join"},
)
# Those of the bench after which every process is the same one, but for workers that are replaced on purpose.
BENIGN: Final = (
    "hag-silent",
    "hag-slow",
    "table-held",
    "rules-gone",
    "nat-rebinds",
    "captive-portal",
    "address-taken",
    "mtu-black-hole",
    "mptcp-stripped",
    "joins-refused",
    "daemon-hangs",
)
GROWTH_KB: Final = 4_000  # a process, from the first quarter's end to the last's
REST_S: Final = 150.0  # until conntrack has forgotten what is over
QUARTERS: Final = 4


@dataclass(slots=True)
class Tally:
    """What became of transfers."""

    intact: int = 0
    broken_off: int = 0
    asked: int = 0
    unanswered: int = 0
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Held:
    """What a lab holds at rest."""

    memory_kb: dict[str, int]
    descriptors: dict[str, int]
    tracked: int

    def grown_since(self, before: "Held") -> list[str]:
        """Return what is more than it was, beyond what processes need to breathe."""
        found = [
            f"{name}: {size - before.memory_kb[name]} kB"
            for name, size in self.memory_kb.items()
            if size - before.memory_kb.get(name, size) > GROWTH_KB
        ]
        found += [
            f"{name}: {count} descriptors, had {before.descriptors[name]}"
            for name, count in self.descriptors.items()
            if count > before.descriptors.get(name, count)
        ]
        return found


def main() -> int:
    """Run it; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    tally, chance = Tally(), random.Random(chosen.seed)
    with own_lab("faults") as lab:
        ends = Ends(lab)
        ends.remember()
        seen = []
        for quarter in range(QUARTERS):
            with loaded(lab, tally):
                disturb(lab, chance, 60.0 * chosen.minutes / QUARTERS)
            left = rest(lab, ends)
            seen.append(held(lab, ends))
            print(f"quarter {quarter + 1}: {tally}\n  {seen[-1]}; left: {left or 'nothing'}", flush=True)
            tally.wrong += left
    grown = seen[-1].grown_since(seen[0])
    print(f"grown since the first quarter: {', '.join(grown) or 'nothing'}")
    return 1 if tally.wrong or grown or not tally.intact else 0


def disturb(lab: Lab, chance: random.Random, seconds: float) -> None:
    """Have faults come and go, at least one line without any at a time."""
    until_s = time.monotonic() + seconds
    while (left := until_s - time.monotonic()) > 0:
        lasts_s = min(chance.uniform(0.5, 8.0), left)
        with contextlib.ExitStack() as stack:
            if chance.random() < 0.3:
                stack.enter_context(FAULTS[chance.choice(BENIGN)].strike(lab))
            else:
                stack.enter_context(lab.links_restored())
                for line in chance.sample(LINES, chance.choice((1, 1, 2))):
                    lab.link(line, **chance.choice(TROUBLES))
            time.sleep(lasts_s)
        if chance.random() < 0.1:
            lab.run(chance.choice(("cpe", "hag")), ["hagw", "reload-workers"], capture_output=True, timeout=60)
        time.sleep(chance.uniform(0.0, 3.0))


@contextlib.contextmanager
def loaded(lab: Lab, tally: Tally) -> Iterator[None]:
    """Have LAN hosts load and ask meanwhile, each without a break."""
    over = threading.Event()
    wanted = traffic.sha256_of(services.web_root(lab.directory) / FILE)
    tasks: tuple[Callable[[], None], ...] = (
        lambda: download(lab, "lan1", wanted, tally),
        lambda: download(lab, "lan2", wanted, tally),
        lambda: upload(lab, wanted, tally),
        lambda: ask(lab, tally),
    )
    threads = [threading.Thread(target=repeat, args=(task, over), daemon=True) for task in tasks]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def repeat(task: Callable[[], None], over: threading.Event) -> None:
    """Do something again and again."""
    while not over.is_set():
        task()


def download(lab: Lab, node: str, wanted: str, tally: Tally) -> None:
    """Load a file down and compare it."""
    done = traffic.Download(lab, node, f"http://{INET[4]}/{FILE}").wait(120.0)
    if done.exit_code != 0:
        tally.broken_off += 1
    elif done.sha256 != wanted:
        tally.wrong.append(f"a download to {node} of {done.size_bytes} bytes is not the file")
    else:
        tally.intact += 1


def upload(lab: Lab, wanted: str, tally: Tally) -> None:
    """Load a file up and compare what arrived."""
    try:
        arrived = traffic.upload(lab, "lan1", services.web_root(lab.directory) / FILE, name="soak.bin")
    except LabError:
        tally.broken_off += 1
        return
    if arrived == wanted:
        tally.intact += 1
    else:
        tally.wrong.append("an upload arrived as something else")


def ask(lab: Lab, tally: Tally) -> None:
    """Ask for a small file."""
    argv = ["curl", "-s", "-o", "/dev/null", "--max-time", "10", f"http://{INET[4]}/1k.bin"]
    done = lab.run("lan2", argv)
    tally.asked += 1
    tally.unanswered += done.returncode != 0
    time.sleep(0.2)


def rest(lab: Lab, ends: Ends) -> list[str]:
    """Let everything end, and return what of flows, connections and descriptors does not."""
    lab.hagw_start("cpe")
    until(lambda: ends.at_rest("cpe") and ends.at_rest("hag"), 60.0)
    deadline = time.monotonic() + REST_S
    while (left := ends.left()) and time.monotonic() < deadline:
        time.sleep(1.0)
    while tracked(lab) > len(LINES) * 20 and time.monotonic() < deadline:
        time.sleep(1.0)
    return left


def held(lab: Lab, ends: Ends) -> Held:
    """Return what processes hold, those of a kind together: workers are replaced meanwhile."""
    kinds = {f"{node} {role}": lab.pids(node, role) for node in ("cpe", "hag") for role in ("daemon", "worker")}
    descriptors = {
        name: sum(len(lasting_files(pid)) for pid in pids) for name, pids in kinds.items() if "daemon" in name
    }
    return Held({name: memory_kb(pids) for name, pids in kinds.items()}, descriptors, tracked(lab))


def tracked(lab: Lab) -> int:
    """Return how many flows the CPE's kernel tracks."""
    shown = lab.run("cpe", ["conntrack", "-C"], capture_output=True, text=True, check=True).stdout
    return int(shown)


if __name__ == "__main__":
    sys.exit(main())
