"""The kernel's MPTCP counters of this process's network namespace."""

from pathlib import Path
from typing import Final

_PATH: Final = Path("/proc/thread-self/net/netstat")
_GROUP: Final = "MPTcpExt:"


def mptcp_counters() -> dict[str, int]:
    """Return the counters by the kernel's names, empty where the kernel has none. One read costs some 0.1 ms."""
    try:
        return parse(_PATH.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return {}


def parse(text: str) -> dict[str, int]:
    """Return the group's counters: a line of names, then a line of numbers. Raises ValueError."""
    lines = [line.split()[1:] for line in text.splitlines() if line.startswith(_GROUP)]
    if len(lines) != 2:
        return {}
    names, numbers = lines
    return {name: int(number) for name, number in zip(names, numbers, strict=True)}
