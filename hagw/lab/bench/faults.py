"""What can happen to a bonded home while it is used: each fault is made, lasts for a while, and ends.

A fault is a context manager over a lab whose both ends work, under `supervised`: what a service manager does on a real
machine, to start a daemon again that ended, is done here too; nothing else is helped.
"""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hagw.lab import gateway, netns
from hagw.lab.bench.systems import GATEWAY, HAG, HAGW_PORT
from hagw.lab.lab import Lab, LabError
from hagw.lab.processes import end

_SPARE_DESCRIPTORS: Final = 2
_DISK: Final = "2m"
_BLOCK: Final = 64 * 1024
_IMPOSTOR_PORT: Final = 5199
_RESTART_S: Final = 0.5  # as hagw.service has it
_POLL_S: Final = 0.1

# What nft is told, by fault: on which node, and the chains of a table of its own.
FILTERS: Final[Mapping[str, tuple[str, str]]] = {
    "hag-silent": (
        HAG,
        "chain i { type filter hook input priority -300; policy drop; }\n"
        "chain o { type filter hook output priority -300; policy drop; }\n",
    ),
    "hag-garbage": (
        HAG,
        "chain r { type nat hook prerouting priority -110; meta l4proto { tcp, udp }"
        f" th dport {HAGW_PORT} redirect to :{_IMPOSTOR_PORT}; }}\n",
    ),
    "mtu-black-hole": (
        "isp-lte",
        "chain f { type filter hook forward priority -10; ip length > 1300 drop; }\n",
    ),
    "mptcp-stripped": (
        "isp-lte",
        "chain f { type filter hook forward priority -10; tcp flags syn reset tcp option mptcp; }\n",
    ),
    "joins-refused": (
        "isp-lte",
        "chain f { type filter hook forward priority -10; tcp option mptcp subtype 1 reject with tcp reset; }\n",
    ),
    "nat-rebinds": (
        "isp-lte",
        "chain p { type nat hook postrouting priority 90; oifname core0 meta nfproto ipv4"
        " meta l4proto { tcp, udp } masquerade to :40000-60000; }\n",
    ),
    "captive-portal": (
        "isp-wifi",
        'chain r { type nat hook prerouting priority -110; iifname "cpe0" tcp dport 80'
        f" redirect to :{_IMPOSTOR_PORT}; }}\n"
        'chain f { type filter hook forward priority -10; iifname "cpe0" drop; oifname "cpe0" drop; }\n',
    ),
}

Strike = Callable[[Lab], contextlib.AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault as a person reads it, and what makes it."""

    title: str
    strike: Strike


@contextlib.contextmanager
def supervised(lab: Lab, *nodes: str) -> Iterator[None]:
    """Start daemons of nodes again that end, as their service manager would."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(_POLL_S):
            for node in nodes:
                if not lab.processes.running(node, "daemon") and not over.wait(_RESTART_S):
                    gateway.start_daemon(lab, node)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


# -- processes


def _killed(node: str, *roles: str, most: int | None = None) -> Strike:
    @contextlib.contextmanager
    def strike(lab: Lab) -> Iterator[None]:
        for role in roles:
            _signal(lab.pids(node, role)[:most], signal.SIGKILL)
        yield

    return strike


def _stopped(node: str, *roles: str, most: int | None = None) -> Strike:
    @contextlib.contextmanager
    def strike(lab: Lab) -> Iterator[None]:
        pids = [pid for role in roles for pid in lab.pids(node, role)[:most]]
        _signal(pids, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal(pids, signal.SIGCONT)

    return strike


@contextlib.contextmanager
def _restarted(lab: Lab) -> Iterator[None]:
    """End the CPE's daemon in order; its supervisor starts it again."""
    end(lab.processes.running(GATEWAY, "daemon"))
    yield


def _renewed(node: str) -> Strike:
    @contextlib.contextmanager
    def strike(lab: Lab) -> Iterator[None]:
        done = lab.run(node, ["hagw", "reload-workers"], capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise LabError(f"`hagw reload-workers` failed on {node}: {done.stderr.strip()}")
        yield

    return strike


def _out_of_descriptors(role: str) -> Strike:
    @contextlib.contextmanager
    def strike(lab: Lab) -> Iterator[None]:
        before: dict[int, tuple[int, int]] = {}
        for pid in lab.pids(GATEWAY, role):
            highest = max(int(name) for name in os.listdir(f"/proc/{pid}/fd"))
            before[pid] = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 1 + _SPARE_DESCRIPTORS, before[pid][1]))
        try:
            yield
        finally:
            for pid, limits in before.items():
                with contextlib.suppress(ProcessLookupError):
                    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)

    return strike


@contextlib.contextmanager
def _slow_gateway(lab: Lab) -> Iterator[None]:
    """Let the HAG's workers run for a tenth of the time only."""
    pids = lab.pids(HAG, "worker")
    with alternating(lambda: _signal(pids, signal.SIGSTOP), lambda: _signal(pids, signal.SIGCONT), 0.45, 0.05):
        yield


@contextlib.contextmanager
def _garbage(lab: Lab) -> Iterator[None]:
    """Have something else in the HAG's place answer nonsense, connections and echoes alike."""
    impostor = lab.spawn(HAG, "garbage", [sys.executable, "-P", "-m", "hagw.lab.bench.garbage", str(_IMPOSTOR_PORT)])
    try:
        with _filtered("hag-garbage")(lab):
            yield
    finally:
        _run(lab, HAG, "conntrack", "-F")  # else what began meanwhile would go on to the impostor
        end([impostor])


# -- the kernel's answers, and the disk


def _calls(injected: str) -> Strike:
    @contextlib.contextmanager
    def strike(lab: Lab) -> Iterator[None]:
        """Have what the CPE's daemon sends to the kernel (and to the network) meet this."""
        if shutil.which("strace") is None:
            raise LabError("the Debian package strace is not installed")
        calls = "sendto,sendmsg"
        argv = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", "-e", f"inject={calls}:{injected}"]
        with contextlib.ExitStack() as stack:
            for pid in lab.pids(GATEWAY, "daemon"):
                tracer = subprocess.Popen([*argv, "-p", str(pid)], stderr=subprocess.DEVNULL)
                stack.callback(tracer.wait)
                stack.callback(tracer.terminate)  # first: strace lets go of what it holds
            yield

    return strike


@contextlib.contextmanager
def _table_held(lab: Lab) -> Iterator[None]:
    """Have another program take hagw's nft table away and own one of that name: the kernel refuses all changes."""
    nft = lab.popen(GATEWAY, ["nft", "-i"], stdin=subprocess.PIPE, text=True)
    assert nft.stdin is not None
    try:
        nft.stdin.write("delete table inet hagw; add table inet hagw { flags owner; }\n")
        nft.stdin.flush()
        yield
    finally:
        nft.stdin.close()
        nft.wait()


@contextlib.contextmanager
def _rules_gone(lab: Lab) -> Iterator[None]:
    """Remove every rule of routing and of the firewall that is not the system's."""
    _run(lab, GATEWAY, "nft", "flush", "ruleset")
    _run(lab, GATEWAY, "ip", "rule", "flush")
    _run(lab, GATEWAY, "ip", "rule", "add", "lookup", "main", "priority", "32766")
    yield


@contextlib.contextmanager
def _disk_full(lab: Lab) -> Iterator[None]:
    """Put the CPE's state on a disk without room, and have the daemon start with it."""
    with _state_moved(lab, "-t", "tmpfs", "-o", f"size={_DISK}", "tmpfs") as state:
        with (state / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(bytes(_BLOCK))
        end(lab.processes.running(GATEWAY, "daemon"))
        yield
        (state / "filler").unlink()
        time.sleep(1.0)  # with room again, before the disk of before is back


@contextlib.contextmanager
def _disk_read_only(lab: Lab) -> Iterator[None]:
    """Have the CPE's state on a file system that has become read-only, and the daemon start with it."""
    state = gateway.node_directory(lab.directory, GATEWAY) / "state"
    netns.run_tool(["mount", "--bind", str(state), str(state)])
    try:
        netns.run_tool(["mount", "-o", "remount,bind,ro", str(state)])
        end(lab.processes.running(GATEWAY, "daemon"))
        yield
    finally:
        netns.run_tool(["umount", "--lazy", str(state)])


@contextlib.contextmanager
def _state_moved(lab: Lab, *options: str) -> Iterator[Path]:
    """Mount something over the CPE's state directory, with the state in it, and take it away again."""
    state = gateway.node_directory(lab.directory, GATEWAY) / "state"
    held = lab.directory / "state-held"
    shutil.copytree(state, held, symlinks=True)
    netns.run_tool(["mount", *options, str(state)])
    try:
        shutil.copytree(held, state, symlinks=True, dirs_exist_ok=True)
        yield state
    finally:
        netns.run_tool(["umount", "--lazy", str(state)])
        shutil.rmtree(held)


# -- the network


def _filtered(name: str) -> Strike:
    node, chains = FILTERS[name]

    @contextlib.contextmanager
    def strike(lab: Lab) -> Iterator[None]:
        netns.nft(lab.namespace(node), f"table inet fault {{\n{chains}}}")
        try:
            yield
        finally:
            netns.nft(lab.namespace(node), "delete table inet fault")

    return strike


@contextlib.contextmanager
def _rebound(lab: Lab) -> Iterator[None]:
    """Have LTE's provider forget its translations and give every flow another port."""
    with _filtered("nat-rebinds")(lab):
        _run(lab, "isp-lte", "conntrack", "-F")
        yield


@contextlib.contextmanager
def _portal(lab: Lab) -> Iterator[None]:
    """Have WiFi's provider want a log-in: HTTP is answered by its own server, nothing else goes anywhere."""
    server = lab.spawn("isp-wifi", "portal", [sys.executable, "-m", "http.server", str(_IMPOSTOR_PORT)])
    try:
        with _filtered("captive-portal")(lab):
            yield
    finally:
        end([server])


@contextlib.contextmanager
def _taken_address(lab: Lab) -> Iterator[None]:
    """Have another host of the WiFi network take the CPE's address there."""
    address = next(i for i in lab.topology.nodes[GATEWAY].interfaces if i.name == "wifi0").addresses[0].ip
    _run(lab, "isp-wifi", "ip", "address", "add", f"{address}/32", "dev", "cpe0")
    try:
        yield
    finally:
        _run(lab, "isp-wifi", "ip", "address", "del", f"{address}/32", "dev", "cpe0")


@contextlib.contextmanager
def _flapping(lab: Lab) -> Iterator[None]:
    """Have WiFi lose its carrier and get it back once a second."""
    with alternating(lambda: lab.link("wifi", carrier="off"), lambda: lab.link("wifi", carrier="on"), 0.5, 0.5):
        yield


# -- what the above share


@contextlib.contextmanager
def alternating(on: Callable[[], object], off: Callable[[], object], on_s: float, off_s: float) -> Iterator[None]:
    """Do `on` and `off` in turn, in a thread; `off` is the last."""
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            on()
            over.wait(on_s)
            off()
            over.wait(off_s)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _run(lab: Lab, node: str, *argv: str) -> None:
    done = lab.run(node, argv, capture_output=True, text=True, timeout=10)
    if done.returncode != 0:
        raise LabError(f"{' '.join(argv)} failed on {node}: {done.stderr.strip()}")


@contextlib.contextmanager
def _nothing(_: Lab) -> Iterator[None]:
    yield


NO_FAULT: Final = "none"
FAULTS: Final[Mapping[str, Fault]] = {
    NO_FAULT: Fault("nothing, to compare with; lines may change", _nothing),
    "worker-killed": Fault("one of the CPE's workers is killed", _killed(GATEWAY, "worker", most=1)),
    "workers-killed": Fault("all of the CPE's workers are killed", _killed(GATEWAY, "worker")),
    "worker-hangs": Fault("one of the CPE's workers stops", _stopped(GATEWAY, "worker", most=1)),
    "workers-hang": Fault("all of the CPE's workers stop", _stopped(GATEWAY, "worker")),
    "daemon-killed": Fault("the CPE's daemon is killed", _killed(GATEWAY, "daemon")),
    "daemon-hangs": Fault("the CPE's daemon stops for a while", _stopped(GATEWAY, "daemon")),
    "all-killed": Fault("the CPE's daemon and workers are killed", _killed(GATEWAY, "daemon", "worker")),
    "daemon-restarted": Fault("the CPE's daemon is restarted", _restarted),
    "workers-renewed": Fault("the CPE's workers are replaced (`hagw reload-workers`)", _renewed(GATEWAY)),
    "hag-workers-renewed": Fault("the HAG's workers are replaced (`hagw reload-workers`)", _renewed(HAG)),
    "hag-worker-killed": Fault("one of the HAG's workers is killed", _killed(HAG, "worker", most=1)),
    "hag-killed": Fault("the HAG's daemon and workers are killed", _killed(HAG, "daemon", "worker")),
    "hag-hangs": Fault("the HAG's daemon and workers stop for a while", _stopped(HAG, "daemon", "worker")),
    "hag-silent": Fault("nothing comes from the HAG any more", _filtered("hag-silent")),
    "hag-garbage": Fault("something else in the HAG's place answers nonsense", _garbage),
    "hag-slow": Fault("the HAG's workers run 50 ms of each 500", _slow_gateway),
    "calls-fail": Fault("the daemon's netlink calls (and echoes) fail: ENOBUFS", _calls("error=ENOBUFS")),
    "calls-slow": Fault("the daemon's netlink calls (and echoes) take 300 ms each", _calls("delay_enter=300ms")),
    "killed-at-call": Fault("the daemon is killed in a netlink call", _calls("signal=SIGKILL:when=3")),
    "table-held": Fault("another program owns hagw's nft table: the kernel refuses changes", _table_held),
    "rules-gone": Fault("all rules of firewall and routing are removed", _rules_gone),
    "no-descriptors-worker": Fault("the CPE's workers get no more descriptors", _out_of_descriptors("worker")),
    "no-descriptors-daemon": Fault("the CPE's daemon gets no more descriptors", _out_of_descriptors("daemon")),
    "disk-full": Fault("the disk is full, and the daemon restarted with that", _disk_full),
    "disk-read-only": Fault("the file system is read-only, and the daemon restarted with that", _disk_read_only),
    "mtu-black-hole": Fault("LTE swallows packets above 1,300 bytes", _filtered("mtu-black-hole")),
    "mptcp-stripped": Fault("LTE removes Multipath TCP's options", _filtered("mptcp-stripped")),
    "joins-refused": Fault("LTE resets joins", _filtered("joins-refused")),
    "nat-rebinds": Fault("LTE's provider forgets its translations, all get other ports", _rebound),
    "captive-portal": Fault("WiFi wants a log-in", _portal),
    "address-taken": Fault("another host takes the CPE's address on WiFi", _taken_address),
    "flapping": Fault("WiFi comes and goes once a second", _flapping),
}
