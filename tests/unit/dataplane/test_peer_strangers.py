"""Strangers are few in all and from one source; who fails all the time is shut out, and nobody beside."""

from dataclasses import dataclass

from hagw.dataplane.strangers import FAILURES_BURST, FROM_A_SOURCE_MAX, STRANGERS_MAX, Strangers


@dataclass
class Someone:
    id: int


def full(addresses: list[str]) -> Strangers[Someone]:
    strangers: Strangers[Someone] = Strangers()
    for number, address in enumerate(addresses):
        gone = strangers.surplus(address)
        if gone is not None:
            strangers.drop(gone.id)
        strangers.add(Someone(number), address)
    return strangers


def test_the_oldest_of_a_source_makes_room_for_its_next() -> None:
    strangers = full(["198.51.100.1", *["192.0.2.1"] * FROM_A_SOURCE_MAX])
    surplus = strangers.surplus("192.0.2.1")
    assert surplus is not None
    assert surplus.id == 1
    assert strangers.surplus("198.51.100.1") is None


def test_an_ipv6_network_is_one_source() -> None:
    strangers = full([f"2001:db8::{host:x}" for host in range(3 * FROM_A_SOURCE_MAX)])
    assert len(strangers) == FROM_A_SOURCE_MAX
    assert strangers.surplus("2001:db8:0:1::1") is None


def test_all_together_are_bounded() -> None:
    strangers = full([f"10.{n >> 8}.{n & 255}.1" for n in range(2 * STRANGERS_MAX)])
    assert len(strangers) == STRANGERS_MAX
    for number in range(2 * STRANGERS_MAX):
        strangers.drop(number)
    assert len(strangers) == 0
    assert strangers.surplus("10.0.0.1") is None


def test_who_fails_all_the_time_is_shut_out_for_as_long_as_it_goes_on() -> None:
    strangers: Strangers[Someone] = Strangers()
    for _ in range(int(FAILURES_BURST)):
        assert not strangers.is_shut("192.0.2.1", 5.0)
        strangers.failed("192.0.2.1", 5.0)
    assert strangers.is_shut("192.0.2.1", 5.0)
    assert not strangers.is_shut("192.0.2.2", 5.0)
    assert not strangers.is_shut("192.0.2.1", 5.1)


def test_failures_of_millions_of_sources_are_remembered_of_few() -> None:
    strangers: Strangers[Someone] = Strangers()
    for number in range(5_000):
        strangers.failed(f"10.{number >> 8}.{number & 255}.1", 5.0)
    assert len(strangers._failing) == 1_000
