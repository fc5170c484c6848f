"""Find the largest packet that passes a line whole: pings that must not be fragmented, answered by a gateway.

Without CAP_NET_RAW the kernel's own ping sockets are used, where net.ipv4.ping_group_range lets us.
"""

import os
import select
import socket
import struct
import time
from typing import Final

from hagw.model.intent import IPAddress

_TRY_S: Final = 0.5
_TRIES: Final = 2
_SMALLEST: Final = {4: 576, 6: 1280}
_HEADERS: Final = {4: 20, 6: 40}
_ECHO: Final = {4: (8, 0), 6: (128, 129)}  # request, reply
_ICMP: Final = struct.Struct("!BBHHH")
_DISCOVER: Final = {
    4: (socket.IPPROTO_IP, 10, 3),
    6: (socket.IPPROTO_IPV6, 23, 3),
}  # IP_PMTUDISC_PROBE: the wire decides
_RECEIVE: Final = 65_536


def largest_packet(interface: str, source: IPAddress, destination: IPAddress, mtu: int) -> int | None:
    """Return the size in bytes of the largest IP packet that is answered, up to `mtu`; None = not even small ones."""
    try:
        with _opened(interface, source, destination) as sock:
            pinger = _Pinger(sock, source.version)
            low, high = min(_SMALLEST[source.version], mtu), mtu
            if not pinger.passes(low):  # also has neighbours found before it matters
                return None
            while low < high:  # low passes
                size = high if high == mtu else (low + high + 1) // 2
                low, high = (size, high) if pinger.passes(size) else (low, size - 1)
            return mtu if low < mtu and pinger.passes(mtu) else low  # a lost ping is no evidence
    except OSError:
        return None


class _Pinger:
    def __init__(self, sock: socket.socket, version: int) -> None:
        self._sock = sock
        self._version = version
        self._is_raw = sock.type & 0xF == socket.SOCK_RAW
        self._identity = int.from_bytes(os.urandom(2))
        self._sequence = 0

    def passes(self, size: int) -> bool:
        """Tell whether a packet of this size is answered by one of the same size."""
        return any(self._is_answered(size) for _ in range(_TRIES))

    def _is_answered(self, size: int) -> bool:
        self._sequence = (self._sequence + 1) & 0xFFFF
        request, reply = _ECHO[self._version]
        body = bytes(size - _HEADERS[self._version] - _ICMP.size)
        head = _ICMP.pack(request, 0, 0, self._identity, self._sequence)
        if self._version == 4:
            head = _ICMP.pack(request, 0, _checksum(head + body), self._identity, self._sequence)
        try:
            self._sock.send(head + body)
        except OSError:  # larger than the line's MTU
            return False
        deadline = time.monotonic() + _TRY_S
        while (left := deadline - time.monotonic()) > 0 and select.select([self._sock], [], [], left)[0]:
            kind, identity, sequence = self._parse(self._sock.recv(_RECEIVE))
            if kind == reply and sequence == self._sequence and identity in (self._identity, None):
                return True
        return False

    def _parse(self, packet: bytes) -> tuple[int, int | None, int]:
        """Return kind, identity (None where the kernel chose it) and sequence of what arrived."""
        if self._is_raw and self._version == 4 and packet:
            packet = packet[(packet[0] & 0xF) * 4 :]
        if len(packet) < _ICMP.size:
            return -1, None, -1
        kind, _, _, identity, sequence = _ICMP.unpack_from(packet)
        return kind, identity if self._is_raw else None, sequence


def _opened(interface: str, source: IPAddress, destination: IPAddress) -> socket.socket:
    family = socket.AF_INET if source.version == 4 else socket.AF_INET6
    protocol = socket.IPPROTO_ICMP if source.version == 4 else socket.IPPROTO_ICMPV6
    try:
        sock = socket.socket(family, socket.SOCK_RAW, protocol)
    except PermissionError:
        sock = socket.socket(family, socket.SOCK_DGRAM, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        sock.setsockopt(*_DISCOVER[source.version])
        sock.bind((str(source), 0))
        sock.connect((str(destination), 0))
    except OSError:
        sock.close()
        raise
    return sock


def _checksum(data: bytes) -> int:
    words: int = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) & ~1]))
    if len(data) % 2:
        words += data[-1] << 8
    while words >> 16:
        words = (words & 0xFFFF) + (words >> 16)
    return ~words & 0xFFFF
