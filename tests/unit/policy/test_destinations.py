"""Which servers a customer may reach through the gateway."""

from ipaddress import ip_address, ip_network

import pytest

from hagw.policy.destinations import DestinationRules

RULES = DestinationRules(
    allow=(ip_network("10.9.0.0/16"),),
    deny=(ip_network("10.9.9.0/24"), ip_network("203.0.113.66/32")),
    own=frozenset((ip_address("203.0.113.1"), ip_address("10.9.0.1"))),
)


@pytest.mark.parametrize(
    ("address", "port", "refusal"),
    [
        ("203.0.113.10", 443, None),
        ("2001:db8::1", 443, None),
        ("198.18.0.1", 443, None),
        ("203.0.113.66", 443, "denied by configuration"),
        ("203.0.113.1", 443, "one of the gateway's own addresses"),
        ("203.0.113.10", 25, "mail relay port"),
        ("203.0.113.10", 587, None),
        ("10.8.0.1", 443, "not a public address"),
        ("10.9.0.2", 443, None),
        ("10.9.0.2", 25, None),
        ("10.9.9.2", 443, "denied by configuration"),
        ("10.9.0.1", 443, "one of the gateway's own addresses"),
        ("192.168.1.1", 443, "not a public address"),
        ("172.16.0.1", 443, "not a public address"),
        ("172.32.0.1", 443, None),
        ("100.64.0.1", 443, "not a public address"),
        ("169.254.169.254", 80, "not a public address"),
        ("127.0.0.1", 443, "not a public address"),
        ("0.0.0.0", 443, "not a public address"),
        ("255.255.255.255", 443, "not a public address"),
        ("224.0.0.1", 443, "not a public address"),
        ("::1", 443, "not a public address"),
        ("fd77::11", 443, "not a public address"),
        ("fe80::1", 443, "not a public address"),
        ("ff02::1", 443, "not a public address"),
        ("64:ff9b::a08:1", 443, "not a public address"),
        ("64:ff9b::cb00:710a", 443, None),
        ("2002:a08:1::1", 443, "not a public address"),
        ("::ffff:10.8.0.1", 443, "not a public address"),
    ],
)
def test_who_may_be_reached(address: str, port: int, refusal: str | None) -> None:
    assert RULES.refusal(ip_address(address), port) == refusal
