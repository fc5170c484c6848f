"""What the LAN is told about IPv6: the system's own router advertisement, said again with another router lifetime.

We serve no router advertisements: radvd, dnsmasq or systemd-networkd do. None of them knows whether IPv6 leads
anywhere. While it does not, a host with an IPv6 default route tries it first and waits. So what the system last
advertised from this machine is repeated with a router lifetime of zero (RFC 4861, 6.2.5): hosts drop the route and
keep their addresses. When IPv6 works again, it is repeated as it was. Where the system advertises nothing, nor do we.
"""

import asyncio
import socket
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hagw.log import log_of

LOST_AFTER_S: Final = 1.0  # a path that is back before that was never lost
SAID_AGAIN_S: Final = (0.0, 1.0, 3.0)  # multicast gets lost, on wireless LANs in particular
REMINDER_S: Final = 10.0  # the system's own next advertisement, or its answer to one host, would bring the route back
_ANSWER_DELAY_S: Final = 0.6  # routers answer a solicitation within 0.5 s
_ALL_NODES: Final = "ff02::1"
_ALL_ROUTERS: Final = "ff02::2"
_SOLICITATION: Final = 133
_ADVERTISEMENT: Final = 134
_LENGTH_MIN: Final = 16
_ICMP6_FILTER: Final = 1
_IPV6_HDRINCL: Final = 36
_HOP_LIMIT: Final = 255
_PKTINFO: Final = struct.Struct("=16sI")

log = log_of("hagw.advertisement")


@dataclass(slots=True)
class _Lan:
    """One LAN interface, and what the system last said there."""

    interface: str
    index: int
    said: bytes = b""
    source: bytes = b""
    said_at: float = 0.0


def without_router(advertisement: bytes) -> bytes:
    """Return an advertisement (from its ICMPv6 type on) with a router lifetime of zero."""
    return advertisement[:6] + bytes(2) + advertisement[8:]


def router_lifetime_s(advertisement: bytes) -> int:
    """Return the router lifetime of an advertisement."""
    return int.from_bytes(advertisement[6:8])


def solicitation() -> bytes:
    """Return an IPv6 packet that solicits advertisements from nobody in particular: they come to all nodes."""
    message = struct.pack(">BBHI", _SOLICITATION, 0, 0, 0)
    addresses = bytes(16) + socket.inet_pton(socket.AF_INET6, _ALL_ROUTERS)
    total = sum(struct.unpack(">24H", addresses + struct.pack(">II", len(message), socket.IPPROTO_ICMPV6) + message))
    folded = (total & 0xFFFF) + (total >> 16)
    checksum = 0xFFFF & ~(folded + (folded >> 16))
    header = struct.pack(">IHBB", 6 << 28, len(message), socket.IPPROTO_ICMPV6, _HOP_LIMIT)
    packet: bytes = header + addresses + message[:2] + checksum.to_bytes(2) + message[4:]
    return packet


class Advertiser:
    """Listens to what this machine advertises and corrects it; driven by `update`, runs in `run`."""

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._works = True
        self._lans: dict[int, _Lan] = {}
        self._changed = asyncio.Event()
        self._sock: socket.socket | None = None

    def update(self, interfaces: tuple[str, ...], works: bool) -> None:
        """Take the LAN interfaces, and whether IPv6 leads anywhere."""
        if (interfaces, works) != (self._names, self._works) or len(self._lans) < len(interfaces):
            self._names, self._works = interfaces, works
            self._changed.set()

    async def run(self) -> None:
        """Keep the LAN told, for ever."""
        try:
            self._sock = _open()
        except OSError as why:
            log.warning("router advertisements are not watched", reason=str(why))
            return
        loop = asyncio.get_running_loop()
        loop.add_reader(self._sock, self._receive)
        told = True
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                self._find()
                if told and not self._leads():
                    await asyncio.sleep(LOST_AFTER_S)
                if self._leads() != told:
                    told = self._leads()
                    log.info("LAN is told about IPv6", works=told, interfaces=list(self._names))
                    await self._tell(told)
        finally:
            loop.remove_reader(self._sock)
            self._sock.close()

    def _leads(self) -> bool:
        return self._works

    async def _tell(self, works: bool) -> None:
        """Say it a few times; that IPv6 does not work until it does."""
        began = time.monotonic()
        at = list(SAID_AGAIN_S)
        while self._works == works:
            for lan in self._lans.values():
                self._say(lan)
            at.pop(0)
            if not at:
                if works:
                    return
                at = [time.monotonic() - began + REMINDER_S]
            try:
                async with asyncio.timeout(max(0.0, began + at[0] - time.monotonic())):
                    await self._changed.wait()
                self._changed.clear()
                self._find()
                at.insert(0, 0.0)
            except TimeoutError:
                pass
        self._changed.set()

    def _find(self) -> None:
        """Listen on the LAN interfaces that exist now, and have the system say what it advertises."""
        found = {}
        for name in self._names:
            try:
                index = socket.if_nametoindex(name)
            except OSError:
                continue
            found[index] = self._lans.get(index) or _Lan(name, index)
        fresh = [lan for index, lan in found.items() if index not in self._lans]
        self._lans = found
        for lan in fresh:
            self._join(lan)
            _solicit(lan)

    def _join(self, lan: _Lan) -> None:
        assert self._sock is not None
        for group in (_ALL_NODES, _ALL_ROUTERS):
            member = socket.inet_pton(socket.AF_INET6, group) + struct.pack("=I", lan.index)
            try:
                self._sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, member)
            except OSError:
                pass  # a member already, by an index that has come back

    def _receive(self) -> None:
        assert self._sock is not None
        try:
            message, control, _, sender = self._sock.recvmsg(2048, 64)
        except OSError:
            return
        index = next((_PKTINFO.unpack(data[:20])[1] for _, kind, data in control if kind == socket.IPV6_PKTINFO), 0)
        lan = self._lans.get(index)
        if lan is None or not message:
            return
        source = sender[0].partition("%")[0]
        if message[0] == _SOLICITATION:
            # From "::" it is ours, or a host's without an address: answered to all, so that we hear the answer.
            if not self._works and source != "::":
                asyncio.get_running_loop().call_later(_ANSWER_DELAY_S, self._say, lan)
        elif len(message) >= _LENGTH_MIN and _is_own(source, index):
            lan.said, lan.said_at = message, time.monotonic()
            lan.source = socket.inet_pton(socket.AF_INET6, source)
            if not self._works:
                self._say(lan)

    def _say(self, lan: _Lan) -> None:
        """Repeat what the system said, as far as it still holds; ask it where it never said anything."""
        assert self._sock is not None
        lifetime_s = router_lifetime_s(lan.said) if lan.said else 0
        if time.monotonic() - lan.said_at > lifetime_s:
            if not lan.said or lifetime_s:
                _solicit(lan)
            return
        message = lan.said if self._works else without_router(lan.said)
        where = _PKTINFO.pack(lan.source, lan.index)
        try:
            self._sock.sendmsg(
                [message], [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, where)], 0, (_ALL_NODES, 0, 0, lan.index)
            )
        except OSError as why:
            log.warning("router advertisement not sent", interface=lan.interface, reason=str(why))


def _open() -> socket.socket:
    sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMPV6)
    passed = bytearray(b"\xff" * 32)  # a set bit blocks its type
    for kind in (_SOLICITATION, _ADVERTISEMENT):
        word = kind >> 5
        value = int.from_bytes(passed[4 * word : 4 * word + 4], "little") & ~(1 << (kind & 31))
        passed[4 * word : 4 * word + 4] = value.to_bytes(4, "little")
    sock.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, bytes(passed))
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, _HOP_LIMIT)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)  # we know what we say
    return sock


def _solicit(lan: _Lan) -> None:
    """Ask the system's own daemon, from no address, so that it answers to all nodes and we hear it."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_HDRINCL, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, lan.index)
            sock.sendto(solicitation(), (_ALL_ROUTERS, 0, 0, lan.index))
    except OSError as why:
        log.warning("router advertisement not asked for", interface=lan.interface, reason=str(why))


def _is_own(address: str, index: int) -> bool:
    """Tell whether an address is this machine's, on this interface."""
    wanted = socket.inet_pton(socket.AF_INET6, address).hex()
    try:
        lines = Path("/proc/self/net/if_inet6").read_text(encoding="ascii").splitlines()
    except OSError:
        return False
    return any(line.split()[0] == wanted and int(line.split()[1], 16) == index for line in lines)
