"""Kernel parameters: read, write, and put back as they were."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from hagw.kernel.renames import index_of
from hagw.model.remembered import RememberedSysctl
from hagw.model.resources import Sysctl

ROOT: Final = Path("/proc/sys")
IPV4_FORWARD: Final = "net/ipv4/ip_forward"
IPV6_FORWARD: Final = "net/ipv6/conf/all/forwarding"


def read(name: str) -> str | None:
    """Return a parameter's value, None where this kernel does not have it or its interface is gone."""
    try:
        return (ROOT / name).read_text().strip()
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_known(remembered: Mapping[str, RememberedSysctl]) -> list[Sysctl]:
    """Return the parameters under our control with the values they have now."""
    found = ((name, read(name)) for name in remembered)
    return [Sysctl(name, value) for name, value in found if value is not None]


def remember(wanted: Sysctl, known: RememberedSysctl | None) -> RememberedSysctl | None:
    """Return what must be remembered before `wanted` is written, None where there is no such parameter."""
    if known is not None:
        return replace(known, written=tuple(dict.fromkeys((*known.written, wanted.value))))
    previous = read(wanted.name)
    if previous is None:
        return None
    along = {} if previous == wanted.value else _read_all(_changed_along(wanted.name))
    return RememberedSysctl(previous, (wanted.value,), along, index_of(wanted.name))


def write(wanted: Sysctl) -> None:
    """Write a parameter, unless it has the value: some writes do more than they say. Raises OSError."""
    if read(wanted.name) != wanted.value:
        (ROOT / wanted.name).write_text(wanted.value)


def restore(name: str, remembered: RememberedSysctl) -> str | None:
    """Put back the previous value; return why not where it was left alone. Raises OSError."""
    current = read(name)
    if current is None or current == remembered.previous:
        return None
    if current not in remembered.written:
        return f"{name} is {current}, set by somebody else: left alone (it was {remembered.previous})"
    present = _read_all(remembered.along)
    write(Sysctl(name, remembered.previous))
    for other, before in remembered.along.items():
        # One that does not have the value our write gave it was set by somebody since: that one is kept.
        ours = _given_along(name, other, current)
        value = before if present.get(other) == ours else present.get(other)
        if value is not None and read(other) is not None:
            write(Sysctl(other, value))
    return None


def _changed_along(name: str) -> list[str]:
    """Return the parameters that the kernel changes when this one changes (inet_forward_change and its IPv6 twin)."""
    if name == IPV4_FORWARD:
        return [*_each_interface("net/ipv4/conf", "forwarding"), "net/ipv4/conf/all/accept_redirects"]
    if name == IPV6_FORWARD:
        return [each for each in _each_interface("net/ipv6/conf", "forwarding") if each != name]
    return []


def _given_along(name: str, other: str, written: str) -> str:
    if name == IPV4_FORWARD and other.endswith("/accept_redirects"):
        return "0" if written == "1" else "1"
    return written


def _each_interface(directory: str, leaf: str) -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / directory).glob(f"*/{leaf}"))


def _read_all(names: Iterable[str]) -> dict[str, str]:
    found = {name: read(name) for name in names}
    return {name: value for name, value in found.items() if value is not None}
