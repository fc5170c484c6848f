"""The daemon while the kernel announces change after change: what it costs, what it keeps, and that it still sees."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from plane_lab import own_lab, until

from hagw.lab.lab import Lab

pytestmark = pytest.mark.netns

STEP = (
    "address add 10.99.0.1/32 dev lo",
    "address del 10.99.0.1/32 dev lo",
    "rule add pref 40000 lookup 40000",
    "rule del pref 40000",
)
STEP_EVENTS = 6  # an address brings a route of table "local" along
LINKS = ("link add passing0 link dsl0 type macvlan", "link del passing0")
TICK = os.sysconf("SC_CLK_TCK")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with own_lab("events") as made:
        yield made


class Daemon:
    """The CPE's daemon as the kernel accounts for it."""

    def __init__(self, lab: Lab) -> None:
        [self.pid] = lab.pids("cpe", "daemon")

    def memory_kb(self) -> int:
        """Return its resident memory without pages of files."""
        with open(f"/proc/{self.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def cpu_s(self) -> float:
        """Return the processor time it has used so far."""
        with open(f"/proc/{self.pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK


@contextmanager
def changing(lab: Lab) -> Iterator["subprocess.Popen[bytes]"]:
    """An ip(8) in the CPE that does what is written to it, line by line."""
    process = lab.popen("cpe", ["ip", "-batch", "-"], stdin=subprocess.PIPE)
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0


def announce(lab: Lab, events: int, every_s: float) -> None:
    """Have the kernel announce that many changes, in little groups."""
    with changing(lab) as process:
        assert process.stdin is not None
        for number in range(events // STEP_EVENTS):
            lines = (*STEP, *LINKS) if number % 20 == 0 else STEP
            process.stdin.write("".join(f"{line}\n" for line in lines).encode())
            process.stdin.flush()
            time.sleep(every_s)


@pytest.mark.beside
@pytest.mark.parametrize("events", [2_000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_memory_and_descriptors_do_not_grow_with_events(lab: Lab, events: int) -> None:
    daemon = Daemon(lab)
    announce(lab, 1_000, 0.015)
    time.sleep(0.5)
    descriptors, cpu_s, began = daemon.descriptors(), daemon.cpu_s(), time.monotonic()
    memory_kb = [daemon.memory_kb()]
    for _ in range((events - 1_000) // 1_000):
        announce(lab, 1_000, 0.015)
        memory_kb.append(daemon.memory_kb())
    share = (daemon.cpu_s() - cpu_s) / (time.monotonic() - began)
    print(f"memory after each 1000 events: {memory_kb} kB, {share:.1%} of a processor meanwhile")
    assert memory_kb[-1] - memory_kb[0] < 2048
    until(lambda: daemon.descriptors() == descriptors, 10.0)  # one of a look that is under way is none too many


@pytest.mark.slow
def test_a_storm_costs_a_bounded_share_and_does_not_hide_what_matters(lab: Lab) -> None:
    daemon = Daemon(lab)
    with changing(lab) as process:
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        storm = "".join(f"{line}\n" for line in STEP).encode() * 20  # whole or not at all: smaller than PIPE_BUF
        took_ms: list[float] = []

        def blow(seconds: float) -> None:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                try:
                    os.write(process.stdin.fileno(), storm)  # type: ignore[union-attr]
                except BlockingIOError:
                    time.sleep(0.001)

        blow(1.0)
        cpu_s, began = daemon.cpu_s(), time.monotonic()
        for _ in range(4):
            lab.run("cpe", ["ip", "rule", "del", "priority", "5103"], check=True)
            at = time.monotonic()
            while "5103:" not in lab.run("cpe", ["ip", "rule"], capture_output=True, text=True, check=True).stdout:
                blow(0.01)
            took_ms.append(1000 * (time.monotonic() - at))
            blow(0.3)
        share = (daemon.cpu_s() - cpu_s) / (time.monotonic() - began)
        os.set_blocking(process.stdin.fileno(), True)
    print(f"in a storm: {share:.1%} of a processor, a deleted rule back after {max(took_ms):.0f} ms at most")
    assert max(took_ms) < 1000
    assert share < 0.3


def test_an_idle_daemon_costs_next_to_nothing(lab: Lab) -> None:
    daemon = Daemon(lab)
    time.sleep(3.0)
    cpu_s, began = daemon.cpu_s(), time.monotonic()
    time.sleep(4.0)
    share = (daemon.cpu_s() - cpu_s) / (time.monotonic() - began)
    print(f"idle: {share:.2%} of a processor")
    assert share < 0.05


@pytest.mark.slow
def test_own_writes_do_not_keep_it_busy(lab: Lab) -> None:
    """Each repair is an event too; it must end."""
    daemon = Daemon(lab)
    for _ in range(5):
        lab.run("cpe", ["ip", "rule", "flush"], check=True)
        until(lambda: "5181:" in lab.run("cpe", ["ip", "rule"], capture_output=True, text=True).stdout, 10.0)
    shares: list[float] = []

    def has_ended() -> bool:
        """Look at two seconds; lines that lost their rules for a moment are looked into for some."""
        cpu_s, began = daemon.cpu_s(), time.monotonic()
        time.sleep(2.0)
        shares.append((daemon.cpu_s() - cpu_s) / (time.monotonic() - began))
        return shares[-1] < 0.05

    time.sleep(0.7)
    until(has_ended, 10.0)
    print("after five repairs, of a processor: " + ", ".join(f"{share:.2%}" for share in shares))
