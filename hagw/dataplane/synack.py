"""The TCP options of a server's SYN+ACK, for the Extended TCP Header TLV (RFC 8803 section 6.2.6).

The kernel does not keep them for connections it opened, but a raw socket sees the segment before `connect` completes:
a filter in the kernel lets only the heads of SYN+ACKs through. Every worker sees those of all workers, so they are
read often and kept in bounded number. Without CAP_NET_RAW, or where the segment was missed, the options are rebuilt
from what was negotiated: MSS, window scale, SACK, timestamps (values zero: they were of that moment only), and
MPTCP without its keys. Measured: 6 µs a connection instead of 3.
"""

import ctypes
import socket
import struct
from collections import OrderedDict
from typing import Final

from hagw.dataplane.mptcp_socket import token_of

_TCPI_OPT_TIMESTAMPS = 1
_TCPI_OPT_SACK = 2
_TCPI_OPT_WSCALE = 4

SO_ATTACH_FILTER: Final = 26
SO_RCVBUFFORCE: Final = 33
_TCP_HEADER_MAX: Final = 60
_HEAD_BYTES: Final = 60 + _TCP_HEADER_MAX  # an IPv4 header with options before it
_BUFFER_BYTES: Final = 4 * 1024 * 1024  # thousands of segments between two looks
_KEPT_MAX: Final = 4096
_A_LOOK: Final = 512  # 1.5 ms: anybody can send SYN+ACKs, and each connection looks

# Classic BPF (linux/filter.h): the TCP flags of the segment, SYN and ACK both set. The IPv4 copy begins with the IP
# header, whose length the second program looks up; the IPv6 copy with the TCP header.
_TAKE_SYN_ACK: Final = ((0x54, 0, 0, 0x12), (0x15, 0, 1, 0x12), (0x06, 0, 0, _HEAD_BYTES), (0x06, 0, 0, 0))
_FILTERS: Final = {
    socket.AF_INET: ((0xB1, 0, 0, 0), (0x50, 0, 0, 13), *_TAKE_SYN_ACK),
    socket.AF_INET6: ((0x30, 0, 0, 13), *_TAKE_SYN_ACK),
}

_Ends = tuple[str, int, int]  # server's address, server's port, our port


class SynAcks:
    """What servers answered lately; sees nothing before `open`."""

    def __init__(self) -> None:
        self._options: OrderedDict[_Ends, bytes] = OrderedDict()
        self._sockets: tuple[socket.socket, ...] = ()

    def open(self) -> None:
        """Begin to look, as far as the machine lets us."""
        if not self._sockets:
            self._sockets = tuple(sock for family in _FILTERS if (sock := _listening(family)) is not None)

    def options(self, server: socket.socket) -> bytes:
        """Return the options of the SYN+ACK that completed this connection, padded to a word (may be empty)."""
        self.look()
        try:
            address, port = server.getpeername()[:2]
            seen = self._options.pop((address, port, server.getsockname()[1]), None)
        except OSError:
            return b""
        return rebuilt(server) if seen is None else seen

    def look(self) -> None:
        """Read what has come in; call it a few times a second, or the kernel's queue overflows."""
        for sock in self._sockets:
            for _ in range(_A_LOOK):
                try:
                    segment, source = sock.recvfrom(_HEAD_BYTES)
                except OSError:  # nothing more
                    break
                self._take(segment if sock.family == socket.AF_INET6 else _without_ip(segment), source[0])

    def close(self) -> None:
        """Close the sockets."""
        for sock in self._sockets:
            sock.close()
        self._sockets = ()

    def _take(self, segment: bytes, address: str) -> None:
        if len(segment) < 20:
            return
        port, ours = struct.unpack_from("!HH", segment)
        size = (segment[12] >> 4) * 4
        self._options[address, port, ours] = segment[20:size]
        while len(self._options) > _KEPT_MAX:
            self._options.popitem(last=False)


def rebuilt(server: socket.socket) -> bytes:
    """Return options as they were negotiated, padded to a word; empty when the kernel tells nothing."""
    try:
        info = server.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)
        mss = server.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
    except OSError:
        return b""
    negotiated = info[5]
    options = struct.pack("!BBH", 2, 4, min(max(mss, 0), 0xFFFF))
    if negotiated & _TCPI_OPT_SACK:
        options += b"\x04\x02"
    if negotiated & _TCPI_OPT_TIMESTAMPS:
        options += b"\x08\x0a" + bytes(8)
    if negotiated & _TCPI_OPT_WSCALE:
        options += bytes((3, 3, info[6] & 0x0F))
    if token_of(server) is not None:
        options += b"\x1e\x04\x01\x00"
    return options + bytes(-len(options) % 4)


def _without_ip(packet: bytes) -> bytes:
    return packet[(packet[0] & 0x0F) * 4 :] if packet else b""


def _listening(family: int) -> socket.socket | None:
    """Return a raw socket that is given the heads of SYN+ACKs, None where it may not be had."""
    try:
        sock = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_TCP)
    except OSError:
        return None
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in _FILTERS[socket.AddressFamily(family)])
    program = ctypes.create_string_buffer(code)
    try:
        sock.setsockopt(
            socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", len(code) // 8, ctypes.addressof(program))
        )
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, _BUFFER_BYTES)
    except OSError:
        sock.close()
        return None
    while True:  # what came in before the filter was there
        try:
            sock.recv(1)
        except OSError:
            return sock
