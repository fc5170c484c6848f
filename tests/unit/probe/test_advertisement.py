"""What is said about IPv6 in the LAN, byte by byte."""

import struct

from hagw.probe.advertisement import router_lifetime_s, solicitation, without_router

ADVERTISEMENT = struct.pack(">BBHBBHII", 134, 0, 0xBEEF, 64, 0xC0, 1800, 0, 0) + bytes(range(24))


def test_only_the_router_lifetime_is_changed() -> None:
    changed = without_router(ADVERTISEMENT)
    assert router_lifetime_s(ADVERTISEMENT) == 1800
    assert router_lifetime_s(changed) == 0
    assert (changed[:6], changed[8:]) == (ADVERTISEMENT[:6], ADVERTISEMENT[8:])


def test_a_solicitation_has_a_right_checksum_and_no_source() -> None:
    packet = solicitation()
    assert packet[8:24] == bytes(16)
    assert (packet[6], packet[7], packet[40]) == (58, 255, 133)
    pseudo = packet[8:40] + struct.pack(">II", len(packet) - 40, 58) + packet[40:]
    total = sum(struct.unpack(f">{len(pseudo) // 2}H", pseudo))
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF
