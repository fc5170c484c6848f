"""Multipath TCP sockets of this process: opening them, and what the kernel says of their subflows.

Layouts: include/uapi/linux/mptcp.h and tcp.h of 6.1 to 6.18. `MPTCP_FULL_INFO` is missing on 6.1; there the two
older calls it unites are used.
"""

import ctypes
import errno
import os
import socket
import struct
from dataclasses import dataclass
from typing import Final

from hagw.convert.machine import CONVERTIBLE, KIND_SACK_PERMITTED, KIND_TIMESTAMP

IPPROTO_MPTCP: Final = 262
SOL_MPTCP: Final = 284
MPTCP_INFO: Final = 1
MPTCP_TCPINFO: Final = 2
MPTCP_SUBFLOW_ADDRS: Final = 3
MPTCP_FULL_INFO: Final = 4
TCP_ESTABLISHED: Final = 1
TCP_CONGESTION: Final = 13
SO_RCVBUFFORCE: Final = 33
RECEIVE_BYTES: Final = 4 * 1024 * 1024  # of a CPE's connection: 2 MiB of window are 160 Mbit/s at 100 ms

_SUBFLOWS_MAX = 16
_TCP_INFO_BYTES = 280
_SUBFLOW_INFO_BYTES = 264
_SUBFLOW_ADDRS_BYTES = 256
_MPTCP_INFO_BYTES = 96
_DATA_HEADER = struct.Struct("@4I")
_FULL_HEADER = struct.Struct("@6I2Q")
_INFO_HEAD = struct.Struct("@8x2I")  # flags, token
# rtt, snd_cwnd, unacked; then bytes_acked, bytes_received, notsent, min_rtt, delivery_rate (offsets in tcp_info)
_RTT_AT, _BYTES_AT, _NOTSENT_AT, _MIN_RTT_AT, _RATE_AT, _UNACKED_AT, _MSS_AT = 68, 120, 144, 148, 160, 24, 16
_SEGMENTS_AT = 136
_SWITCHES: Final = {KIND_SACK_PERMITTED: "tcp_sack", KIND_TIMESTAMP: "tcp_timestamps"}  # in net.ipv4

_libc = ctypes.CDLL(None, use_errno=True)
_libc.getsockopt.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]


_MAPPED: Final = bytes(10) + b"\xff\xff"

_Row = tuple[bytes, int, bytes, int]  # tcp_info and where it starts, addresses and where they start


@dataclass(frozen=True, slots=True)
class SubflowInfo:
    """One established subflow. Addresses are (text, port); times in µs; bytes are the subflow's own payload."""

    local: tuple[str, int]
    remote: tuple[str, int]
    srtt_us: int
    min_rtt_us: int
    bytes_acked: int
    bytes_received: int
    unacked: int
    notsent_bytes: int
    mss: int
    delivery_rate_bps: int
    app_limited: bool
    segments: int = 0  # sent and received
    mapped: bool = False  # an IPv6 socket: the kernel knows its IPv4 addresses as ::ffff:192.0.2.1


def open_stream(family: int, congestion_control: str) -> socket.socket:
    """Open a non-blocking MPTCP socket whose subflows, also later ones, use `congestion_control`."""
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, IPPROTO_MPTCP)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # IPv4 subflows can join, too
    tune(sock, congestion_control)
    hold_receive_buffer(sock, RECEIVE_BYTES)
    return sock


def tune(sock: socket.socket, congestion_control: str) -> None:
    """Set what both ends set on an MPTCP connection."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_TCP, TCP_CONGESTION, congestion_control.encode())


def hold_receive_buffer(sock: socket.socket, size_bytes: int) -> None:
    """Give `sock`, or what it accepts, a receive buffer that the kernel does not tune; its window is half of that.

    The tuning measures the round trip by echoed timestamps. On a subflow that idled, the first full segments
    echo one from before the pause, so the kernel believes in a round trip as long as the pause and leaves the whole
    connection's window at 64 KiB for as long again: uploads over a warm connection crawled at 12 of 45 Mbit/s,
    downloads at 20 of 82.
    """
    half = size_bytes // 2  # the kernel doubles it
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, half)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, half)


def tuned_maximum() -> int:
    """Return the receive buffer that the kernel's tuning would come to, in bytes."""
    with open("/proc/sys/net/ipv4/tcp_rmem", encoding="ascii") as limits:
        return int(limits.read().split()[2])


def convertible() -> tuple[int, ...]:
    """Return the kinds of TCP options that a server can be asked for from here: the kernel can be told to leave some.

    For the Supported TCP Extensions and Connect TLVs (RFC 8803, sections 6.2.4 and 6.2.5).
    """
    return tuple(kind for kind in CONVERTIBLE if kind not in _SWITCHES or _is_on(_SWITCHES[kind]))


def _is_on(switch: str) -> bool:
    with open(f"/proc/sys/net/ipv4/{switch}", encoding="ascii") as setting:
        return setting.read().strip() != "0"


def token_of(sock: socket.socket) -> int | None:
    """Return the connection's local token; None when it fell back to plain TCP."""
    try:
        info = sock.getsockopt(SOL_MPTCP, MPTCP_INFO, 16)
    except OSError:
        return None
    flags, token = _INFO_HEAD.unpack_from(info.ljust(16, b"\0"))
    return None if flags & 1 else token


class SubflowReader:
    """Reads the subflows of a connection; holds the buffers that all calls share (not thread-safe).

    `tcp_info_bytes` is what is asked for of each subflow's tcp_info; a kernel whose own is smaller gives less.
    """

    def __init__(self, tcp_info_bytes: int = _TCP_INFO_BYTES) -> None:
        self._tcp_info_bytes = tcp_info_bytes
        self._tcp = ctypes.create_string_buffer(tcp_info_bytes * _SUBFLOWS_MAX)
        self._addrs = ctypes.create_string_buffer(_SUBFLOW_INFO_BYTES * _SUBFLOWS_MAX)
        self._head = ctypes.create_string_buffer(_FULL_HEADER.size + _MPTCP_INFO_BYTES)
        self._pair = ctypes.create_string_buffer(_DATA_HEADER.size + tcp_info_bytes * _SUBFLOWS_MAX)
        self._length = ctypes.c_int()
        self._whole = True

    def read(self, sock: socket.socket) -> tuple[SubflowInfo, ...]:
        """Return the established subflows; empty when the connection is plain TCP or gone."""
        return tuple(
            _subflow(tcp, at, addrs, addrs_at)
            for tcp, at, addrs, addrs_at in self._rows(sock)
            if tcp[at] == TCP_ESTABLISHED
        )

    def read_all(self, sock: socket.socket) -> tuple[SubflowInfo, ...]:
        """Return all subflows the kernel still lists, those that are closing or dead included."""
        return tuple(_subflow(*row) for row in self._rows(sock))

    def read_at_once(self, sock: socket.socket) -> int:
        """Return how many subflows one call tells of. Raise OSError where the kernel lacks MPTCP_FULL_INFO."""
        return len(self._read_full(sock.fileno()))

    def read_in_parts(self, sock: socket.socket) -> tuple[SubflowInfo, ...]:
        """Return all subflows by the older calls. Raise OSError where the kernel lacks them."""
        return tuple(_subflow(*row) for row in self._read_pair(sock.fileno()))

    def _rows(self, sock: socket.socket) -> list[_Row]:
        try:
            if self._whole:
                return self._read_full(sock.fileno())
            return self._read_pair(sock.fileno())
        except OSError as why:
            if why.errno in (errno.EOPNOTSUPP, errno.ENOPROTOOPT) and self._whole and token_of(sock) is not None:
                self._whole = False
                return self._rows(sock)
            return []

    def _read_full(self, fd: int) -> list[_Row]:
        _FULL_HEADER.pack_into(
            self._head, 0, 0, self._tcp_info_bytes, 0, _SUBFLOW_INFO_BYTES, 0, _SUBFLOWS_MAX,
            ctypes.addressof(self._addrs), ctypes.addressof(self._tcp),
        )  # fmt: skip
        self._get(fd, MPTCP_FULL_INFO, self._head)
        _, tcp_size, _, sub_size, count, _, _, _ = _FULL_HEADER.unpack_from(self._head)
        tcp = self._tcp.raw
        addrs = self._addrs.raw
        # struct mptcp_subflow_info: id (u32), 4 pad, local, remote (sockaddr_storage each)
        return [(tcp, i * tcp_size, addrs, i * sub_size + 8) for i in range(min(count, _SUBFLOWS_MAX))]

    def _read_pair(self, fd: int) -> list[_Row]:
        tcp, tcp_size, count = self._read_one(fd, MPTCP_TCPINFO, self._tcp_info_bytes)
        addrs, addrs_size, other = self._read_one(fd, MPTCP_SUBFLOW_ADDRS, _SUBFLOW_ADDRS_BYTES)
        if count != other:
            return []  # a subflow came or went between the calls: the caller looks again
        base = _DATA_HEADER.size
        return [(tcp, base + i * tcp_size, addrs, base + i * addrs_size) for i in range(count)]

    def _read_one(self, fd: int, option: int, size: int) -> tuple[bytes, int, int]:
        _DATA_HEADER.pack_into(self._pair, 0, _DATA_HEADER.size, 0, 0, size)
        self._get(fd, option, self._pair)
        # The kernel writes entries of its own size where that is smaller: tcp_info grew after 6.1.
        _, count, _, stride = _DATA_HEADER.unpack_from(self._pair)
        return self._pair.raw, stride, min(count, _SUBFLOWS_MAX)

    def _get(self, fd: int, option: int, buffer: ctypes.Array[ctypes.c_char]) -> None:
        self._length.value = len(buffer)
        if _libc.getsockopt(fd, SOL_MPTCP, option, ctypes.addressof(buffer), ctypes.addressof(self._length)):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))


def _subflow(tcp: bytes, at: int, addrs: bytes, addrs_at: int) -> SubflowInfo:
    acked, received = struct.unpack_from("@2Q", tcp, at + _BYTES_AT)
    (unacked,) = struct.unpack_from("@I", tcp, at + _UNACKED_AT)
    (mss,) = struct.unpack_from("@I", tcp, at + _MSS_AT)
    (srtt,) = struct.unpack_from("@I", tcp, at + _RTT_AT)
    notsent, min_rtt = struct.unpack_from("@2I", tcp, at + _NOTSENT_AT)
    (rate,) = struct.unpack_from("@Q", tcp, at + _RATE_AT)
    return SubflowInfo(
        local=_endpoint(addrs, addrs_at),
        remote=_endpoint(addrs, addrs_at + 128),
        srtt_us=srtt,
        min_rtt_us=min_rtt,
        bytes_acked=acked,
        bytes_received=received,
        unacked=unacked,
        notsent_bytes=notsent,
        mss=mss,
        delivery_rate_bps=rate * 8,
        app_limited=bool(tcp[at + 7] & 1),
        segments=sum(struct.unpack_from("@2I", tcp, at + _SEGMENTS_AT)),
        mapped=_is_mapped(addrs, addrs_at),
    )


def _endpoint(raw: bytes, at: int) -> tuple[str, int]:
    (family,) = struct.unpack_from("@H", raw, at)
    (port,) = struct.unpack_from("!H", raw, at + 2)
    if family == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, raw[at + 4 : at + 8]), port
    if _is_mapped(raw, at):
        return socket.inet_ntop(socket.AF_INET, raw[at + 20 : at + 24]), port
    return socket.inet_ntop(socket.AF_INET6, raw[at + 8 : at + 24]), port


def _is_mapped(raw: bytes, at: int) -> bool:
    (family,) = struct.unpack_from("@H", raw, at)
    return bool(family == socket.AF_INET6 and raw[at + 8 : at + 20] == _MAPPED)
