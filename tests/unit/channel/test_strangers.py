"""Bounds on who has not logged in, and on how often something is done."""

from hagw.channel.strangers import FROM_A_SOURCE_MAX, STRANGERS_MAX, Quota, Strangers


def test_all_strangers_together_are_bounded_and_leave_nothing_behind() -> None:
    strangers = Strangers()
    sources = [f"2001:db8:{network:x}::1" for network in range(2 * STRANGERS_MAX)]
    entered = [source for source in sources if strangers.enter(source)]
    assert len(entered) == STRANGERS_MAX
    assert strangers.turned_away == STRANGERS_MAX
    for source in entered:
        strangers.leave(source)
    assert all(strangers.enter(source) for source in sources[:STRANGERS_MAX])


def test_an_ipv6_network_is_one_source_and_an_ipv4_address_is() -> None:
    strangers = Strangers()
    assert sum(strangers.enter(f"2001:db8::{host:x}") for host in range(2 * FROM_A_SOURCE_MAX)) == FROM_A_SOURCE_MAX
    assert strangers.enter("2001:db8:0:1::1")
    assert all(strangers.enter(f"192.0.2.{host}") for host in range(FROM_A_SOURCE_MAX))


def test_a_quota_is_used_up_and_comes_back() -> None:
    quota = Quota(3, 2.0)
    assert [quota.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert [quota.take(100.6), quota.take(100.6)] == [True, False]
    assert [quota.take(1000.0) for _ in range(4)] == [True, True, True, False]
