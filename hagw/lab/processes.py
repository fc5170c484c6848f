"""Processes the lab starts: recorded before they are needed, found again by pid and start time, ended for good."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

_TERM_GRACE_S: Final = 3.0
_POLL_S: Final = 0.01


@dataclass(frozen=True, slots=True)
class Process:
    """A process as recorded: the start time (clock ticks since boot) tells it from a later one with its pid."""

    node: str
    role: str
    pid: int
    started: int


class ProcessTable:
    """The record of a lab's processes, one JSON line each, appended as they start."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def start(self, node: str, role: str, argv: Sequence[str], *, log: Path, env: Mapping[str, str]) -> Process:
        """Start a process in a session of its own, its output appended to `log`, and record it."""
        appended = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        streams = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), appended, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        pid = os.posix_spawnp(argv[0], list(argv), env, file_actions=streams, setsid=True)
        process = Process(node, role, pid, started_ticks(pid) or 0)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(process)) + "\n")
        return process

    def running(self, node: str | None = None, role: str | None = None) -> list[Process]:
        """Return the recorded processes that still run, oldest first."""
        try:
            lines = self._file.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        recorded = [Process(**json.loads(line)) for line in lines if line.endswith("}")]
        return [p for p in recorded if node in (None, p.node) and role in (None, p.role) and is_running(p)]


def started_ticks(pid: int) -> int | None:
    """Return when a process started (field 22 of /proc/PID/stat), None if it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def is_running(process: Process) -> bool:
    """Say whether this very process still runs."""
    return started_ticks(process.pid) == process.started


def end(processes: Iterable[Process]) -> None:
    """Ask processes to end and wait for it; those that do not within three seconds are killed."""
    left = [process for process in processes if is_running(process)]
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal_number)
                os.kill(process.pid, signal.SIGCONT)  # a stopped one could not end
        deadline = time.monotonic() + _TERM_GRACE_S
        while left and time.monotonic() < deadline:
            left = [process for process in left if _still_running(process)]
            if left:
                time.sleep(_POLL_S)


def _still_running(process: Process) -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)  # ours if this very program started it
    return is_running(process)
