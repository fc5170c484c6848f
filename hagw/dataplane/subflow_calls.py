"""The calls that make, mark and end one connection's subflows, with their address ids; and when to try again."""

import errno
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from hagw.dataplane.mptcp_socket import SubflowInfo
from hagw.dataplane.ports import SubflowControl
from hagw.model.ids import address_id, other_address_id
from hagw.model.intent import IPAddress

RETRY_UNACKED_S = 0.004
RETRY_UNACKED_SHARE = 1 / 8  # of the connection's age: quick at first, rare if it is never acknowledged
# The line's address or route is not there, or not any more: when it comes nobody says so, and it comes soon or not.
NOT_YET = frozenset((errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.ENODEV))
NOT_YET_S = 0.02
BACKOFF_MIN_S = 0.25
BACKOFF_MAX_S = 30.0


@dataclass(frozen=True, slots=True)
class _Used:
    """What an uplink's latest subflow was made with; `known` = our kernel may still have the pair."""

    local: str
    loc_id: int
    known: bool = True


class SubflowCalls:
    """What is asked of the path manager for one connection. Slots name uplinks."""

    __slots__ = ("_control", "_remotes", "_used")

    def __init__(self, control: SubflowControl, remotes: Mapping[bool, tuple[IPAddress, int]]) -> None:
        """`remotes` are the gateway's address and port by whether that is IPv6."""
        self._control = control
        self._remotes = remotes
        self._used: dict[int, _Used] = {}

    def create(self, token: int, slot: int, local: str, ifindex: int, backup: bool) -> int:
        """Ask for a subflow; return the address id that it has. Raise OSError."""
        loc_id = self._next_id(slot, local, token)
        remote, port = self._remotes[":" in local]
        self._control.sf_create(token, ip_address(local), loc_id, remote, port, ifindex, backup)
        self._used[slot] = _Used(local, loc_id)
        return loc_id

    def end(
        self, token: int, slot: int, local: str, loc_id: int, infos: Iterable[SubflowInfo], ifindex: int = 0
    ) -> None:
        """Tell the gateway, and our own kernel, that a subflow is gone; `infos` are the kernel's of it.

        With the interface that it is bound to, our kernel also drops what it holds, which others send again.
        """
        self._remove(token, loc_id)
        for info in infos:
            try:
                self._control.sf_destroy(token, *_ends(info), ifindex)
            except OSError:
                pass  # it ended by itself meanwhile
        self._used[slot] = _Used(local, loc_id, known=False)

    def mark(self, token: int, info: SubflowInfo, backup: bool) -> bool:
        """Have a subflow be used only while no other one is, or like the others; return False if it is gone."""
        try:
            self._control.set_backup(token, *_ends(info), backup)
        except OSError:
            return False
        return True

    def _next_id(self, slot: int, local: str, token: int) -> int:
        """Return the address id for the uplink's next subflow.

        After a withdrawal it is another one: REMOVE_ADDR travels over another line, and may arrive when the new
        subflow stands. A subflow that ended by itself leaves its pair of address and id in our kernel, which then
        takes both again or neither.
        """
        first, other = address_id(slot, ":" in local), other_address_id(slot, ":" in local)
        used = self._used.get(slot)
        if used is None or (used.known and used.local == local):
            return first if used is None else used.loc_id
        if used.known:
            self._remove(token, used.loc_id)
        return other if used.loc_id == first else first

    def _remove(self, token: int, loc_id: int) -> None:
        try:
            self._control.remove(token, loc_id)
        except OSError:
            pass  # the kernel dropped the address already


class Retries:
    """When to ask again for a subflow that could not be made, or did not last: ever later, by slot."""

    __slots__ = ("_due", "_wait_s")

    def __init__(self) -> None:
        self._due: dict[int, float] = {}
        self._wait_s: dict[int, float] = {}

    def due(self, slot: int) -> float:
        """Return when the next attempt is due."""
        return self._due.get(slot, 0.0)

    def refused(self, slot: int, why: OSError, age_s: float, now: float) -> float:
        """Take that our kernel refused one, on a connection of that age; return when to try again."""
        if why.errno == errno.ENOTCONN:  # nothing is acknowledged yet
            wait_s = max(RETRY_UNACKED_S, age_s * RETRY_UNACKED_SHARE)
        elif why.errno in NOT_YET:
            wait_s = self._next(slot, NOT_YET_S, 1.25)
        else:
            wait_s = self._next(slot)
        self._due[slot] = now + wait_s
        return now + wait_s

    def ended(self, slot: int, lived: bool, now: float) -> None:
        """Take that one ended: one that had lived is made anew at once, others ever later."""
        wait_s = self._next(slot)
        if not lived:
            self._due[slot] = now + wait_s

    def stands(self, slot: int) -> None:
        """Take that one is established."""
        self._wait_s.pop(slot, None)

    def forgive(self, slot: int) -> None:
        """Hold nothing of what was against the line's next subflow."""
        self._due.pop(slot, None)
        self._wait_s.pop(slot, None)

    def _next(self, slot: int, first_s: float = BACKOFF_MIN_S, growth: float = 2.0) -> float:
        wait_s = self._wait_s.get(slot, first_s)
        self._wait_s[slot] = min(wait_s * growth, BACKOFF_MAX_S)
        return wait_s


def _ends(info: SubflowInfo) -> tuple[tuple[IPAddress, int], tuple[IPAddress, int]]:
    """Return a subflow's local and remote address and port, as the kernel knows them."""
    prefix = "::ffff:" if info.mapped else ""
    (local, local_port), (remote, remote_port) = info.local, info.remote
    return (ip_address(prefix + local), local_port), (ip_address(prefix + remote), remote_port)
