"""DNS answers on their way into the LAN, overheard: copies of what leaves by the LAN interfaces from UDP port 53.

A packet socket gets copies: whatever becomes of it or of us, the answers reach their hosts. What is encrypted (DNS over
TLS, HTTPS, QUIC) or travels by TCP is not seen, nor what one LAN host answers another one.
"""

import asyncio
import ctypes
import socket
import struct
from collections.abc import Callable, Collection
from typing import Final

from hagw.log import log_of

_ETH_P_ALL: Final = 0x0003
_SO_ATTACH_FILTER: Final = 26
_PACKET_BYTES: Final = 4096 + 64  # what resolvers send at most, and headers
_BATCH: Final = 64
_PAUSE_S: Final = 0.1  # after a whole batch: 640 answers a second are more than any house asks for
_UDP: Final = 17
_UDP_BYTES: Final = 8
_IP6_BYTES: Final = 40

# Classic BPF (socket filter) on a packet from its IP header on; each jump counts from the next instruction.
_FILTER: Final = (
    (0x20, 0, 0, 0xFFFFF004),  # 0 load the packet's type
    (0x15, 0, 15, 4),  # outgoing? else 17
    (0x20, 0, 0, 0xFFFFF000),  # 2 load its protocol
    (0x15, 0, 7, 0x0800),  # IPv4? else 11
    (0x30, 0, 0, 9),  # 4 load what it carries
    (0x15, 0, 11, _UDP),  # UDP? else 17
    (0x28, 0, 0, 6),  # 6 load the fragment's offset
    (0x45, 9, 0, 0x1FFF),  # a later fragment? then 17
    (0xB1, 0, 0, 0),  # 8 x = length of the header
    (0x48, 0, 0, 0),  # 9 load the source port
    (0x05, 0, 0, 4),  # go to 15
    (0x15, 0, 5, 0x86DD),  # 11 IPv6? else 17
    (0x30, 0, 0, 6),  # 12 load what it carries
    (0x15, 0, 3, _UDP),  # UDP? else 17
    (0x28, 0, 0, _IP6_BYTES),  # 14 load the source port
    (0x15, 0, 1, 53),  # 15 DNS? else 17
    (0x06, 0, 0, _PACKET_BYTES),  # take it
    (0x06, 0, 0, 0),  # 17 leave it
)

log = log_of("hagw.dns")


class DnsTap:
    """Overhears answers on some interfaces, in the network namespace of the thread that uses it."""

    def __init__(self, on_answer: Callable[[bytes], None]) -> None:
        """`on_answer` gets the payload of each datagram: a DNS message if it is what it looks like."""
        self._on_answer = on_answer
        self._sockets: dict[tuple[str, int], socket.socket] = {}
        self._failed: set[str] = set()

    def listen(self, interfaces: Collection[str]) -> None:
        """Overhear these interfaces and no others from now on; one that is missing is tried again at the next call."""
        wanted = {(name, index) for name in interfaces if (index := _index(name))}
        for key in self._sockets.keys() - wanted:
            self._close(key)
        for key in sorted(wanted - self._sockets.keys()):
            self._open(*key)

    def close(self) -> None:
        """Overhear nothing more."""
        self.listen(())

    def _open(self, name: str, index: int) -> None:
        try:
            sock = _listening(name)
        except OSError as why:
            if name not in self._failed:
                log.warning("DNS answers are not overheard", interface=name, reason=str(why))
            self._failed.add(name)
            return
        self._failed.discard(name)
        self._sockets[name, index] = sock
        asyncio.get_running_loop().add_reader(sock, self._read, (name, index), sock)

    def _close(self, key: tuple[str, int]) -> None:
        sock = self._sockets.pop(key)
        asyncio.get_running_loop().remove_reader(sock)
        sock.close()

    def _read(self, key: tuple[str, int], sock: socket.socket) -> None:
        for _ in range(_BATCH):
            try:
                packet = sock.recv(_PACKET_BYTES)
            except BlockingIOError:
                return
            except OSError:  # the interface went down or away; the next look opens it again
                self._close(key)
                return
            payload = udp_payload(packet)
            if payload is not None:
                self._on_answer(payload)
        loop = asyncio.get_running_loop()
        loop.remove_reader(sock)
        loop.call_later(_PAUSE_S, self._resume, key, sock)

    def _resume(self, key: tuple[str, int], sock: socket.socket) -> None:
        if self._sockets.get(key) is sock:
            asyncio.get_running_loop().add_reader(sock, self._read, key, sock)


def udp_payload(packet: bytes) -> bytes | None:
    """Return what the UDP datagram in an IP packet carries, None where that is not all there."""
    if not packet:
        return None
    offset = (packet[0] & 0x0F) * 4 if packet[0] >> 4 == 4 else _IP6_BYTES
    end = offset + int.from_bytes(packet[offset + 4 : offset + 6])
    if not offset + _UDP_BYTES <= end <= len(packet):
        return None
    return packet[offset + _UDP_BYTES : end]


def _index(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


def _listening(interface: str) -> socket.socket:
    """Return a packet socket that is given copies of DNS answers. Raise OSError."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
    try:
        code = b"".join(struct.pack("HBBI", *instruction) for instruction in _FILTER)
        program = ctypes.create_string_buffer(code)
        filtered = struct.pack("HL", len(_FILTER), ctypes.addressof(program))
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filtered)
        sock.bind((interface, _ETH_P_ALL))  # nothing is heard before: its protocol was none
    except OSError:
        sock.close()
        raise
    return sock
