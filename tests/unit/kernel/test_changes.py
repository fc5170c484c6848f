"""Changes as bytes, read back as the kernel would."""

from ipaddress import ip_address, ip_interface

import pytest

from hagw.kernel import changes
from hagw.kernel.changes import Change
from hagw.kernel.messages import ADDRESSES, LINKS, ROUTES, RULES, Layout, Message, message_of
from hagw.kernel.netlink import attributes
from hagw.model.ids import ADDRESS_PROTOCOL, MARK_MASK, ROUTE_PROTOCOL
from hagw.model.resources import Family, Route, Rule

CREATE, EXCL, REPLACE, ACK = 0x400, 0x200, 0x100, 0x4
FRA_FWMASK = 16


def read(layout: Layout, change: Change) -> Message:
    found = message_of(layout, change.payload)
    assert found is not None
    return found


@pytest.mark.parametrize(("family", "gateway"), [(4, "10.1.0.1"), (6, "fe80::1")])
def test_a_route_replaces_the_one_there_by_way_of_its_gateway(family: Family, gateway: str) -> None:
    change = changes.route_replaced(Route(family, 5191, "lo", ip_address(gateway)))
    route = read(ROUTES, change)
    assert change.flags == ACK | CREATE | REPLACE
    assert (route["type"], route["scope"], route["flags"], route["proto"]) == (1, 0, 4, ROUTE_PROTOCOL)
    assert (route.get_attr("RTA_GATEWAY"), route.get_attr("RTA_TABLE"), route.get_attr("RTA_OIF")) == (gateway, 5191, 1)


def test_a_line_without_gateway_and_the_local_route_have_their_scopes() -> None:
    direct = read(ROUTES, changes.route_replaced(Route(4, 5101, "lo", None)))
    local = read(ROUTES, changes.route_replaced(Route(4, 5190, "lo", None, kind="local")))
    assert (direct["type"], direct["scope"], direct.get_attr("RTA_GATEWAY")) == (1, 253, None)
    assert (local["type"], local["scope"]) == (2, 254)


def test_a_route_is_deleted_wherever_it_leads() -> None:
    route = read(ROUTES, changes.route_deleted(Route(4, 5101, "gone0", ip_address("10.1.0.1"))))
    assert (route["type"], route["scope"], route.get_attr("RTA_OIF")) == (0, 255, None)
    assert read(ROUTES, changes.route_deleted(Route(4, 5190, "lo", None, kind="local")))["type"] == 2


def test_a_rule_says_all_that_it_selects() -> None:
    wanted = Rule(6, 5103, 5101, mark=0x1000000, source=ip_address("2001:db8::1"), incoming="lo", suppress_default=True)
    change = changes.rule_added(wanted)
    rule = read(RULES, change)
    assert change.flags == ACK | CREATE | EXCL
    assert (rule["src_len"], rule["action"], rule.get_attr("FRA_SRC")) == (128, 1, "2001:db8::1")
    assert (rule.get_attr("FRA_PRIORITY"), rule.get_attr("FRA_TABLE")) == (5103, 5101)
    assert (rule.get_attr("FRA_IIFNAME"), rule.get_attr("FRA_SUPPRESS_PREFIXLEN")) == ("lo", 0)
    assert (rule.get_attr("FRA_FWMARK"), rule.get_attr("FRA_PROTOCOL")) == (0x1000000, ROUTE_PROTOCOL)
    masks = dict(attributes(change.payload[RULES.fixed.size :]))
    assert int.from_bytes(masks[FRA_FWMASK], "little") == MARK_MASK
    assert read(RULES, changes.rule_added(wanted, 2)).get_attr("FRA_PROTOCOL") == 2
    assert changes.rule_deleted(wanted).payload == change.payload


def test_addresses_carry_our_number_and_need_no_second_of_doubt() -> None:
    four = changes.address_added(7, ip_interface("192.0.2.2/24"))
    six = changes.address_added(7, ip_interface("2001:db8::2/64"))
    assert read(ADDRESSES, four)["prefixlen"] == 24
    assert read(ADDRESSES, four).get_attr("IFA_LOCAL") == "192.0.2.2"
    assert dict(attributes(four.payload[ADDRESSES.fixed.size :]))[4] == bytes([192, 0, 2, 255])
    assert (read(ADDRESSES, six)["flags"], read(ADDRESSES, six).get_attr("IFA_ADDRESS")) == (2, "2001:db8::2")
    assert read(ADDRESSES, six).get_attr("IFA_PROTO") == ADDRESS_PROTOCOL
    point = changes.address_added(7, ip_interface("192.0.2.2/31"))
    assert 4 not in dict(attributes(point.payload[ADDRESSES.fixed.size :]))
    assert read(ADDRESSES, changes.address_deleted(7, ip_interface("192.0.2.2/24"))).get_attr("IFA_PROTO") is None


def test_an_interface_gets_an_mtu_or_goes_up_or_down() -> None:
    mtu = read(LINKS, changes.mtu_set(7, 1492))
    assert (mtu["index"], mtu["change"], mtu.get_attr("IFLA_MTU")) == (7, 0, 1492)
    assert [
        (up["flags"], up["change"]) for up in (read(LINKS, changes.up_set(7, is_up)) for is_up in (True, False))
    ] == [
        (1, 1),
        (0, 1),
    ]
