"""Proof that a run's bytes took the way it claims: counters of subflows as `ss -tni` shows them, and of the lines."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from hagw.lab.lab import Lab, LabError

SHARE_MIN: Final = 0.95  # of what arrived; the rest may have been counted between two looks
_NUMBER: Final = re.compile(r"\b(bytes_acked|bytes_received):(\d+)")
_MPTCP: Final = "tcp-ulp-mptcp"

Direction = Literal["down", "up"]


@dataclass(frozen=True, slots=True)
class Proof:
    """What the subflows to a system's far end had carried, by local address, and whether that is what arrived."""

    mptcp_bytes: int
    arrived_bytes: int
    by_address: Mapping[str, int]

    @property
    def holds(self) -> bool:
        """Say whether the bytes that arrived are those that subflows carried."""
        return self.arrived_bytes > 0 and self.mptcp_bytes >= SHARE_MIN * self.arrived_bytes

    def __str__(self) -> str:
        share = self.mptcp_bytes / self.arrived_bytes if self.arrived_bytes else 0.0
        ways = ", ".join(f"{address} {size / 1e6:.1f} MB" for address, size in sorted(self.by_address.items()))
        return f"{100 * share:.0f} % of what arrived was counted on MPTCP subflows ({ways or 'none'})"


def look(lab: Lab, node: str, port: int, direction: Direction) -> dict[str, int]:
    """Return the bytes that subflows from `node` to a system's far end, told by its port, have carried so far."""
    argv = ["ss", "-tniH", "dport", "=", f":{port}"]
    done = lab.run(node, argv, capture_output=True, text=True, timeout=10)
    if done.returncode != 0:
        raise LabError(f"`ss` failed: {done.stderr.strip()}")
    return subflow_bytes(done.stdout, direction)


def subflow_bytes(shown: str, direction: Direction) -> dict[str, int]:
    """Return the bytes by local ADDRESS:PORT of those connections in `ss -tniH`'s output that are MPTCP subflows."""
    wanted = "bytes_received" if direction == "down" else "bytes_acked"
    carried: dict[str, int] = {}
    local = ""
    for line in shown.splitlines():
        if not line[:1].isspace():
            local = line.split()[3]
        elif _MPTCP in line:
            numbers = {name: int(digits) for name, digits in _NUMBER.findall(line)}
            carried[local] = numbers.get(wanted, 0)
    return carried


def proof(before: Mapping[str, int], after: Mapping[str, int], arrived_bytes: int) -> Proof:
    """Compare what subflows carried between two looks with what arrived; warm connections had carried some before."""
    by_address: dict[str, int] = {}
    for local, size in after.items():
        grown = size - before.get(local, 0)
        if grown > 0:
            address = local.rpartition(":")[0].partition("%")[0].strip("[]").removeprefix("::ffff:")
            by_address[address] = by_address.get(address, 0) + grown
    return Proof(sum(by_address.values()), arrived_bytes, by_address)
