"""Reading interface counters."""

from hagw.probe.counters import CounterFile, link_header_bytes


def test_counters_of_existing_interfaces_are_read_and_missing_ones_left_out() -> None:
    counters = CounterFile()
    try:
        first = counters.read({b"lo", b"nosuch0"})
        second = counters.read({b"lo"})
    finally:
        counters.close()
    assert set(first) == {b"lo"}
    assert second[b"lo"].rx_packets >= first[b"lo"].rx_packets


def test_the_header_is_that_of_ethernet_or_none() -> None:
    assert link_header_bytes("lo") == 0
    assert link_header_bytes("nosuch0") == 14
