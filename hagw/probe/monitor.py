"""Kernel events about links, addresses, routes and rules: an interface's link at once, the rest as "look again".

Level-triggered: nothing is read out of an event but the state of a link, whose loss cannot wait. When the kernel had
to drop events (ENOBUFS) everything is to be looked at again, which is what any other event says too.
"""

import asyncio
import errno
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

QUIET_S: Final = 0.020  # a burst of events is one change
LONGEST_S: Final = 0.100  # ... but an endless one is told now and then

_GROUPS: Final = (1, 5, 7, 8, 9, 11, 19)  # RTNLGRP_: LINK, IPV4_IFADDR, _ROUTE, _RULE, IPV6_IFADDR, _ROUTE, _RULE
_SOL_NETLINK: Final = 270
_NETLINK_ADD_MEMBERSHIP: Final = 1
_RECEIVE_BYTES: Final = 65536
_BUFFER_BYTES: Final = 1 << 20
_BATCH: Final = 64

_HEADER: Final = struct.Struct("=IHHII")
_IFINFO: Final = struct.Struct("=BxHiII")
_RTM_NEWLINK: Final = 16
_RTM_DELLINK: Final = 17
_IFF_UP: Final = 0x1
_IFF_LOWER_UP: Final = 0x10000


@dataclass(frozen=True, slots=True)
class LinkSeen:
    """State of an interface as just announced; `present` False = it is gone."""

    ifindex: int
    present: bool
    admin_up: bool
    carrier: bool


class Monitor:
    """Listens in the network namespace of the thread that makes it.

    `on_link` is called as soon as an event is read, `on_change` once a burst has ended.
    """

    def __init__(self, on_link: Callable[[LinkSeen], None], on_change: Callable[[], None]) -> None:
        self._on_link = on_link
        self._on_change = on_change
        self._first_at: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._socket.bind((0, 0))
        for group in _GROUPS:
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)

    async def run(self) -> None:
        """Listen until cancelled."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._socket, self._read)
        try:
            await loop.create_future()
        finally:
            loop.remove_reader(self._socket)
            self._socket.close()
            if self._timer is not None:
                self._timer.cancel()

    def _read(self) -> None:
        for _ in range(_BATCH):
            try:
                messages = self._socket.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                messages = b""
            for seen in links_of(messages):
                self._on_link(seen)
            self._tell_later()

    def _tell_later(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._first_at is None:
            self._first_at = now
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(min(now + QUIET_S, self._first_at + LONGEST_S), self._tell)

    def _tell(self) -> None:
        self._first_at = None
        self._timer = None
        self._on_change()


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
