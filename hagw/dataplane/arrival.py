"""What an intercepted connection's SYN tells beyond addresses: LAN interface, sender's MAC address, DSCP.

The kernel keeps the SYN of a connection whose listener asks for it (TCP_SAVE_SYN; 2 = from the link-layer header on),
and says by which interface it came. Both are asked for only while a rule looks at them.
"""

import socket
import struct
import sys
from dataclasses import dataclass
from typing import Final

TCP_SAVE_SYN: Final = 27
TCP_SAVED_SYN: Final = 28
SYN_FROM_LINK: Final = 2
IP_PKTINFO: Final = 8
IP_PKTOPTIONS: Final = 9
IPV6_RECVPKTINFO: Final = 49
IPV6_PKTINFO: Final = 50
IPV6_2292PKTOPTIONS: Final = 6

_SYN_MAX_BYTES: Final = 256
_ETHERNET_BYTES: Final = 14
_ETHERTYPES: Final = {socket.AF_INET: b"\x08\x00", socket.AF_INET6: b"\x86\xdd"}
_CMSG: Final = struct.Struct("@Nii")  # struct cmsghdr
_ALIGN: Final = struct.calcsize("N")


@dataclass(frozen=True, slots=True)
class Arrival:
    """What the SYN told; None = not asked for, or the kernel does not know (SYN cookies)."""

    interface: str | None = None
    mac: str | None = None
    dscp: int | None = None


UNKNOWN: Final = Arrival()


def ask(listener: socket.socket, packet: bool, interface: bool) -> None:
    """Have the kernel remember what later connections of a listener arrived as."""
    listener.setsockopt(socket.IPPROTO_TCP, TCP_SAVE_SYN, SYN_FROM_LINK if packet else 0)
    if listener.family == socket.AF_INET:
        listener.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, interface)
    else:
        listener.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, interface)


def read(client: socket.socket, packet: bool, interface: bool) -> Arrival:
    """Return what an accepted connection arrived as, as far as asked for."""
    mac, dscp = _syn(client) if packet else (None, None)
    return Arrival(_interface(client) if interface else None, mac, dscp)


def _syn(client: socket.socket) -> tuple[str | None, int | None]:
    try:
        syn = client.getsockopt(socket.IPPROTO_TCP, TCP_SAVED_SYN, _SYN_MAX_BYTES)
    except OSError:
        return None, None
    mac = None
    if syn[12:14] == _ETHERTYPES[client.family] and len(syn) > _ETHERNET_BYTES + 20:
        mac = syn[6:12].hex(":")
        syn = syn[_ETHERNET_BYTES:]
    if len(syn) < 20:
        return mac, None
    version_class_flow = int.from_bytes(syn[:2], "big")
    traffic_class = syn[1] if client.family == socket.AF_INET else version_class_flow >> 4 & 0xFF
    return mac, traffic_class >> 2


def _interface(client: socket.socket) -> str | None:
    try:
        if client.family == socket.AF_INET:
            options = client.getsockopt(socket.IPPROTO_IP, IP_PKTOPTIONS, _SYN_MAX_BYTES)
            index = _found(options, socket.IPPROTO_IP, IP_PKTINFO)[:4]
        else:
            options = client.getsockopt(socket.IPPROTO_IPV6, IPV6_2292PKTOPTIONS, _SYN_MAX_BYTES)
            index = _found(options, socket.IPPROTO_IPV6, IPV6_PKTINFO)[16:20]
        return socket.if_indextoname(int.from_bytes(index, sys.byteorder)) if len(index) == 4 else None
    except OSError:
        return None  # the interface is gone


def _found(options: bytes, level: int, kind: int) -> bytes:
    """Return the control message of a kind, empty when it is not there."""
    offset = 0
    while offset + _CMSG.size <= len(options):
        size, of_level, of_kind = _CMSG.unpack_from(options, offset)
        if size < _CMSG.size:
            break
        if (of_level, of_kind) == (level, kind):
            return options[offset + _CMSG.size : offset + size]
        offset += (size + _ALIGN - 1) & -_ALIGN
    return b""
