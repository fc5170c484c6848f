"""What rtnetlink messages say about links, and nf_tables messages about our table."""

import struct
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from hagw.probe.monitor import LinkSeen, NeighbourSeen, is_about_our_table, links_of, neighbours_of

UP, LOWER_UP = 0x1, 0x10000


def message(kind: int, ifindex: int, flags: int, family: int = 0, attributes: bytes = b"") -> bytes:
    body = struct.pack("=BxHiII", family, 1, ifindex, flags, 0) + attributes
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def test_carrier_and_admin_state_come_from_the_flags() -> None:
    assert links_of(message(16, 3, UP | LOWER_UP)) == [LinkSeen(3, True, True, True)]
    assert links_of(message(16, 3, UP)) == [LinkSeen(3, True, True, False)]
    assert links_of(message(16, 3, LOWER_UP)) == [LinkSeen(3, True, False, False)]
    assert links_of(message(17, 3, UP | LOWER_UP)) == [LinkSeen(3, False, False, False)]


def test_bridge_ports_and_other_messages_are_passed_over() -> None:
    route = struct.pack("=IHHII", 28, 24, 0, 0, 0) + bytes(12)
    messages = message(16, 9, UP, family=7) + route + message(16, 4, UP | LOWER_UP, attributes=bytes(8))
    assert links_of(messages) == [LinkSeen(4, True, True, True)]


@given(st.binary(max_size=300))
def test_damaged_messages_end_the_reading(data: bytes) -> None:
    links_of(data)
    assert links_of(message(16, 1, 0) + data)[0].ifindex == 1


def neighbour_message(state: int, address: bytes, kind: int = 28) -> bytes:
    lladdr = struct.pack("=HH6sxx", 10, 2, bytes(6))
    body = struct.pack("=BxxxiHBB", 2, 3, state, 0, 1) + lladdr + struct.pack("=HH", 4 + len(address), 1) + address
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def test_neighbours_are_told_once_they_have_answered_or_failed_to() -> None:
    router, six = bytes([192, 0, 2, 1]), bytes.fromhex("fe80") + bytes(13) + b"\x01"
    told = [neighbour_message(state, router) for state in (0x01, 0x02, 0x10, 0x20, 0x04, 0x40)]
    told += [neighbour_message(0x02, router, kind=29), message(16, 3, UP), neighbour_message(0x20, six)]
    four = ip_address("192.0.2.1")
    assert neighbours_of(b"".join(told)) == [
        NeighbourSeen(3, four, True),
        NeighbourSeen(3, four, False),
        NeighbourSeen(3, four, True),
        NeighbourSeen(3, ip_address("fe80::1"), False),
    ]


@given(st.binary(max_size=300))
def test_damaged_neighbour_messages_end_the_reading(data: bytes) -> None:
    neighbours_of(data)
    assert len(neighbours_of(neighbour_message(0x02, bytes(4)) + data)) >= 1


def table_message(kind: int, table: bytes, second: bytes = b"x", family: int = 1) -> bytes:
    names = b""
    for number, name in ((1, table), (2, second)):
        names += struct.pack("=HH", 5 + len(name), number) + name + bytes(-(5 + len(name)) % 4 + 1)
    body = struct.pack("=BBH", family, 0, 0) + names
    return struct.pack("=IHHII", 16 + len(body), 10 << 8 | kind, 0, 0, 0) + body


def test_changes_of_our_table_are_recognised() -> None:
    others = table_message(0, b"filter") + table_message(2, b"hagwx") + table_message(2, b"hagw", family=2)
    assert not is_about_our_table(others)
    for kind in (0, 2, 6, 8, 14):
        assert is_about_our_table(others + table_message(kind, b"hagw"))


def test_elements_of_the_running_sets_are_no_change() -> None:
    for kind in (12, 14):
        assert not is_about_our_table(table_message(kind, b"hagw", b"refused4"))
        assert is_about_our_table(table_message(kind, b"hagw", b"bypass4"))
    assert is_about_our_table(table_message(11, b"hagw", b"refused4"))  # the set itself is gone


@given(st.binary(max_size=300))
def test_damaged_table_messages_end_the_reading(data: bytes) -> None:
    is_about_our_table(data)
    assert is_about_our_table(table_message(2, b"hagw") + data)
