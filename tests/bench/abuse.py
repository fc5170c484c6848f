"""Measure what abuse and idle connections of some cost the new flows of others at a HAG, over loopback.

Run as root: `python tests/bench/abuse.py [quiet slow dead guess stolen syn idle cost …]`, in a network namespace.
`cost` is what a conversion costs the HAG. Else there are two gateways of two workers each, one of which is left alone.
A customer opens a flow each 4 ms at one or the other, in turns of a second; the one that has no turn is stopped, and
with it the attackers. So both sides see the same machine. Gateways, customer and server go before everything else that
runs on it (SCHED_RR), attackers included: those would have machines of their own. The time to the first byte of the
server: p99 of all turns and the median of the turns' p99. What the attacked workers hold, and what they counted.
"""

import contextlib
import itertools
import json
import os
import random
import resource
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

sys.path.append(str(Path(__file__).parents[2]))

from hagw.convert import cookie
from hagw.convert.message import HEADER_SIZE, encode, encode_header
from hagw.convert.tlv import Connect, Cookie
from hagw.dataplane.proven import PROVEN_FILE, ProvenAddresses
from hagw.lab import netns
from hagw.model.intent import FlowLimits
from hagw.model.snapshot import CustomerView, HagSnapshot, Snapshot, to_json

ALONE, HAG, SERVER, DEAD = "198.51.100.9", "198.51.100.10", "203.0.113.10", "203.0.113.99"
CLIENT, HOME = "10.200.0.1", "10.201.0.1"
PORT, ECHO = 5124, 7
KEY: Final = bytes(range(32))
CPES, CONNECTIONS = 2_000, 10
FLOWS = 1_000  # of `cost`, each client
TURNS, TURN_FLOWS, EVERY_S = 10, 200, 0.004
SETTLE_S = 1.0
WORKERS = 2


def snapshot(address: str) -> HagSnapshot:
    """Return two customers with names, and a crowd."""
    customers = tuple(CustomerView(name, KEY.hex()) for name in ("office", "home", *(f"cpe-{n}" for n in range(CPES))))
    limits = FlowLimits(flows_max=50_000)
    return HagSnapshot(
        1, (address,), PORT, PORT, customers, (), (), (address,), "off", (), limits, "cubic", False, bind_cookies=True
    )


class Worker:
    """A worker as a process of its own, driven by its control socket."""

    def __init__(self, directory: Path, index: int, role: str, wanted: Snapshot) -> None:
        environment = {**os.environ, "HAGW_RUNTIME_DIR": str(directory), "HAGW_STATE_DIR": str(directory)}
        command = [sys.executable, "-m", "hagw.worker", "--role", role, "--index", str(index)]
        log = (directory / f"log-{index}").open("w")
        self.process = subprocess.Popen(command, env=environment, cwd=Path(__file__).parents[2], stderr=log)
        path = directory / f"worker-{index}.sock"
        while not path.exists():
            time.sleep(0.05)
        time.sleep(0.2)
        self._control = socket.socket(socket.AF_UNIX)
        self._control.connect(str(path))
        self._lines = self._control.makefile("rb")
        self._ask({"op": "snapshot", "snapshot": to_json(wanted)})

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        self._control.sendall(json.dumps(request).encode() + b"\n")
        answer: dict[str, Any] = json.loads(self._lines.readline())
        return answer

    def stats(self) -> dict[str, Any]:
        """Return its counters."""
        found: dict[str, Any] = self._ask({"op": "ping", "id": 1})["stats"]
        return found

    def cpu_s(self) -> float:
        """Return the CPU time it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait()


def request(customer: str, server: str = SERVER, port: int = ECHO, key: bytes = KEY) -> bytes:
    """Return a whole Convert message."""
    return encode((Connect(port, ip_address(server)), Cookie(cookie.mint(key, customer, time.time()))))


class Gateway:
    """Two workers at an address, which can be stopped."""

    def __init__(self, directory: Path, address: str) -> None:
        directory.mkdir()
        self.directory, self.address = directory, address
        proven = ProvenAddresses(directory / PROVEN_FILE)
        proven.prove("office", CLIENT, time.monotonic())
        proven.prove("home", HOME, time.monotonic())
        self.workers = [Worker(directory, index, "hag", snapshot(address)) for index in range(WORKERS)]
        self.taken: list[list[float]] = []

    def pids(self) -> list[int]:
        """Return its processes."""
        return [worker.process.pid for worker in self.workers]

    def turn(self) -> None:
        """Measure new flows for a turn."""
        self.taken.append(latencies(self.address))

    def total(self, key: str) -> int:
        """Return a counter of all workers."""
        return sum(worker.stats()[key] for worker in self.workers)

    def figures(self) -> tuple[float, float, float]:
        """Return p50 and p99 of all turns, and the median of their p99."""
        every = sorted(each for turn in self.taken for each in turn)
        worst = statistics.median(turn[len(turn) * 99 // 100] for turn in self.taken)
        return every[len(every) // 2], every[len(every) * 99 // 100], worst

    def close(self) -> None:
        """End it."""
        for worker in self.workers:
            worker.close()


def open_flow(data: bytes, address: str = HAG) -> float:
    """Open a flow, have it echo a byte; return how long that took."""
    began = time.monotonic()
    with socket.create_connection((address, PORT), 10.0, source_address=(CLIENT, 0)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(data + b"x")
        received = b""
        while not received or len(received) <= received[1] * 4:
            more = sock.recv(4096)
            assert more, "ended"
            received += more
        took = time.monotonic() - began
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return took


def latencies(address: str) -> list[float]:
    """Return how long a turn's new flows took, in milliseconds, sorted."""
    data = request("office")
    taken = []
    for _ in range(TURN_FLOWS):
        began = time.monotonic()
        taken.append(1000 * open_flow(data, address))
        time.sleep(max(0.0, EVERY_S - (time.monotonic() - began)))
    return sorted(taken)


def cost() -> None:
    """Print conversions a second, three clients at once, and the workers' CPU time for each."""
    with tempfile.TemporaryDirectory() as directory, _children() as children:
        gateway = Gateway(Path(directory) / "cost", HAG)
        workers = gateway.workers
        children.append(child(serve_echo))
        time.sleep(0.3)
        data = request("office")
        for _ in range(100):
            open_flow(data)
        for number in range(5):
            spent, began = sum(worker.cpu_s() for worker in workers), time.monotonic()
            clients = [child(lambda: [open_flow(data) for _ in range(FLOWS)]) for _ in range(3)]
            for pid in clients:
                os.waitpid(pid, 0)
            took, spent = time.monotonic() - began, sum(worker.cpu_s() for worker in workers) - spent
            print(f"{number}: {3 * FLOWS / took:.0f}/s, {1e6 * spent / (3 * FLOWS):.0f} us of CPU each", flush=True)
        gateway.close()


def child(work: Callable[[], object]) -> int:
    """Have a process do something until it is killed."""
    pid = os.fork()
    if not pid:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with contextlib.suppress(OSError):
            work()
        os._exit(0)
    return pid


def attacker(work: Callable[[], object]) -> int:
    """Have a process do something with what time the others leave."""

    def behind() -> None:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        work()

    return child(behind)


def from_anywhere() -> socket.socket:
    """Return a connection to the HAG from one of many addresses."""
    address = f"10.66.{random.randrange(16)}.{random.randrange(256)}"
    return socket.create_connection((HAG, PORT), 5.0, source_address=(address, 0))


def serve_echo() -> None:
    """Answer each connection's first byte."""
    listener = socket.create_server((SERVER, ECHO), backlog=4096)
    while True:
        sock, _ = listener.accept()
        with sock, contextlib.suppress(OSError):
            sock.sendall(sock.recv(1))


def paced(rate: float, act: Callable[[], None]) -> None:
    """Do something so many times a second, for ever."""
    began = time.monotonic()
    for number in itertools.count():
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        with contextlib.suppress(OSError):
            act()


def slow() -> None:
    """Hold 1,000 connections that send a byte a second of a message."""
    said = request("home")
    open_now: list[tuple[socket.socket, int]] = []

    def act() -> None:
        if len(open_now) < 1_000:
            open_now.append((from_anywhere(), 0))
            return
        sock, at = open_now.pop(0)
        sock.send(said[at : at + 1])
        open_now.append((sock, at + 1))

    paced(1_000, act)


def dead() -> None:
    """Ask for a server that does not answer, 300 times a second."""
    data = request("home", DEAD, 80)
    kept: list[socket.socket] = []

    def act() -> None:
        kept.append(socket.create_connection((HAG, PORT), 5.0, source_address=(HOME, 0)))
        kept[-1].send(data)
        if len(kept) > 2_000:
            kept.pop(0).close()

    paced(300, act)


def guess() -> None:
    """Show cookies of another key, 300 times a second."""

    def act() -> None:
        with from_anywhere() as sock:
            sock.send(request("home", key=random.randbytes(32)))
            sock.recv(100)

    paced(300, act)


def stolen() -> None:
    """Show a customer's own cookie from where it never was, 300 times a second."""
    data = request("home")

    def act() -> None:
        with from_anywhere() as sock:
            sock.send(data)
            sock.recv(100)

    paced(300, act)


def syn() -> None:
    """Send SYNs of addresses that answer nothing, 5,000 a second."""
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)

    def act() -> None:
        for _ in range(50):
            raw.sendto(_syn_packet(f"192.0.2.{random.randrange(256)}", random.randrange(1024, 65536)), (HAG, 0))

    paced(100, act)


def _syn_packet(source: str, port: int) -> bytes:
    ends = socket.inet_aton(source) + socket.inet_aton(HAG)
    tcp = struct.pack("!HHIIBBHHH", port, PORT, random.getrandbits(32), 0, 5 << 4, 2, 65_535, 0, 0)
    words = struct.unpack("!16H", ends + struct.pack("!BBH", 0, 6, len(tcp)) + tcp)
    total = sum(words)
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~(total + (total >> 16)) & 0xFFFF
    tcp = tcp[:16] + struct.pack("!H", checksum) + tcp[18:]
    return struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0, 64, 6, 0) + ends + tcp


def idle(share: int) -> None:
    """Hold the warm connections of every second CPE, each from an address of its own."""
    front = encode_header(HEADER_SIZE + 32 + 20)
    held = []
    for number in range(share, CPES, 2):
        shown = front + Cookie(cookie.mint(KEY, f"cpe-{number}", time.time())).encode()
        for _ in range(CONNECTIONS):
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_MPTCP)
            sock.bind((f"10.{number >> 8}.{number & 255}.1", 0))
            sock.connect((HAG, PORT))
            sock.send(shown)
            held.append(sock)
    signal.pause()


COUNTED: Final = ("not_authorised", "slow", "crowded", "shut_out", "unproven", "strangers", "pending", "warm")
ATTACKS: Final[dict[str, tuple[Callable[[], None], ...]]] = {
    "quiet": (),
    "slow": (slow,),
    "dead": (dead,),
    "guess": (guess,),
    "stolen": (stolen,),
    "syn": (syn,),
    "idle": (partial(idle, 0), partial(idle, 1)),
}


def measure(name: str) -> None:
    """Print a scenario's line."""
    with tempfile.TemporaryDirectory() as directory, _children() as children:
        alone, attacked = (Gateway(Path(directory) / str(n), address) for n, address in enumerate((ALONE, HAG)))
        children.append(child(serve_echo))
        time.sleep(0.3)
        for gateway in (alone, attacked):
            latencies(gateway.address)
        before = sorted(each for _ in range(3) for each in latencies(attacked.address))
        print(f"{name:6} before anybody else came: p99 {before[len(before) * 99 // 100]:.2f} ms", flush=True)
        slab = _slab_mb()
        attackers = [attacker(attack) for attack in ATTACKS[name]]
        children += attackers
        deadline = time.monotonic() + 60
        while name == "idle" and attacked.total("warm") < CPES * CONNECTIONS and time.monotonic() < deadline:
            time.sleep(0.2)
        held_mb, kernel_mb = attacked.total("memory_kb") / 1024, _slab_mb() - slab
        for number in range(TURNS):
            first = (alone, attacked) if number % 2 else (attacked, alone)
            for gateway in first:
                sides = alone.pids(), [*attacked.pids(), *attackers]
                for pid in sides[gateway is alone]:
                    os.kill(pid, signal.SIGSTOP)
                for pid in sides[gateway is attacked]:
                    os.kill(pid, signal.SIGCONT)
                time.sleep(SETTLE_S)
                gateway.turn()
        for pid in (*alone.pids(), *attacked.pids()):
            os.kill(pid, signal.SIGCONT)
        _report(name, alone, attacked, max(held_mb, attacked.total("memory_kb") / 1024), kernel_mb, slab)
        for gateway in (alone, attacked):
            gateway.close()


def _report(name: str, alone: Gateway, attacked: Gateway, held_mb: float, kernel_mb: float, slab: float) -> None:
    counted = {key: attacked.total(key) for key in COUNTED} | {"syn_cookies": _syn_cookies()}
    before, after = alone.figures(), attacked.figures()
    ratios = sorted(b[-3] / a[-3] for a, b in zip(alone.taken, attacked.taken, strict=True))
    print(
        f"{name:6} p50 {before[0]:.2f} -> {after[0]:.2f} ms; p99 {before[1]:.2f} -> {after[1]:.2f} ms"
        f" (x{after[1] / before[1]:.2f}); turns' p99 {before[2]:.2f} -> {after[2]:.2f} ms (x{after[2] / before[2]:.2f},"
        f" pairs {ratios[0]:.2f}-{statistics.median(ratios):.2f}-{ratios[-1]:.2f});"
        f" memory {alone.total('memory_kb') / 1024:.0f} -> {held_mb:.0f} MB,"
        f" kernel +{max(kernel_mb, _slab_mb() - slab):.0f} MB; {counted}",
        flush=True,
    )
    lines = sum(len(log.read_text().splitlines()) for log in attacked.directory.glob("log-*"))
    print(f"       {lines} lines logged", flush=True)


@contextlib.contextmanager
def _children() -> Iterator[list[int]]:
    children: list[int] = []
    try:
        yield children
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _syn_cookies() -> int:
    """Return how often the kernel answered a SYN without remembering it."""
    names, values = [x.split() for x in Path("/proc/net/netstat").read_text().splitlines() if x.startswith("TcpExt:")]
    return int(values[names.index("SyncookiesSent")])


def _slab_mb() -> float:
    return int(Path("/proc/meminfo").read_text().split("Slab:")[1].split()[0]) / 1024


def main(names: list[str]) -> None:
    """Measure in a fresh namespace whose loopback has all addresses; packets to the dead server vanish."""
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    network = f"abuse-{os.getpid()}"
    netns.create(network)
    try:
        netns.ip_batch(
            network,
            ["link set lo up", *(f"address add {each}/32 dev lo" for each in (ALONE, HAG, SERVER)),
             "route add local 10.0.0.0/8 dev lo", "link add void type veth peer name sink",
             "link set void arp off up", "link set sink up",
             f"route add {DEAD}/32 dev void", "route add 192.0.2.0/24 dev void"],
        )  # fmt: skip
        with netns.entered(network):
            Path("/proc/sys/net/ipv4/conf/all/rp_filter").write_text("0")
            for name in names:
                cost() if name == "cost" else measure(name)
    finally:
        netns.remove(network)


if __name__ == "__main__":
    main(sys.argv[1:] or list(ATTACKS))
