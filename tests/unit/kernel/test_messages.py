"""rtnetlink messages as bytes, and what is read out of them."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from hagw.kernel.messages import ADDRESSES, LINKS, ROUTES, RULES, message_of
from hagw.kernel.netlink import attribute

LAYOUTS = (LINKS, ADDRESSES, ROUTES, RULES)


def test_a_link_says_name_size_and_addresses() -> None:
    body = struct.pack("=BxHiII", 0, 1, 7, 0x10043, 0)
    body += attribute(3, b"dsl0\0") + attribute(4, struct.pack("=I", 1492)) + attribute(33, b"\1")
    link = message_of(LINKS, body + attribute(1, bytes.fromhex("0200000000ff")))
    assert link is not None
    assert (link["index"], link["flags"]) == (7, 0x10043)
    assert link.get_attr("IFLA_IFNAME") == "dsl0"
    assert (link.get_attr("IFLA_MTU"), link.get_attr("IFLA_CARRIER")) == (1492, 1)
    assert link.get_attr("IFLA_ADDRESS") == "02:00:00:00:00:ff"
    assert link.get_attr("IFLA_PERM_ADDRESS") is None


def test_a_route_of_several_next_hops_says_each() -> None:
    def hop(index: int, gateway: bytes) -> bytes:
        inner = attribute(5, gateway)
        return struct.pack("=HBBi", 8 + len(inner), 0, 0, index) + inner

    body = struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 3, 0, 1, 0)
    hops = hop(3, bytes([10, 1, 0, 1])) + hop(4, bytes([10, 2, 0, 1]))
    route = message_of(ROUTES, body + attribute(9, hops) + attribute(15, struct.pack("=I", 5191)))
    assert route is not None
    assert route.get_attr("RTA_TABLE") == 5191
    found = [(each["oif"], each.get_attr("RTA_GATEWAY")) for each in route.get_attr("RTA_MULTIPATH")]
    assert found == [(3, "10.1.0.1"), (4, "10.2.0.1")]


def test_a_rule_says_its_selectors() -> None:
    body = struct.pack("=BBBBBBBBI", 10, 0, 128, 0, 252, 0, 0, 1, 0)
    body += attribute(2, bytes.fromhex("20010db8000100000000000000000002")) + attribute(21, b"\x68")
    body += attribute(10, struct.pack("=I", 0x1000000)) + attribute(14, struct.pack("=I", 0xFFFFFFFF))
    rule = message_of(RULES, body)
    assert rule is not None
    assert rule.get_attr("FRA_SRC") == "2001:db8:1::2"
    assert (rule.get_attr("FRA_PROTOCOL"), rule.get_attr("FRA_FWMARK")) == (104, 0x1000000)
    assert rule.get_attr("FRA_SUPPRESS_PREFIXLEN") == 0xFFFFFFFF


@given(st.binary(max_size=200))
def test_damaged_messages_are_read_as_far_as_they_go(data: bytes) -> None:
    for each in LAYOUTS:
        message = message_of(each, data)
        for name, (number, _) in each.known.items():
            if message is not None and number != 9:
                message.get_attr(name)


@given(st.binary(max_size=100))
def test_damaged_next_hops_end_the_reading(data: bytes) -> None:
    message = message_of(ROUTES, bytes(12) + attribute(9, data))
    assert message is not None
    message.get_attr("RTA_MULTIPATH")
