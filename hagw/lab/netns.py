"""Network namespaces by name: enter one, run commands in one, make and remove them.

Only `setns` and `nsenter --net` are used, never `ip netns exec` or `ip -n`, which remount / and /sys.
"""

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from hagw.errors import HagwError, UnsupportedEnvironment

DIRECTORY: Final = Path("/run/netns")
_CLONE_NEWNET: Final = 0x40000000


class CommandFailed(HagwError):
    """A program the lab needs ended with an error; the message carries what it said."""


def run_tool(argv: Sequence[str], stdin: str = "") -> str:
    """Run a system tool to its end and return its output. Raise CommandFailed or UnsupportedEnvironment."""
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, timeout=60)
    except FileNotFoundError as missing:
        raise UnsupportedEnvironment(f"the program {argv[0]!r} is not installed") from missing
    if done.returncode != 0:
        raise CommandFailed(f"{' '.join(argv)} failed ({done.returncode}): {done.stderr.strip()}")
    return done.stdout


def ip_batch(netns: str, commands: Sequence[str]) -> None:
    """Run `ip` commands in `netns`, stopping at the first that fails."""
    if commands:
        run_tool([*inside(netns), "ip", "-batch", "-"], "\n".join(commands) + "\n")


def nft(netns: str, ruleset: str) -> None:
    """Load a ruleset text in `netns`, all or nothing."""
    run_tool([*inside(netns), "nft", "-f", "-"], ruleset)


def inside(netns: str) -> list[str]:
    """Return the argv prefix that runs a command in `netns`; it execs, so the pid is the command's own."""
    return ["nsenter", f"--net={DIRECTORY / netns}", "--"]


def enter(netns: str) -> None:
    """Move the calling thread into `netns` for good."""
    handle = os.open(DIRECTORY / netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _setns(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def entered(netns: str) -> Iterator[None]:
    """Hold the calling thread in `netns`; sockets opened meanwhile stay there afterwards."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(netns)
        try:
            yield
        finally:
            _setns(home)
    finally:
        os.close(home)


def exists(netns: str) -> bool:
    """Say whether a namespace of that name is there."""
    return (DIRECTORY / netns).exists()


def create(netns: str) -> None:
    """Make an empty namespace."""
    run_tool(["ip", "netns", "add", netns])


def remove(netns: str) -> None:
    """Remove a namespace, if it is there."""
    if exists(netns):
        run_tool(["ip", "netns", "del", netns])


def pids(netns: str) -> list[int]:
    """Return the processes whose main thread is in `netns`."""
    try:
        wanted = os.stat(DIRECTORY / netns)
    except FileNotFoundError:
        return []
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):  # it ended meanwhile
                seen = os.stat(f"/proc/{entry}/ns/net")
                if (seen.st_dev, seen.st_ino) == (wanted.st_dev, wanted.st_ino):
                    found.append(int(entry))
    return found


def _setns(handle: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(handle, _CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), "setns")
