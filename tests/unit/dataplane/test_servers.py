"""What is remembered of servers, for how long, and that it stays bounded."""

from ipaddress import IPv4Address, ip_address, ip_network

from hagw.dataplane import servers
from hagw.dataplane.servers import BAD_S, GOOD_S, PLAIN_S, ServerMemory

SERVER = ip_address("203.0.113.10")


def test_nothing_is_tried_unless_configured() -> None:
    assert not ServerMemory().try_mptcp(SERVER, 443, 0.0)


def test_configured_prefixes_are_tried() -> None:
    memory = ServerMemory()
    memory.configure("off", (ip_network("203.0.113.0/24"), ip_network("2001:db8::/32")))
    assert memory.try_mptcp(SERVER, 443, 0.0)
    assert memory.try_mptcp(ip_address("2001:db8::1"), 443, 0.0)
    assert not memory.try_mptcp(ip_address("198.51.100.1"), 443, 0.0)


def test_auto_tries_everybody_once_an_hour() -> None:
    memory = ServerMemory()
    memory.configure("auto", ())
    assert memory.try_mptcp(SERVER, 443, 0.0)
    memory.learn(SERVER, 443, False, 0.0)
    assert not memory.try_mptcp(SERVER, 443, PLAIN_S - 1)
    assert memory.try_mptcp(SERVER, 80, PLAIN_S - 1)
    assert memory.try_mptcp(SERVER, 443, PLAIN_S)


def test_who_was_good_is_tried_for_a_day_even_when_off() -> None:
    memory = ServerMemory()
    memory.learn(SERVER, 443, True, 0.0)
    assert memory.try_mptcp(SERVER, 443, GOOD_S - 1)
    assert not memory.try_mptcp(SERVER, 443, GOOD_S)


def test_who_swallows_it_is_left_alone_for_a_day_even_when_configured() -> None:
    memory = ServerMemory()
    memory.configure("auto", (ip_network("203.0.113.0/24"),))
    memory.learn_blocked(SERVER, 443, 0.0)
    assert not memory.try_mptcp(SERVER, 443, BAD_S - 1)
    assert memory.try_mptcp(SERVER, 443, BAD_S)


def test_the_oldest_goes_when_it_is_full() -> None:
    memory = ServerMemory()
    for number in range(servers.SERVERS_MAX + 10):
        memory.learn(IPv4Address(number), 443, True, 0.0)
    assert not memory.try_mptcp(IPv4Address(9), 443, 1.0)
    assert memory.try_mptcp(IPv4Address(10), 443, 1.0)
    assert memory.try_mptcp(IPv4Address(servers.SERVERS_MAX + 9), 443, 1.0)


def test_what_is_over_is_forgotten() -> None:
    memory = ServerMemory()
    for number in range(servers.SERVERS_MAX):
        memory.learn(IPv4Address(number), 443, number % 2 == 0, 0.0)
    memory.forget_old(PLAIN_S + 1)
    assert memory.try_mptcp(IPv4Address(0), 443, PLAIN_S + 1)
    assert len(memory._until) == servers.SERVERS_MAX // 2
