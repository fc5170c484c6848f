"""What an overheard packet carries, and that no packet raises."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from hagw.probe.dns_tap import udp_payload


def datagram(payload: bytes) -> bytes:
    return struct.pack("!4H", 53, 40_000, 8 + len(payload), 0) + payload


def test_the_payload_of_either_family_is_found() -> None:
    four = bytes([0x45]) + bytes(19)
    with_options = bytes([0x46]) + bytes(23)
    six = bytes([0x60]) + bytes(39)
    for header in (four, with_options, six):
        assert udp_payload(header + datagram(b"answer")) == b"answer"
        assert udp_payload(header + datagram(b"answer") + b"padding") == b"answer"
        assert udp_payload((header + datagram(b"answer"))[:-1]) is None


@given(st.binary(max_size=100))
def test_no_packet_raises(packet: bytes) -> None:
    udp_payload(packet)
