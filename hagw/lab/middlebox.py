"""What a meddling box on a line does to TCP: it replaces Multipath TCP options by padding, as some really do.

Frames as the emulator has them: struct virtio_net_hdr (10 bytes), Ethernet header, IP packet. Options: RFC 9293 section
3.1, those of Multipath TCP RFC 8684 section 3.
"""

import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

StripMptcp = Literal["none", "capable", "join", "data", "all"]

_CAPABLE, _JOIN, _DSS = 0, 1, 2
# "data": handshakes pass, what maps the data is lost.
SUBTYPES: Final[Mapping[StripMptcp, frozenset[int]]] = MappingProxyType(
    {
        "none": frozenset(),
        "capable": frozenset({_CAPABLE}),
        "join": frozenset({_JOIN}),
        "data": frozenset({_DSS}),
        "all": frozenset(range(16)),
    }
)

_VNET_HEADER: Final = 10
_ETHERNET_HEADER: Final = 14
_NEEDS_CHECKSUM: Final = 0x01  # the checksum is completed when the frame leaves for real
_IPV4, _IPV6 = 0x0800, 0x86DD
_TCP: Final = 6
_IPV6_HEADER: Final = 40
_TCP_HEADER: Final = 20
_CHECKSUM_AT: Final = 16
_END, _PADDING, _MPTCP = 0, 1, 30


def strip(frame: bytes, subtypes: frozenset[int]) -> bytes:
    """Return the frame without its Multipath TCP options of these subtypes; any other frame unchanged."""
    tcp = _tcp_at(frame)
    if tcp is None or len(frame) < tcp + _TCP_HEADER:
        return frame
    begin, end = tcp + _TCP_HEADER, min(tcp + (frame[tcp + 12] >> 4) * 4, len(frame))
    changed = bytearray(frame)
    at = begin
    while at < end and frame[at] != _END:
        size = 1 if frame[at] == _PADDING or at + 1 >= end else frame[at + 1]
        if size < 1 or at + size > end:
            break
        if frame[at] == _MPTCP and size > 2 and frame[at + 2] >> 4 in subtypes:
            changed[at : at + size] = bytes([_PADDING]) * size
        at += size
    if changed == frame:
        return frame
    if not frame[0] & _NEEDS_CHECKSUM:
        _mend_checksum(changed, frame, tcp, begin, end)
    return bytes(changed)


def _tcp_at(frame: bytes) -> int | None:
    """Return where a frame's TCP header begins, None if it has none (or hides it behind extension headers)."""
    ip = _VNET_HEADER + _ETHERNET_HEADER
    if len(frame) < ip + _IPV6_HEADER:
        return None
    (kind,) = struct.unpack_from("!H", frame, ip - 2)
    if kind == _IPV4 and frame[ip + 9] == _TCP:
        return ip + (frame[ip] & 0x0F) * 4
    if kind == _IPV6 and frame[ip + 6] == _TCP:
        return ip + _IPV6_HEADER
    return None


def _mend_checksum(changed: bytearray, frame: bytes, tcp: int, begin: int, end: int) -> None:
    """Correct the TCP checksum for changed options (RFC 1624, equation 3); both begin and end on a word of four."""
    words = f"!{(end - begin) // 2}H"
    before, after = struct.unpack_from(words, frame, begin), struct.unpack_from(words, changed, begin)
    (checksum,) = struct.unpack_from("!H", frame, tcp + _CHECKSUM_AT)
    total = (checksum ^ 0xFFFF) + sum(word ^ 0xFFFF for word in before) + sum(after)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    struct.pack_into("!H", changed, tcp + _CHECKSUM_AT, total ^ 0xFFFF)
