"""Kernel events: an interface's link, its neighbours and the loss of our nft table at once, the rest as "look again".

Level-triggered: nothing is read out of an event but the state of a link, whose loss cannot wait, whether a neighbour
answers, which nothing else tells, and whether our nft table was touched. When the kernel had to drop events (ENOBUFS)
everything is to be looked at again, which is what any other event says too.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from hagw.model.ids import NFT_TABLE
from hagw.model.intent import IPAddress
from hagw.probe.bursts import Bursts, datagrams, subscribed

QUIET_S: Final = 0.020  # a burst of events is one change
LONGEST_S: Final = 0.320  # ... but an endless one is told now and then
TABLE_QUIET_S: Final = 0.005
TABLE_LONGEST_S: Final = 0.040

_LINK_GROUPS: Final = (1,)
# RTNLGRP_: IPV4_IFADDR, _ROUTE, _RULE, IPV6_IFADDR, _ROUTE, _RULE, IPV4_NETCONF, IPV6_NETCONF (forwarding, rp_filter)
_OTHER_GROUPS: Final = (5, 7, 8, 9, 11, 19, 24, 25)
_NEIGHBOUR_GROUPS: Final = (3,)
_TABLE_GROUPS: Final = (7,)  # NFNLGRP_NFTABLES
_NETLINK_NETFILTER: Final = 12
_LINK_BUFFER_BYTES: Final = 1 << 20
_OTHER_BUFFER_BYTES: Final = 1 << 17  # small: what is too much in one pause is not worth reading
_NEIGHBOUR_BUFFER_BYTES: Final = 1 << 16  # what a scan of the LAN makes more of is not worth reading
_TABLE_BUFFER_BYTES: Final = 1 << 20
_BATCH: Final = 64
_DRAIN: Final = 1024

_HEADER: Final = struct.Struct("=IHHII")
_IFINFO: Final = struct.Struct("=BxHiII")
_NDMSG: Final = struct.Struct("=BxxxiHBB")
_ATTRIBUTE: Final = struct.Struct("=HH")
_RTM_NEWLINK: Final = 16
_RTM_DELLINK: Final = 17
_RTM_NEWNEIGH: Final = 28
_NDA_DST: Final = 1
_NUD_KNOWN: Final = 0x02 | 0x04 | 0x08 | 0x80  # reachable, stale, delay, permanent: it has said where it is
_NUD_FAILED: Final = 0x20
_IFF_UP: Final = 0x1
_IFF_LOWER_UP: Final = 0x10000

_NFGENMSG_BYTES: Final = 4
_NFNL_SUBSYS_NFTABLES: Final = 10
_NFT_MSG_SETELEM: Final = (12, 14)  # new, deleted
_NFPROTO_INET: Final = 1
_NFTA_TABLE: Final = 1  # in every kind of message the table's name is the attribute of this number
_NFTA_SET_ELEM_LIST_SET: Final = 2
_RUNNING_SETS: Final = (b"refused", b"named_")  # how their names begin: what fills them is no change of the table


@dataclass(frozen=True, slots=True)
class LinkSeen:
    """State of an interface as just announced; `present` False = it is gone."""

    ifindex: int
    present: bool
    admin_up: bool
    carrier: bool


@dataclass(frozen=True, slots=True)
class NeighbourSeen:
    """A neighbour as just announced: it has said where it is, or did not answer when it was asked."""

    ifindex: int
    address: IPAddress
    answers: bool


class Monitor:
    """Listens in the network namespace of the thread that makes it.

    `on_link`, `on_neighbour` and `on_table` (our nft table may be gone or changed) are called as soon as an event is
    read, `on_change` once a burst has ended. Of a burst of neighbours only the beginning is read. Our own writes are
    events like any others: looking again and finding nothing ends that.
    """

    def __init__(
        self,
        on_link: Callable[[LinkSeen], None],
        on_change: Callable[[], None],
        on_table: Callable[[], None],
        on_neighbour: Callable[[NeighbourSeen], None] = lambda _: None,
    ) -> None:
        self._on_link = on_link
        self._on_neighbour = on_neighbour
        self._on_change = on_change
        self._on_table = on_table
        self._is_due = False
        self._links = subscribed(socket.NETLINK_ROUTE, _LINK_GROUPS, _LINK_BUFFER_BYTES)
        self._others = subscribed(socket.NETLINK_ROUTE, _OTHER_GROUPS, _OTHER_BUFFER_BYTES)
        self._neighbours = subscribed(socket.NETLINK_ROUTE, _NEIGHBOUR_GROUPS, _NEIGHBOUR_BUFFER_BYTES)
        self._tables = subscribed(_NETLINK_NETFILTER, _TABLE_GROUPS, _TABLE_BUFFER_BYTES)
        self._changes = Bursts(self._others, self._read_others, first_s=QUIET_S, longest_s=LONGEST_S, lead=True)
        self._meetings = Bursts(
            self._neighbours, self._read_neighbours, first_s=QUIET_S, longest_s=LONGEST_S, lead=False
        )
        self._touches = Bursts(
            self._tables, self._read_tables, first_s=TABLE_QUIET_S, longest_s=TABLE_LONGEST_S, lead=False
        )

    async def run(self) -> None:
        """Listen until cancelled."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._links, self._read_links)
        self._changes.start()
        self._meetings.start()
        self._touches.start()
        try:
            await loop.create_future()
        finally:
            loop.remove_reader(self._links)
            self._links.close()
            self._changes.stop()
            self._meetings.stop()
            self._touches.stop()

    def _read_links(self) -> None:
        for messages in datagrams(self._links, _BATCH):
            for seen in links_of(messages or b""):
                self._on_link(seen)
            self._is_due = True
        if self._is_due:
            self._changes.begin()

    def _read_others(self) -> bool:
        found = sum(1 for _ in datagrams(self._others, _DRAIN)) > 0  # nothing is read out of them
        if found or self._is_due:
            self._is_due = False
            self._on_change()
        return found

    def _read_neighbours(self) -> bool:
        count = 0
        for count, messages in enumerate(datagrams(self._neighbours, _DRAIN), start=1):
            for seen in neighbours_of(messages or b"") if count <= _BATCH else ():
                self._on_neighbour(seen)
        return count > 0

    def _read_tables(self) -> bool:
        count, is_touched = 0, False
        for count, messages in enumerate(datagrams(self._tables, _DRAIN), start=1):
            # Too many to read them all: look at the table instead.
            is_touched = is_touched or messages is None or count > _BATCH or is_about_our_table(messages)
        if is_touched:
            self._on_table()
        return count > 0


def links_of(messages: bytes) -> list[LinkSeen]:
    """Return what the rtnetlink messages in one datagram say about links; other and damaged ones are passed over."""
    found: list[LinkSeen] = []
    offset = 0
    while offset + _HEADER.size <= len(messages):
        size, kind = _HEADER.unpack_from(messages, offset)[:2]
        if size < _HEADER.size or offset + size > len(messages):
            break
        if kind in (_RTM_NEWLINK, _RTM_DELLINK) and size >= _HEADER.size + _IFINFO.size:
            family, _, ifindex, flags, _ = _IFINFO.unpack_from(messages, offset + _HEADER.size)
            if family == socket.AF_UNSPEC:  # AF_BRIDGE ones are about bridge ports
                present = kind == _RTM_NEWLINK
                up = present and bool(flags & _IFF_UP)
                found.append(LinkSeen(ifindex, present, up, up and bool(flags & _IFF_LOWER_UP)))
        offset += (size + 3) & ~3
    return found


def neighbours_of(messages: bytes) -> list[NeighbourSeen]:
    """Return what the rtnetlink messages in one datagram say about neighbours, those being asked for left out."""
    found: list[NeighbourSeen] = []
    offset = 0
    while offset + _HEADER.size <= len(messages):
        size, kind = _HEADER.unpack_from(messages, offset)[:2]
        if size < _HEADER.size or offset + size > len(messages):
            break
        if kind == _RTM_NEWNEIGH and size >= _HEADER.size + _NDMSG.size:
            _, ifindex, state, _, _ = _NDMSG.unpack_from(messages, offset + _HEADER.size)
            address = _first(messages, offset + _HEADER.size + _NDMSG.size, offset + size, _NDA_DST)
            if state & (_NUD_KNOWN | _NUD_FAILED) and len(address) in (4, 16):
                found.append(NeighbourSeen(ifindex, ip_address(address), bool(state & _NUD_KNOWN)))
        offset += (size + 3) & ~3
    return found


def is_about_our_table(messages: bytes) -> bool:
    """Say whether the nf_tables messages in one datagram tell of our table, its running sets' elements left aside."""
    offset = 0
    while offset + _HEADER.size <= len(messages):
        size, kind = _HEADER.unpack_from(messages, offset)[:2]
        if size < _HEADER.size or offset + size > len(messages):
            break
        begin = offset + _HEADER.size
        if kind >> 8 == _NFNL_SUBSYS_NFTABLES and size > _HEADER.size and messages[begin] == _NFPROTO_INET:
            names = _names(messages, begin + _NFGENMSG_BYTES, offset + size)
            changed = names.get(_NFTA_SET_ELEM_LIST_SET, b"")
            is_running = kind & 0xFF in _NFT_MSG_SETELEM and changed.startswith(_RUNNING_SETS)
            if names.get(_NFTA_TABLE) == NFT_TABLE.encode() and not is_running:
                return True
        offset += (size + 3) & ~3
    return False


def _first(messages: bytes, offset: int, end: int, wanted: int) -> bytes:
    """Return the value of the first attribute of a kind, empty where there is none."""
    while offset + _ATTRIBUTE.size <= end:
        size, kind = _ATTRIBUTE.unpack_from(messages, offset)
        if size < _ATTRIBUTE.size or offset + size > end:
            break
        if kind == wanted:
            return messages[offset + _ATTRIBUTE.size : offset + size]
        offset += (size + 3) & ~3
    return b""


def _names(messages: bytes, offset: int, end: int) -> dict[int, bytes]:
    """Return the first two attributes as text: whose table, and which of its sets."""
    found: dict[int, bytes] = {}
    while offset + _ATTRIBUTE.size <= end and len(found) < 2:
        size, kind = _ATTRIBUTE.unpack_from(messages, offset)
        if size < _ATTRIBUTE.size or offset + size > end:
            break
        found[kind] = messages[offset + _ATTRIBUTE.size : offset + size].rstrip(b"\0")
        offset += (size + 3) & ~3
    return found
