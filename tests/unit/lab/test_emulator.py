"""What the emulator reads out of a frame."""

import struct

from hagw.lab.emulator import segmented_ip_bytes


def test_a_big_segment_counts_as_the_packets_it_stands_for() -> None:
    ethernet, ip_header, tcp_header, mss = 14, 20, 32, 1448
    payload = 10 * mss + 7
    virtio = struct.pack("<BBHHHH", 1, 1, ethernet + ip_header + tcp_header, mss, ethernet + ip_header, 16)
    tcp = bytearray(tcp_header)
    tcp[12] = (tcp_header // 4) << 4
    frame = virtio + bytes(ethernet + ip_header) + bytes(tcp) + bytes(payload)
    assert segmented_ip_bytes(frame) == payload + 11 * (ip_header + tcp_header)
