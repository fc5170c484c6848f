"""A Debian system in systemd-nspawn: its own PID 1, file system, processes and control groups, in a network namespace
that somebody else has wired."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from hagw.lab import netns

REBOOT: Final = 133  # how nspawn ends when the system in it wants to start again
_CONTROL_GROUPS: Final = Path("/sys/fs/cgroup")
_END_TIMEOUT_S: Final = 30.0


class Container:
    """One booted system, from its start until it is off. `root` is its file system."""

    def __init__(self, name: str, root: Path, namespace: str, console: Path) -> None:
        self.name = name
        self._groups = make_groups(name)
        # Each in groups of its own from the first moment: else the systemds end one another's services. `nsenter` and
        # not `ip netns exec`, which would hide /sys from nspawn.
        enter = 'for group in $GROUPS_OF_HOST; do echo $$ >"$group/cgroup.procs"; done; unset GROUPS_OF_HOST; exec "$@"'
        command = [
            *("sh", "-c", enter, "sh", *netns.inside(namespace)),
            *("systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", f"--machine={name}"),
            *(f"--directory={root}", f"--network-namespace-path={netns.DIRECTORY / namespace}"),
            *("--capability=CAP_NET_ADMIN,CAP_NET_RAW", "--console=pipe", "--link-journal=no"),
            *("--resolv-conf=off", "--timezone=off"),
        ]
        environment = {
            "PATH": os.environ["PATH"],
            "GROUPS_OF_HOST": " ".join(map(str, self._groups)),
            "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
            "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",  # as on a real host; systemd 256 refuses any other
        }
        with console.open("ab") as output:
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        self._leader: int | None = None

    def is_running(self) -> bool:
        """Say whether it is on."""
        return self._process.poll() is None

    def leader(self) -> int:
        """Return our number of its PID 1. Raise LookupError while it has none yet."""
        if self._leader is None:
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
            # nspawn forks twice before it is init: only then has the namespace a process 1 that calls itself systemd.
            found = [int(pid) for pid in children if _command(int(pid)).endswith("systemd")]
            if not found:
                raise LookupError(f"{self.name} has no PID 1 yet")
            self._leader = found[-1]
        return self._leader

    def inside(self, argv: Sequence[str]) -> list[str]:
        """Return the command that runs `argv` in there."""
        namespaces = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")
        return ["nsenter", f"--target={self.leader()}", *namespaces, "--root", "--wd", "--", *argv]

    def ended(self, timeout_s: float = _END_TIMEOUT_S) -> int:
        """Wait until it is off; return REBOOT if it wants to start again. Raise TimeoutExpired."""
        code = self._process.wait(timeout_s)
        remove_groups(self.name)
        return code

    def press_power_button(self) -> None:
        """Ask it to shut down."""
        with contextlib.suppress(ProcessLookupError, LookupError):
            os.kill(self.leader(), signal.SIGRTMIN + 4)

    def cut_power(self) -> None:
        """End everything in it at once."""
        with contextlib.suppress(ProcessLookupError, LookupError, FileNotFoundError):
            os.kill(self.leader(), signal.SIGKILL)
        self._process.kill()
        self.ended()


def make_groups(name: str) -> list[Path]:
    """Make a control group of that name in every hierarchy of this machine."""
    hierarchies = [_CONTROL_GROUPS, *(path for path in sorted(_CONTROL_GROUPS.iterdir()) if path.is_dir())]
    groups = []
    for hierarchy in hierarchies:
        if os.path.ismount(hierarchy) and (hierarchy / "cgroup.procs").exists():
            group = hierarchy / name
            group.mkdir(exist_ok=True)
            for inherited in ("cpuset.cpus", "cpuset.mems"):  # version 1 begins with none at all
                if (group / inherited).exists() and (hierarchy / "tasks").exists():
                    (group / inherited).write_text((hierarchy / inherited).read_text())
            groups.append(group)
    return groups


def remove_groups(name: str) -> None:
    """End whatever still is in the control groups of that name, and remove them."""
    for group in (*_CONTROL_GROUPS.glob(f"*/{name}"), *_CONTROL_GROUPS.glob(name)):
        deadline = time.monotonic() + _END_TIMEOUT_S
        while (left := _inhabitants(group)) and time.monotonic() < deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        for directory, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(directory)


def _inhabitants(group: Path) -> list[int]:
    found: list[int] = []
    for file in group.rglob("cgroup.procs"):
        with contextlib.suppress(OSError):
            found += map(int, file.read_text().split())
    if (group / "cgroup.procs").exists():
        found += map(int, (group / "cgroup.procs").read_text().split())
    return sorted(set(found) - {0})


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
    except OSError:
        return ""


def completed(container: Container, argv: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command in the system to its end."""
    return subprocess.run(container.inside(argv), text=True, capture_output=True, check=False, **options)
