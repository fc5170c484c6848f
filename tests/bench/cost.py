"""Measure what conversions and bytes cost both ends: a CPE's and a HAG's two workers each, in a network namespace.

Run as root: `python tests/bench/cost.py`. LAN hosts are in a namespace of their own behind a veth pair; the two lines
are loopbacks, so the kernel's part is the cheapest there is. Processor time is the workers' own, user and kernel.
"""

import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

sys.path.append(str(Path(__file__).parent))
from abuse import ALONE, HAG, KEY, SERVER, WORKERS, Worker, child, snapshot

from hagw.lab import netns
from hagw.model.ids import PORT_CONVERT, PORT_TPROXY
from hagw.model.intent import FlowLimits, PoolIntent
from hagw.model.snapshot import CpeSnapshot, GatewayView, UplinkView

ECHO, BULK = 7, 9
LINES: Final = ("192.168.1.2", "192.168.2.2")
CLIENTS, FLOWS, RUNS = 3, 1_000, 5
BULK_BYTES: Final = 400_000_000
CHUNK: Final = 1 << 20
RULES: Final = f"""
table ip bench {{ chain in {{ type filter hook prerouting priority mangle;
    iifname "lan0" tcp flags & (syn | ack) == syn tproxy to 127.0.0.1:{PORT_TPROXY} meta mark set 1 accept; }}; }}
"""


def cpe_snapshot() -> CpeSnapshot:
    """Return a CPE of two lines, whose gateway is the bench's."""
    return CpeSnapshot(
        generation=1,
        uplinks=tuple(UplinkView(n, f"line{n}", "lo", 1, address, None, "up") for n, address in enumerate(LINES, 1)),
        gateways=(GatewayView("hag", (HAG,), PORT_CONVERT, "office", KEY.hex(), "up"),),
        rules=(),
        pool=PoolIntent(size_min=16),
        limits=FlowLimits(),
        congestion_control="cubic",
        workers=WORKERS,
    )


def serve(port: int, act: Callable[[socket.socket], object]) -> None:
    """Do something with each connection to a port, one after the other."""
    listener = socket.create_server((SERVER, port), backlog=4096)
    while True:
        sock, _ = listener.accept()
        with sock, suppress(OSError):
            act(sock)


def echo(sock: socket.socket) -> None:
    """Answer a byte."""
    sock.sendall(sock.recv(1))


def bulk(sock: socket.socket) -> None:
    """Send much, after a byte."""
    sock.recv(1)
    block = bytes(CHUNK)
    for _ in range(BULK_BYTES // CHUNK):
        sock.sendall(block)


def flows() -> None:
    """Open flows one after the other as a LAN host, each for a byte."""
    for _ in range(FLOWS):
        with socket.create_connection((SERVER, ECHO), 10.0) as sock:
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"


def download() -> None:
    """Receive what `bulk` sends, as a LAN host."""
    with socket.create_connection((SERVER, BULK), 10.0) as sock:
        sock.sendall(b"x")
        while sock.recv(CHUNK):
            pass


class Ends:
    """The workers of both ends."""

    def __init__(self, directory: Path) -> None:
        self.hag = [_worker(directory / "hag", index, "hag") for index in range(WORKERS)]
        self.cpe = [_worker(directory / "cpe", index, "cpe") for index in range(WORKERS)]

    def converted(self) -> int:
        """Return how many flows the HAG has had."""
        return sum(worker.stats()["flows_total"] for worker in self.hag)

    def spent(self) -> tuple[float, float]:
        """Return the processor seconds of CPE and HAG."""
        return sum(w.cpu_s() for w in self.cpe), sum(w.cpu_s() for w in self.hag)

    def close(self) -> None:
        """End them."""
        for worker in (*self.cpe, *self.hag):
            worker.close()


def _worker(directory: Path, index: int, role: str) -> Worker:
    directory.mkdir(exist_ok=True)
    return Worker(directory, index, role=role, wanted=cpe_snapshot() if role == "cpe" else snapshot(HAG))


def measured(ends: Ends, lan: str, work: Callable[[], None], clients: int) -> tuple[float, float, float]:
    """Have LAN hosts do something at the same time; return seconds, and processor seconds of CPE and HAG."""

    def inside() -> None:
        netns.enter(lan)
        work()

    before, began = ends.spent(), time.monotonic()
    for pid in [child(inside) for _ in range(clients)]:
        _, status = os.waitpid(pid, 0)
        assert status == 0
    took, after = time.monotonic() - began, ends.spent()
    return took, after[0] - before[0], after[1] - before[1]


def report(label: str, unit: str, values: list[float]) -> None:
    """Print median and range."""
    print(f"{label}: {statistics.median(values):.0f} {unit} ({min(values):.0f}-{max(values):.0f})", flush=True)


def measure(ends: Ends, lan: str) -> None:
    """Print the figures of some runs of both kinds."""
    measured(ends, lan, flows, 1)
    before = ends.converted()
    runs = [measured(ends, lan, flows, CLIENTS) for _ in range(RUNS)]
    count = CLIENTS * FLOWS
    converted = ends.converted() - before
    print(f"{converted} of {RUNS * count} flows were converted", flush=True)
    report("conversions", "a second", [count / took for took, _, _ in runs])
    report("a conversion costs the CPE", "us", [1e6 * cpe / count for _, cpe, _ in runs])
    report("a conversion costs the HAG", "us", [1e6 * hag / count for _, _, hag in runs])
    moves = [measured(ends, lan, download, 1) for _ in range(RUNS)]
    report("one download", "Mbit/s", [8e-6 * BULK_BYTES / took for took, _, _ in moves])
    report("a core of the CPE carries", "Mbit/s", [8e-6 * BULK_BYTES / cpe for _, cpe, _ in moves])
    report("a core of the HAG carries", "Mbit/s", [8e-6 * BULK_BYTES / hag for _, _, hag in moves])


def main() -> None:
    """Make the network, start both ends, measure."""
    gateway, lan = f"cost-{os.getpid()}", f"costlan-{os.getpid()}"
    servers: list[int] = []
    netns.create(gateway)
    netns.create(lan)
    try:
        addresses = [f"address add {each}/32 dev lo" for each in (ALONE, HAG, SERVER, *LINES)]
        netns.ip_batch(gateway, ["link set lo up", *addresses, f"link add lan0 type veth peer name eth0 netns {lan}"])
        netns.ip_batch(gateway, ["link set lan0 up", "address add 10.99.0.1/24 dev lan0"])
        netns.ip_batch(gateway, ["rule add fwmark 1 lookup 100", "route add local default dev lo table 100"])
        netns.ip_batch(
            lan, ["link set eth0 up", "address add 10.99.0.2/24 dev eth0", "route add default via 10.99.0.1"]
        )
        netns.nft(gateway, RULES)
        with netns.entered(gateway), tempfile.TemporaryDirectory() as directory:
            Path("/proc/sys/net/mptcp/pm_type").write_text("1")
            servers += [child(lambda: serve(ECHO, echo)), child(lambda: serve(BULK, bulk))]
            ends = Ends(Path(directory))
            time.sleep(1.0)
            measure(ends, lan)
            ends.close()
    finally:
        for pid in servers:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        netns.remove(gateway)
        netns.remove(lan)


if __name__ == "__main__":
    main()
