"""The processes of a bench's traffic, as the bench starts and hears them; and the CPU time of the systems'."""

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hagw.lab import gateway, services
from hagw.lab.bench import systems
from hagw.lab.bench.systems import Ready
from hagw.lab.lab import Lab, LabError

PATIENCE_S: Final = 30.0
_PEER: Final = (sys.executable, "-P", "-m", "hagw.lab.bench.peer")
_SERVERS: Final[Mapping[int, tuple[str, ...]]] = {systems.PLAIN_PORT: (), systems.MPTCP_PORT: systems.MPTCPIZE}


def start_servers(lab: Lab) -> None:
    """Start the far ends of the traffic, those that this machine can run, and wait until they listen."""
    for port, prefix in _SERVERS.items():
        if prefix and systems.Mptcpize().why_not():
            continue
        lab.spawn(systems.SERVER, f"peer-{port}", [*prefix, *_PEER, "serve", str(port), str(reports(lab, port))])
        deadline = time.monotonic() + PATIENCE_S
        with lab.in_namespace(systems.SERVER):
            while services.socket_refuses(port):
                if time.monotonic() > deadline:
                    raise LabError(f"the server on port {port} does not listen; see its log")
                time.sleep(0.02)


def reports(lab: Lab, port: int) -> Path:
    """Return the Unix socket at which a server tells what an upload brought."""
    return gateway.node_directory(lab.directory, systems.SERVER) / f"peer-{port}.sock"


@contextlib.contextmanager
def client(lab: Lab, ready: Ready, verb: str, order: Mapping[str, Any]) -> Iterator["subprocess.Popen[str]"]:
    """Run a client where and as a system wants it; at the end it is let go."""
    env = {**lab.node_env(ready.client), "PYTHONPATH": str(Path(__file__).parents[3])}
    argv = [*ready.prefix, *_PEER, verb, json.dumps(order)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    started = lab.popen(ready.client, argv, env=env, text=True, **pipes)
    try:
        yield started
    finally:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            started.communicate(timeout=5.0)  # closes its input, which lets it go
        started.kill()
        started.wait()


def answer(started: "subprocess.Popen[str]", timeout_s: float) -> dict[str, Any]:
    """Return what a client prints when its time is over. Raise LabError if it ends or hangs instead."""
    watchdog = threading.Timer(timeout_s, started.kill)
    watchdog.start()
    assert started.stdout is not None
    assert started.stderr is not None
    try:
        text = started.stdout.readline()
        if not text:
            words = started.stderr.read().strip().splitlines()
            raise LabError(f"the client failed: {words[-1] if words else 'it took too long'}")
    finally:
        watchdog.cancel()
    said: dict[str, Any] = json.loads(text)
    return said


def cpu_s(pids: Sequence[int]) -> float:
    """Return the CPU time that processes have taken so far, by the scheduler's own clock, all their threads."""
    spent_ns = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):  # it ended
                spent_ns += int(task.read_text(encoding="ascii").split()[0])
    return spent_ns / 1e9


def memory_kb(pids: Sequence[int]) -> int:
    """Return the memory that processes have for themselves alone (private pages), in kB."""
    held = 0
    for pid in pids:
        with contextlib.suppress(OSError):  # it ended
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
            held += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_"))
    return held
