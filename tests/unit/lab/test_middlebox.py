"""What the lab's meddling box does to a frame."""

import struct

import pytest

from hagw.lab.middlebox import SUBTYPES, strip

JOIN = bytes([30, 12, 0x10, 1]) + bytes(range(8))
DSS = bytes([30, 20, 0x20, 5]) + bytes(range(16))
STAMPS = bytes([1, 1, 8, 10]) + bytes(range(8))


def frame(options: bytes, *, ipv6: bool = False, partial: bool = False) -> bytes:
    assert len(options) % 4 == 0
    payload = b"payload"
    header = struct.pack("!HHIIBBHHH", 40000, 5124, 1, 2, (20 + len(options)) // 4 << 4, 0x10, 500, 0, 0)
    segment = bytearray(header + options + payload)
    if ipv6:
        ip = struct.pack("!IHBB16s16s", 6 << 28, len(segment), 6, 64, bytes(15) + b"\1", bytes(15) + b"\2")
        kind = 0x86DD
    else:
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(segment), 0, 0, 64, 6, 0, bytes(4), b"\1\2\3\4")
        kind = 0x0800
    struct.pack_into("!H", segment, 16, checksum(ip, bytes(segment)))
    return bytes([1 if partial else 0]) + bytes(9) + bytes(12) + struct.pack("!H", kind) + ip + bytes(segment)


def checksum(ip: bytes, segment: bytes) -> int:
    addresses = ip[8:40] if ip[0] >> 4 == 6 else ip[12:20]
    data = addresses + struct.pack("!HH", 6, len(segment)) + segment + bytes(len(segment) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def parts(whole: bytes, ipv6: bool) -> tuple[bytes, bytes]:
    ip = 40 if ipv6 else 20
    return whole[24 : 24 + ip], whole[24 + ip :]


@pytest.mark.parametrize("ipv6", [False, True])
def test_an_option_becomes_padding_and_the_checksum_is_right(ipv6: bool) -> None:
    stripped = strip(frame(STAMPS + JOIN, ipv6=ipv6), SUBTYPES["join"])
    ip, segment = parts(stripped, ipv6)
    assert segment[20 : 20 + 24] == STAMPS + bytes([1]) * 12
    assert checksum(ip, segment) == 0


def test_what_was_not_meant_passes_unchanged() -> None:
    for whole in (frame(STAMPS + DSS), frame(STAMPS), frame(b""), b"", bytes(30), bytes(200)):
        assert strip(whole, SUBTYPES["join"]) == whole


def test_all_takes_every_one_of_them() -> None:
    _, segment = parts(strip(frame(JOIN + DSS), SUBTYPES["all"]), False)
    assert set(segment[20:52]) == {1}


def test_a_checksum_still_to_be_completed_is_left_alone() -> None:
    whole = frame(JOIN, partial=True)
    assert strip(whole, SUBTYPES["join"])[60:62] == whole[60:62]


@pytest.mark.parametrize("options", [bytes([30, 0, 0, 0]), bytes([30, 40, 0x10, 0]), bytes([1, 1, 1, 30])])
def test_damaged_options_end_the_look(options: bytes) -> None:
    whole = frame(options)
    assert strip(whole, SUBTYPES["all"]) == whole
