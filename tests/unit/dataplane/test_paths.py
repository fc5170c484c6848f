"""The subflows of a connection against a scripted kernel: what is asked of it, when, and what is tried again."""

import errno
import socket
from dataclasses import replace
from itertools import pairwise

import pytest
from paths_rig import ALL, DSL, LTE, REMOTE, REMOTE6, WIFI, Kernel, table

from hagw.dataplane.flows import timeline
from hagw.dataplane.paths import JOIN_TIMEOUT_S, Paths
from hagw.dataplane.subflow_calls import BACKOFF_MAX_S, NOT_YET_S, RETRY_UNACKED_S
from hagw.model.ids import address_id


def test_every_allowed_line_gets_its_subflow_once(paths: Paths, kernel: Kernel) -> None:
    assert paths.reconcile(ALL, 0.0) is None
    assert sorted(kernel.asked()) == [
        ("create", "192.0.2.2", address_id(2, False), 12, False),
        ("create", "192.0.2.3", address_id(3, False), 13, False),
    ]
    paths.reconcile(ALL, 0.1)
    assert not kernel.asked()


def test_lines_that_are_not_allowed_stay_out(sock: socket.socket, kernel: Kernel) -> None:
    paths = Paths(sock, kernel, kernel, REMOTE, (1, "192.0.2.1"), frozenset((1, 3)), 0.0)  # type: ignore[arg-type]
    paths.reconcile(ALL, 0.0)
    assert [call[1] for call in kernel.asked()] == ["192.0.2.3"]


def test_a_line_without_the_family_is_left_alone(sock: socket.socket, kernel: Kernel) -> None:
    paths = Paths(sock, kernel, kernel, REMOTE6, (1, "2001:db8::1"), frozenset((1, 2)), 0.0)  # type: ignore[arg-type]
    paths.reconcile(ALL, 0.0)
    assert not kernel.asked()


def test_a_line_without_the_family_joins_in_the_other(sock: socket.socket, kernel: Kernel) -> None:
    lte6 = replace(LTE, address4=None, address6="2001:db8::2")
    paths = Paths(sock, kernel, kernel, REMOTE, (1, "192.0.2.1"), frozenset((1, 2, 3)), 0.0, other=REMOTE6)  # type: ignore[arg-type]
    paths.reconcile(table(DSL, lte6, WIFI), 0.0)
    assert sorted(kernel.asked()) == [
        ("create", "192.0.2.3", address_id(3, False), 13, False),
        ("create", "2001:db8::2", address_id(2, True), 12, False),
    ]
    # An IPv4 address that comes later is no reason to make it anew; the loss of the one it has is.
    paths.reconcile(table(DSL, replace(lte6, address4="192.0.2.2"), WIFI), 1.0)
    assert not kernel.asked()
    paths.reconcile(ALL, 2.0)
    assert kernel.asked() == [
        ("remove", address_id(2, True)),
        ("create", "192.0.2.2", address_id(2, False), 12, False),
    ]


def test_plain_tcp_has_no_subflows(kernel: Kernel) -> None:
    with socket.socket() as plain:
        paths = Paths(plain, kernel, kernel, REMOTE, (1, "192.0.2.1"), frozenset((1, 2)), 0.0)  # type: ignore[arg-type]
        assert not paths.is_multipath
        assert paths.reconcile(ALL, 0.0) is None
    assert not kernel.asked()


def test_before_the_first_acknowledgement_it_is_tried_again_soon(paths: Paths, kernel: Kernel) -> None:
    kernel.failing = dict.fromkeys(("192.0.2.2", "192.0.2.3"), errno.ENOTCONN)
    again = paths.reconcile(ALL, 0.02)
    assert again == 0.02 + RETRY_UNACKED_S
    assert paths.reconcile(ALL, 0.02 + RETRY_UNACKED_S / 2) == again
    assert len(kernel.asked()) == 2
    kernel.failing.clear()
    assert paths.reconcile(ALL, again) is None
    assert len(kernel.asked()) == 2


def test_a_connection_that_is_never_acknowledged_is_not_asked_for_all_the_time(paths: Paths, kernel: Kernel) -> None:
    kernel.failing = dict.fromkeys(("192.0.2.2", "192.0.2.3"), errno.ENOTCONN)
    now: float | None = 0.0
    while now is not None and now < 10.0:
        now = paths.reconcile(ALL, now)
    assert len(kernel.asked()) < 2 * 200


def test_other_failures_are_tried_again_ever_more_rarely(paths: Paths, kernel: Kernel) -> None:
    kernel.failing = {"192.0.2.2": errno.EINVAL}
    waits = []
    now = 0.0
    for _ in range(10):
        again = paths.reconcile(ALL, now)
        assert again is not None
        waits.append(again - now)
        now = again
    assert waits[0] == 0.25
    assert all(later == min(2 * sooner, BACKOFF_MAX_S) for sooner, later in pairwise(waits))


def test_a_join_that_is_not_answered_is_given_up_and_tried_again(paths: Paths, kernel: Kernel) -> None:
    kernel.establish("192.0.2.1")
    kernel.establish("192.0.2.3")
    paths.reconcile(ALL, 0.0)
    kernel.asked()
    paths.observe(JOIN_TIMEOUT_S)
    paths.reconcile(ALL, JOIN_TIMEOUT_S)
    assert not kernel.asked()
    late = JOIN_TIMEOUT_S + 0.01
    paths.observe(late)
    assert paths.joined() == 2
    again = paths.reconcile(ALL, late)
    assert again == late + 0.25
    paths.reconcile(ALL, again)
    assert kernel.asked() == [("create", "192.0.2.2", address_id(2, False), 12, False)]


def test_a_withheld_line_becomes_a_backup_and_back(paths: Paths, kernel: Kernel) -> None:
    for local in ("192.0.2.1", "192.0.2.2"):
        kernel.establish(local)
    paths.reconcile(table(DSL, LTE), 0.0)
    paths.observe(0.1)
    kernel.asked()
    paths.withhold({2: "slow"}, 0.2)
    paths.withhold({2: "slow"}, 0.2)
    assert kernel.asked() == [("backup", "192.0.2.2", True)]
    assert [(d["uplink"], d["state"], d["backup"]) for d in paths.documents(ALL)] == [
        ("dsl", "established", False),
        ("lte", "withheld", True),
    ]
    paths.withhold({}, 0.3)
    assert kernel.asked() == [("backup", "192.0.2.2", False)]


def test_what_happens_to_subflows_is_remembered(paths: Paths, kernel: Kernel) -> None:
    for local in ("192.0.2.1", "192.0.2.2"):
        kernel.establish(local)
    paths.reconcile(table(DSL, LTE), 0.0)
    paths.observe(0.1)
    paths.withhold({2: "slow"}, 0.2)
    paths.withhold({}, 0.3)
    paths.reconcile(table(DSL, replace(LTE, state="suspect", reason="silent")), 0.4)
    del kernel.subflows["192.0.2.1"]
    paths.observe(0.5)
    assert [
        (event["at_s"], event["uplink"], event["event"], event["reason"]) for event in timeline(paths, ALL, 0.1)
    ] == [
        (-0.1, "dsl", "asked", "the connection's first"),
        (-0.1, "lte", "asked", ""),
        (0.0, "dsl", "established", ""),
        (0.0, "lte", "established", ""),
        (0.1, "lte", "withheld", "slow"),
        (0.2, "lte", "released", ""),
        (0.3, "lte", "withdrawn", "suspect: silent"),
        (0.4, "dsl", "lost", ""),
    ]


def test_a_withheld_line_that_returns_joins_as_a_backup(paths: Paths, kernel: Kernel) -> None:
    paths.withheld = {2: "slow"}
    paths.reconcile(table(DSL, LTE), 0.0)
    assert kernel.asked() == [("create", "192.0.2.2", address_id(2, False), 12, True)]


def test_a_resting_connection_has_no_subflow_on_a_metered_line_until_it_is_put_to_work(
    paths: Paths, kernel: Kernel
) -> None:
    uplinks = table(DSL, replace(LTE, metered=True), WIFI)
    paths.resting = True
    paths.reconcile(uplinks, 1.0)
    assert [call[1] for call in kernel.asked()] == [WIFI.address4]
    paths.resting = False
    paths.reconcile(uplinks, 2.0)
    assert [call[1] for call in kernel.asked()] == [LTE.address4]


def test_a_resting_connection_whose_last_unmetered_line_dies_joins_a_metered_one(paths: Paths, kernel: Kernel) -> None:
    lte, wifi = replace(LTE, metered=True), replace(WIFI, metered=True)
    paths.resting = True
    kernel.establish("192.0.2.1")
    paths.observe(0.5)
    paths.reconcile(table(DSL, lte, wifi), 1.0)
    assert not kernel.asked()
    paths.reconcile(table(replace(DSL, state="suspect"), lte, wifi), 2.0)
    assert len([call for call in kernel.asked() if call[0] == "create"]) == 1


@pytest.mark.parametrize(("lived_s", "wait_s"), [(0.3, 0.25), (5.0, None)])
def test_a_subflow_that_had_lived_is_made_anew_at_once(
    paths: Paths, kernel: Kernel, lived_s: float, wait_s: float | None
) -> None:
    kernel.establish("192.0.2.1")
    kernel.establish("192.0.2.2")
    kernel.establish("192.0.2.3")
    paths.reconcile(ALL, 0.0)
    paths.observe(0.1)
    kernel.asked()
    del kernel.subflows["192.0.2.2"]
    paths.observe(lived_s)
    again = paths.reconcile(ALL, lived_s)
    if wait_s is None:
        assert (again, kernel.asked()) == (None, [("create", "192.0.2.2", address_id(2, False), 12, False)])
    else:
        assert (again, kernel.asked()) == (lived_s + wait_s, [])


def test_news_is_what_ended_though_it_is_counted_on_and_what_is_waited_for(paths: Paths, kernel: Kernel) -> None:
    kernel.establish("192.0.2.1")
    paths.reconcile(ALL, 0.0)
    paths.observe(0.1)
    assert paths.is_news(("192.0.2.1", 40_000), has_ended=True)
    assert not paths.is_news(("192.0.2.1", 39_999), has_ended=True), "an earlier one from the same address"
    assert not paths.is_news(("192.0.2.9", 40_000), has_ended=True)
    assert not paths.is_news(("192.0.2.2", 40_000), has_ended=False), "the next look will do"
    paths.withhold({2: "harms"}, 0.2)
    assert paths.is_news(("192.0.2.2", 40_000), has_ended=False), "it has to become a backup"
    assert not paths.is_news(("192.0.2.1", 40_000), has_ended=False)


def test_a_route_that_comes_a_little_later_than_the_address_is_found_soon(paths: Paths, kernel: Kernel) -> None:
    """Each wait is a small part of what was waited already; one that never comes costs little."""
    kernel.failing = {"192.0.2.2": errno.ENETUNREACH}
    now, tries = 0.0, 0
    while now < 60.0:
        again = paths.reconcile(ALL, now)
        assert again is not None
        assert 0.0 < again - now <= NOT_YET_S + 0.26 * now
        now, tries = again, tries + 1
    assert tries < 40


def test_a_line_in_reserve_joins_as_a_backup_and_is_opened_and_closed(paths: Paths, kernel: Kernel) -> None:
    paths.stand_by(frozenset((2,)))
    kernel.establish("192.0.2.1")
    paths.reconcile(table(DSL, LTE), 0.0)
    assert kernel.asked() == [("create", "192.0.2.2", address_id(2, ipv6=False), 12, True)]
    kernel.establish("192.0.2.2")
    paths.observe(0.1)
    assert [d["state"] for d in paths.documents(ALL)] == ["established", "standby"]
    paths.stand_by(frozenset())
    paths.stand_by(frozenset())
    assert kernel.asked() == [("backup", "192.0.2.2", False)]
    paths.stand_by(frozenset((2,)))
    assert kernel.asked() == [("backup", "192.0.2.2", True)]


def test_the_preferred_line_is_not_withheld_while_another_one_is_in_reserve(paths: Paths, kernel: Kernel) -> None:
    for local in ("192.0.2.1", "192.0.2.2"):
        kernel.establish(local)
    paths.stand_by(frozenset((2,)))
    paths.reconcile(table(DSL, LTE), 0.0)
    paths.observe(0.1)
    kernel.asked()
    paths.withhold({1: "slow"}, 0.2)
    assert kernel.asked() == []
    paths.stand_by(frozenset())
    assert kernel.asked() == [("backup", "192.0.2.1", True), ("backup", "192.0.2.2", False)]


def test_a_cold_reserve_is_joined_only_when_nothing_else_can_be(paths: Paths, kernel: Kernel) -> None:
    paths.cold = True
    paths.stand_by(frozenset((2, 3)))
    kernel.establish("192.0.2.1")
    paths.reconcile(table(DSL, LTE, WIFI), 0.0)
    assert kernel.asked() == []
    paths.stand_by(frozenset((3,)))
    paths.reconcile(table(replace(DSL, state="down"), LTE, WIFI), 1.0)
    assert ("create", "192.0.2.2", address_id(2, ipv6=False), 12, False) in kernel.asked()


def test_a_line_that_a_new_rule_forbids_is_left_once_another_one_stands(paths: Paths, kernel: Kernel) -> None:
    kernel.establish("192.0.2.1")
    paths.reconcile(table(DSL, LTE), 0.0)
    paths.observe(0.1)
    paths.allowed = frozenset((2,))
    kernel.asked()
    paths.reconcile(table(DSL, LTE), 0.2)
    assert kernel.asked() == [], "it is the only one"
    kernel.establish("192.0.2.2")
    paths.observe(0.3)
    paths.reconcile(table(DSL, LTE), 0.4)
    assert kernel.asked() == [("remove", 0), ("destroy", "192.0.2.1", 40_000)]
    assert set(paths.paths) == {2}


def test_the_shortest_round_trip_is_known_when_every_subflow_has_one(paths: Paths, kernel: Kernel) -> None:
    assert paths.shortest_s() is None
    kernel.establish("192.0.2.1")
    paths.observe(0.0)
    assert paths.shortest_s() == pytest.approx(0.018)
    paths.reconcile(ALL, 0.1)
    assert paths.shortest_s() is None  # two were asked for; the data may go over one of them and be quicker
    for local, min_rtt_us in (("192.0.2.2", 50_000), ("192.0.2.3", 9_000)):
        kernel.establish(local)
        kernel.subflows[local] = replace(kernel.subflows[local], min_rtt_us=min_rtt_us)
    paths.observe(0.2)
    assert paths.shortest_s() == pytest.approx(0.009)
