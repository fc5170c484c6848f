"""The calls that make, mark and end one connection's subflows, with their address ids; and when to try again."""

import errno
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
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
# Linux forgets a REMOVE_ADDR that arrives while it still works on the one before.
TOLD_APART_S = 0.04
TOLD_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class _Used:
    """What an uplink's latest subflow was made with; `known` = our kernel may still have the pair."""

    local: str
    loc_id: int
    known: bool = True


@dataclass(frozen=True, slots=True)
class _Gone:
    """An address that the gateway is told is gone; `is_repeated` = it was told before, and may not have heard.

    Our kernel says so only of what it has a subflow of, or what was announced: `held` are the subflows of it that are
    still there, and are ended then.
    """

    loc_id: int
    local: str
    held: tuple[SubflowInfo, ...] = ()
    ifindex: int = 0
    is_repeated: bool = False


class SubflowCalls:
    """What is asked of the path manager for one connection. Slots name uplinks."""

    __slots__ = ("_control", "_remotes", "_told", "_untold", "_used")

    def __init__(self, control: SubflowControl, remotes: Mapping[bool, tuple[IPAddress, int]]) -> None:
        """`remotes` are the gateway's address and port by whether that is IPv6."""
        self._control = control
        self._remotes = remotes
        self._used: dict[int, _Used] = {}
        self._told: list[tuple[float, _Gone]] = []  # of what the gateway was told, and when
        self._untold: list[_Gone] = []

    def create(self, token: int, slot: int, local: str, ifindex: int, backup: bool) -> int:
        """Ask for a subflow; return the address id that it has. Raise OSError."""
        loc_id = self._next_id(slot, local, token)
        remote, port = self._remotes[":" in local]
        self._control.sf_create(token, ip_address(local), loc_id, remote, port, ifindex, backup)
        self._used[slot] = _Used(local, loc_id)
        # What was told of this id is not told again: it would be of the subflow that is new.
        self._told = [
            (at, replace(gone, is_repeated=gone.is_repeated or gone.loc_id == loc_id)) for at, gone in self._told
        ]
        self._untold = [gone for gone in self._untold if gone.loc_id != loc_id]
        return loc_id

    def end(
        self,
        token: int,
        slot: int,
        local: str,
        loc_id: int,
        infos: Collection[SubflowInfo],
        now: float | None,
        ifindex: int = 0,
    ) -> None:
        """Tell the gateway, and our own kernel, that a subflow is gone; `infos` are the kernel's of it.

        With the interface that it is bound to, our kernel also drops what it holds, which others send again. Where the
        gateway was told of another one just `now`, it is told by `tell`, a while later; without the time, at once.
        """
        self._used[slot] = _Used(local, loc_id, known=False)
        gone = _Gone(loc_id, local, tuple(infos), ifindex)
        if now is None:
            self._say(token, gone)
            return
        self._repeat(now)
        if now >= self._told_until():
            self._tell(token, gone, now)
        elif loc_id:
            self.break_off(infos, ifindex)
            self._untold.insert(0, replace(gone, held=()))
        else:
            self._untold.insert(0, gone)  # it cannot be announced

    def break_off(self, infos: Iterable[SubflowInfo], ifindex: int = 0) -> None:
        """Have nothing go out on a subflow any more: what is said of another one is said over those that live."""
        for info in infos:
            self._control.break_off(*_ends(info), ifindex)

    def tell(self, token: int, now: float) -> float | None:
        """Tell the gateway of the next subflow that is gone, if it is time; return when to come back, None = never."""
        if self._untold and now >= self._told_until():
            self._tell(token, self._untold.pop(0), now)
        return self._told_until() if self._untold else None

    def _repeat(self, now: float) -> None:
        """Have what was told a moment ago told again: it may have gone over a line that is lost now too."""
        recent = [gone for at, gone in self._told if now - at < TOLD_AGAIN_S and gone.loc_id and not gone.is_repeated]
        self._untold += [replace(gone, held=(), is_repeated=True) for gone in recent]
        self._told = self._told[-1:]

    def _told_until(self) -> float:
        return self._told[-1][0] + TOLD_APART_S if self._told else -math.inf

    def _tell(self, token: int, gone: _Gone, now: float) -> None:
        self._told.append((now, gone))
        if gone.held or not gone.loc_id:
            self._say(token, gone)
            return
        try:
            self._control.announce(token, gone.loc_id, ip_address(gone.local))
        except OSError:
            return  # it is in use again: the gateway has heard
        self._remove(token, gone.loc_id)

    def _say(self, token: int, gone: _Gone) -> None:
        self._remove(token, gone.loc_id)
        for info in gone.held:
            try:
                self._control.sf_destroy(token, *_ends(info), gone.ifindex)
            except OSError:
                pass  # it ended by itself meanwhile

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
