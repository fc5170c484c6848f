"""Where questions are sent from and to."""

from ipaddress import IPv4Address, IPv6Address

from hagw.model.facts import UplinkFacts
from hagw.model.intent import GatewayIntent, UplinkIntent
from hagw.probe.path import endpoints

V4, V6 = IPv4Address("192.0.2.1"), IPv6Address("2001:db8::1")
DSL = UplinkIntent("dsl", "dsl", "dsl0", slot=1)


def gateway(*addresses: IPv4Address | IPv6Address) -> GatewayIntent:
    return GatewayIntent("hag", addresses, 5124, 5125, "home", bytes(32))


def test_each_family_in_common_has_a_way_and_ipv4_is_preferred() -> None:
    ways = endpoints(DSL, UplinkFacts("dsl", 7, address4=V4, address6=V6), gateway(V6, V4))
    assert list(ways) == [4, 6]
    assert (ways[4].source, ways[4].destination, ways[4].port, ways[4].packet_bytes) == (V4, V4, 5125, 92)
    assert (ways[6].source, ways[6].destination, ways[6].packet_bytes) == (V6, V6, 112)


def test_ipv6_serves_where_ipv4_is_missing_on_either_side() -> None:
    both = UplinkFacts("dsl", 7, address4=V4, address6=V6)
    for facts, hag in ((both, gateway(V6)), (UplinkFacts("dsl", 7, address6=V6), gateway(V4, V6))):
        assert [ends.source for ends in endpoints(DSL, facts, hag).values()] == [V6]


def test_without_an_interface_or_a_common_family_there_is_no_path() -> None:
    assert endpoints(DSL, UplinkFacts("dsl", None, address4=V4), gateway(V4)) == {}
    assert endpoints(DSL, UplinkFacts("dsl", 7, address4=V4), gateway(V6)) == {}
