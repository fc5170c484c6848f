"""The subflows of one connection: which uplinks it should use, which it does, and the calls between the two.

What the uplinks carried is `account`'s, whether their joins work is `joins`'s.

Level-triggered: `reconcile` compares what the snapshot allows with what is there and acts; nothing is done in
reaction to an event alone. On a lost uplink both ends must be told, or the untold one goes on sending into the
void: REMOVE_ADDR for the gateway, destruction for ourselves (facts: 200 ms of silence instead of 800).
"""

import math
import socket
from collections import deque
from typing import Any, Literal

from hagw.dataplane.account import Account, Carried
from hagw.dataplane.joins import Joins
from hagw.dataplane.mptcp_socket import SubflowInfo, SubflowReader, token_of
from hagw.dataplane.path import Path, PathEvent
from hagw.dataplane.ports import SubflowControl
from hagw.dataplane.subflow_calls import Retries, SubflowCalls
from hagw.dataplane.uplink_table import UplinkTable
from hagw.health.noharm import SubflowSample
from hagw.health.stripping import MptcpBook
from hagw.model.intent import IPAddress

JOIN_TIMEOUT_S = 3.0
REPLACED_LOOK_S = 0.01  # while a lost line's subflow waits for another one to stand
LIVED_S = 1.0  # a subflow that ended after this long is made anew at once: nothing says that it would end again
EVENTS_KEPT = 64


class Paths:
    """The subflows of one MPTCP connection. `allowed` are slots; `now` is monotonic everywhere."""

    __slots__ = (
        "_account",
        "_calls",
        "_joins",
        "_opened_at",
        "_reader",
        "_remotes",
        "_retries",
        "_sock",
        "_token",
        "_waiting_since",
        "allowed",
        "cold",
        "events",
        "paths",
        "resting",
        "standby",
        "withheld",
    )  # fmt: skip

    def __init__(
        self,
        sock: socket.socket,
        control: SubflowControl,
        reader: SubflowReader,
        remote: tuple[IPAddress, int],
        initial: tuple[int, str],
        allowed: frozenset[int],
        now: float,
        book: MptcpBook | None = None,
        other: tuple[IPAddress, int] | None = None,
    ) -> None:
        """Manage what `initial` (slot and local address) begins; `book` is told what joins meet.

        `remote` is where it goes, `other` the gateway in the other family, for lines that lack the first one's.
        """
        self._sock = sock
        self._joins = Joins(book or MptcpBook())
        self._account = Account(initial[0])
        self.resting = False  # carries nothing that is worth a subflow over a metered line
        self._reader = reader
        self._remotes = {end[0].version == 6: end for end in (remote, other) if end is not None}
        self._calls = SubflowCalls(control, self._remotes)
        self._retries = Retries()
        self._token: int | None = None
        self._opened_at = now
        self._waiting_since: float | None = None  # when a lost line's subflow began to wait for a replacement
        self.allowed = allowed
        self.withheld: dict[int, str] = {}
        self.standby: frozenset[int] = frozenset()  # kept in reserve by the steering mode
        self.cold = False  # what is in reserve has no subflow while another line can have one
        slot, local = initial
        self.paths: dict[int, Path] = {slot: Path(local, 0, now)}
        self.events = deque((PathEvent(now, "asked", slot, "the connection's first"),), maxlen=EVENTS_KEPT)

    @property
    def is_multipath(self) -> bool:
        """Whether the connection is MPTCP; known once it is established."""
        if self._token is None:
            self._token = token_of(self._sock)
        return self._token is not None

    @property
    def token(self) -> int | None:
        """Our kernel's number for the connection, None while it is not known or is none of Multipath TCP."""
        return self._token if self.is_multipath else None

    def shortest_s(self) -> float | None:
        """Return the shortest round trip that any subflow has seen, as last observed; None while one has not."""
        trips = [0 if path.info is None else path.info.min_rtt_us for path in self.paths.values()]
        return min(trips) / 1e6 if trips and all(trips) else None

    def is_news(self, local: tuple[str, int], has_ended: bool) -> bool:
        """Say whether a look is worth while when the kernel tells that the subflow from `local` stands or has ended.

        It is where a subflow we count on has ended, and where something waits for one that now stands.
        """
        for slot, path in self.paths.items():
            if path.local == local[0]:
                if has_ended:
                    return path.info is not None and path.info.local == local
                waits = self._waiting_since is not None or slot in self.withheld
                return path.info is None and waits
        return False

    def local(self, slot: int, uplinks: UplinkTable) -> str | None:
        """Return the address the uplink's subflow has or would have, None while it can have none.

        Its family need not be that of the other subflows. The one it has is kept, then the connection's is preferred.
        """
        path = self.paths.get(slot)
        families = list(self._remotes)
        if path is not None:
            families.sort(key=lambda ipv6: ipv6 != (":" in path.local))
        return next((found for ipv6 in families if (found := uplinks.address(slot, ipv6)) is not None), None)

    def reconcile(self, uplinks: UplinkTable, now: float) -> float | None:
        """Create and withdraw subflows; return when to come back for one that could not be made yet."""
        if not self.is_multipath:
            return None
        again: float | None = None
        is_replaced = not self._lost_lines(uplinks) or self._is_replaced(uplinks, now)
        self._waiting_since = None if is_replaced else self._waiting_since or now
        if is_replaced:
            self._break_off_lost(uplinks)
        for slot in self.allowed:
            local = self.local(slot, uplinks)
            path = self.paths.get(slot)
            if path is not None and self._is_lost(slot, path, uplinks):
                if local is None and not is_replaced:
                    again = min(again or math.inf, now + self._replaced_look_s(now))
                    continue
                self._withdraw(slot, path, now, is_moved=local is not None)
                self.events.append(PathEvent(now, "withdrawn", slot, uplinks.unwell(slot)))
                path = None
            if path is None and local is not None and not self._is_spared(slot, uplinks):
                due = self._retries.due(slot)
                if now >= due and self._joins.may_join(slot, now):
                    due = self._create(slot, local, uplinks.by_slot[slot].ifindex, now)
                if due > now:
                    again = due if again is None else min(again, due)
        self._leave_forbidden(now)
        due_to_tell = self._tell(now)
        return again if due_to_tell is None else min(again or math.inf, due_to_tell)

    def _break_off_lost(self, uplinks: UplinkTable) -> None:
        """Where several lines are lost at once, have nothing go out on any of them before the gateway is told.

        But for the initial subflow: of that it can be told only as long as it is there.
        """
        lost = [path for slot, path in self.paths.items() if slot in self.allowed and self.local(slot, uplinks) is None]
        if len(lost) > 1:
            by_local = {path.local: path for path in lost if path.loc_id}
            for info in self._reader.read(self._sock):
                if (path := by_local.get(info.local[0])) is not None:
                    path.info = info
                    self._calls.break_off((info,), path.ifindex)

    def _tell(self, now: float) -> float | None:
        return None if self._token is None else self._calls.tell(self._token, now)

    def _leave_forbidden(self, now: float) -> None:
        """Withdraw what is over lines that another rule keeps the connection off, once it has another one."""
        forbidden = self.paths.keys() - self.allowed
        if forbidden and self._stands(now, {slot: path for slot, path in self.paths.items() if slot in self.allowed}):
            for slot in forbidden:
                self._withdraw(slot, self.paths[slot], now)
                self.events.append(PathEvent(now, "withdrawn", slot, "the rule does not allow it any more"))

    def observe(self, now: float) -> tuple[SubflowInfo, ...]:
        """Read the kernel's subflows, forget those that are gone, follow the withheld set; return them."""
        infos = self._reader.read(self._sock)
        by_local = {info.local[0]: info for info in infos}
        for slot, path in list(self.paths.items()):
            info = by_local.get(path.local)
            if info is not None:
                if path.info is None:
                    self.events.append(PathEvent(now, "established", slot))
                if path.loc_id:
                    path.joined_at = path.joined_at or now
                    self._joins.stands(slot, info, now)
                path.info = info
                self._retries.stands(slot)
                self._follow_withheld(slot, path)
            elif path.info is not None or now - path.asked_at > JOIN_TIMEOUT_S:
                self.events.append(PathEvent(now, "not made" if path.info is None else "lost", slot))
                self._drop(slot, path, now)
        if infos:
            self._joins.lives_on(now)
        self._tell(now)
        return infos

    def _is_spared(self, slot: int, uplinks: UplinkTable) -> bool:
        """Say whether to do without the line for now, as it is metered and another one is there or will be."""
        if self.cold and slot in self.standby:
            return any(self.local(other, uplinks) is not None for other in self.allowed - self.standby)
        if not self.resting or not uplinks.is_metered(slot):
            return False
        return any(
            other != slot
            and self.local(other, uplinks) is not None
            and (other in self.paths or not uplinks.is_metered(other))
            for other in self.allowed
        )

    def settle(self, now: float) -> None:
        """Read the last figures of a connection whose both directions are over."""
        for info in self._reader.read_all(self._sock):
            for path in self.paths.values():
                known = path.info
                if path.local != info.local[0] or (known is not None and known.local != info.local):
                    continue
                # A subflow that was reset has lost its figures: the last good ones stand.
                if known is None or info.bytes_acked + info.bytes_received >= known.bytes_acked + known.bytes_received:
                    path.info = info

    def withhold(self, slots: dict[int, str], now: float, jammed: frozenset[int] = frozenset()) -> None:
        """Have the connection not use these uplinks, each with its reason, and use the others again.

        What the subflows over `jammed` ones hold is sent again over the others: they are withdrawn, to be made anew.
        """
        changed = slots.keys() ^ self.withheld.keys()
        for slot in changed:
            event: Literal["withheld", "released"] = "withheld" if slot in slots else "released"
            self.events.append(PathEvent(now, event, slot, slots.get(slot, "")))
        self.withheld = slots
        if any(path.info is not None for slot, path in self.paths.items() if slot not in slots):
            for slot in jammed & changed & self.paths.keys():
                self._withdraw(slot, self.paths[slot], now)
        for slot, path in self.paths.items():
            self._follow_withheld(slot, path)

    def stand_by(self, slots: frozenset[int]) -> None:
        """Have the connection use these uplinks only while no other one carries it."""
        if slots != self.standby:
            self.standby = slots
            for slot, path in self.paths.items():
                self._follow_withheld(slot, path)

    def tell(self, event: Literal["in reserve", "in use", "overflowing"], slot: int, reason: str, now: float) -> None:
        """Note in the timeline what the steering mode does with an uplink."""
        self.events.append(PathEvent(now, event, slot, reason))

    def not_payload(self, down: int = 0, up: int = 0) -> None:
        """Leave out of the account bytes of the Convert messages: they travel on the initial subflow."""
        self._account.not_payload(down, up)

    def joined(self) -> int:
        """Return how many subflows were established when last observed."""
        return sum(path.info is not None for path in self.paths.values())

    def oldest(self) -> int | None:
        """Return the slot of the subflow that was made first of those there are."""
        return next(iter(self.paths), None)

    def carried(self) -> dict[int, Carried]:
        """Return payload bytes by slot, subflows that ended included, as last observed."""
        return self._account.carried({slot: path.info for slot, path in self.paths.items() if path.info is not None})

    def samples(self, infos: tuple[SubflowInfo, ...], uplinks: UplinkTable) -> tuple[SubflowSample, ...]:
        """Return what the no-harm guard judges by: what each uplink's subflow carried since the last call."""
        by_local = {info.local[0]: info for info in infos}
        return tuple(
            self._account.sample(slot, uplinks.name(slot), by_local[path.local])
            for slot, path in self.paths.items()
            if path.local in by_local
        )

    def by_uplink(self, uplinks: UplinkTable) -> dict[str, dict[str, int]]:
        """Return payload bytes by uplink and direction, as the contract shows them."""
        return {uplinks.name(slot): {"down": c.down, "up": c.up} for slot, c in self.carried().items()}

    def documents(self, uplinks: UplinkTable) -> list[dict[str, Any]]:
        """Return the subflows as the contract shows them."""
        return [
            {
                "uplink": uplinks.name(slot),
                "state": self._state(slot, path),
                "backup": path.backup,
                "rtt_ms": None if path.info is None else round(path.info.srtt_us / 1000, 3),
            }
            for slot, path in sorted(self.paths.items())
        ]

    def _state(self, slot: int, path: Path) -> str:
        if path.info is None:
            return "joining"
        return "standby" if slot in self.standby else "withheld" if self._is_backup(slot) else "established"

    def _is_backup(self, slot: int) -> bool:
        """Say whether a subflow is to carry nothing while others do. Who keeps lines in reserve wants all others."""
        return slot in self.standby or (slot in self.withheld and not self.standby)

    def _is_lost(self, slot: int, path: Path, uplinks: UplinkTable) -> bool:
        """Say whether a subflow's line is not to be used, or has another address or interface now.

        One that lost its only line stays: nothing would be gained. An interface that was made anew may have the old
        address; the subflow is bound to the old interface all the same.
        """
        local = self.local(slot, uplinks)
        if local is None:
            return self._others_live(slot, uplinks)
        ifindex = uplinks.by_slot[slot].ifindex
        path.ifindex = path.ifindex or ifindex
        return (path.local, path.ifindex) != (local, ifindex)

    def _lost_lines(self, uplinks: UplinkTable) -> bool:
        """Say whether a subflow's line is not to be used any more."""
        return any(self.local(slot, uplinks) is None for slot in self.paths)

    def _is_replaced(self, uplinks: UplinkTable, now: float) -> bool:
        """Look whether a subflow over a line that works stands, so that others may go.

        The last one is never taken away before: a peer whose side of the connection is half closed accepts no more
        joins (RFC 8684 section 3.2 leaves it to the peer; Linux refuses), and the connection would hang for ever. A
        join counts once the peer has had a round trip to refuse it.
        """
        self.observe(now)
        able = {slot: path for slot, path in self.paths.items() if self.local(slot, uplinks) == path.local}
        return self._stands(now, able)

    def _stands(self, now: float, paths: dict[int, Path]) -> bool:
        """Say whether one of these subflows stands, as its peer knows too."""
        return any(path.info is not None and now - path.joined_at >= path.info.srtt_us / 1e6 for path in paths.values())

    def _replaced_look_s(self, now: float) -> float:
        """Return when to look again for a replacement: soon at first, rarely if none ever comes."""
        waited = now - (self._waiting_since or now)
        return max(REPLACED_LOOK_S, waited / 4)

    def _create(self, slot: int, local: str, ifindex: int, now: float) -> float:
        assert self._token is not None
        backup = self._is_backup(slot)
        try:
            loc_id = self._calls.create(self._token, slot, local, ifindex, backup)
        except OSError as why:
            return self._retries.refused(slot, why, now - self._opened_at, now)
        self.paths[slot] = Path(local, loc_id, now, backup, ifindex)
        self.events.append(PathEvent(now, "asked", slot))
        return now

    def _withdraw(self, slot: int, path: Path, now: float, *, is_moved: bool = False) -> None:
        """End an uplink's subflow, for both ends, and note its last figures."""
        assert self._token is not None
        gone = [info for info in self._reader.read(self._sock) if info.local[0] == path.local]
        # Where the next one is to have the same address, the old is forgotten first.
        told_at = None if is_moved else now
        self._calls.end(self._token, slot, path.local, path.loc_id, gone, told_at, path.ifindex)
        for info in gone:
            path.info = info
        self._forget(slot, path)
        self._let_join(slot)

    def _let_join(self, slot: int) -> None:
        """Hold nothing of what was against the line's next subflow."""
        self._joins.withdrawn(slot)
        self._retries.forgive(slot)

    def _drop(self, slot: int, path: Path, now: float) -> None:
        """Forget a subflow that is gone: one that had lived is made anew at once, others ever later."""
        if path.loc_id and path.info is None:
            self._joins.failed(slot, now)
        elif path.loc_id:
            self._joins.ended(slot, now)
        self._forget(slot, path)
        self._retries.ended(slot, path.info is not None and now - path.asked_at >= LIVED_S, now)

    def _forget(self, slot: int, path: Path) -> None:
        del self.paths[slot]
        self._account.close(slot, path.info)

    def _follow_withheld(self, slot: int, path: Path) -> None:
        wanted = self._is_backup(slot)
        if path.backup == wanted or path.info is None or self._token is None:
            return
        if self._calls.mark(self._token, path.info, wanted):  # else it is gone: the next look says so
            path.backup = wanted

    def _others_live(self, slot: int, uplinks: UplinkTable) -> bool:
        return any(self.local(other, uplinks) is not None for other in self.allowed if other != slot)
