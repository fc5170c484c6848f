"""Lines that are lost or change under a connection: what is withdrawn, in which order, and what has to stay."""

import errno
from dataclasses import replace

import pytest
from paths_rig import ALL, DSL, INFO, LTE, WIFI, Kernel, table

from hagw.dataplane.paths import Paths
from hagw.dataplane.subflow_calls import TOLD_APART_S
from hagw.model.ids import address_id, other_address_id


def test_a_lost_line_is_withdrawn_at_both_ends(paths: Paths, kernel: Kernel) -> None:
    for local in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
        kernel.establish(local, 41_000)
    paths.reconcile(ALL, 0.0)
    kernel.asked()
    paths.reconcile(table(DSL, replace(LTE, state="down"), WIFI), 1.0)
    assert kernel.asked() == [("remove", address_id(2, False)), ("destroy", "192.0.2.2", 41_000)]
    assert kernel.destroyed_on == [12], "else our kernel goes on sending what the subflow holds"
    paths.reconcile(table(DSL, replace(LTE, state="down"), WIFI), 1.1)
    assert not kernel.asked()


@pytest.mark.parametrize("state", ["suspect", "down", "disabled"])
def test_the_line_of_the_initial_subflow_is_withdrawn_as_address_0(paths: Paths, kernel: Kernel, state: str) -> None:
    kernel.establish("192.0.2.1", 41_000)
    paths.reconcile(ALL, 0.0)
    kernel.establish("192.0.2.2")
    paths.observe(0.1)
    kernel.asked()
    paths.reconcile(table(replace(DSL, state=state), LTE, WIFI), 1.0)  # type: ignore[arg-type]
    assert kernel.asked() == [("remove", 0), ("destroy", "192.0.2.1", 41_000)]
    del kernel.subflows["192.0.2.1"]
    paths.reconcile(ALL, 2.0)
    assert kernel.asked() == [("create", "192.0.2.1", address_id(1, False), 11, False)]


def test_the_line_is_joined_again_at_once_when_it_returns(paths: Paths, kernel: Kernel) -> None:
    kernel.failing = {"192.0.2.2": errno.ENETUNREACH}
    for now in range(6):
        paths.reconcile(ALL, float(now))
    kernel.failing.clear()
    kernel.establish("192.0.2.1")
    kernel.establish("192.0.2.2")
    paths.reconcile(ALL, 40.0)
    paths.observe(40.1)
    kernel.asked()
    paths.reconcile(table(DSL, WIFI), 41.0)
    del kernel.subflows["192.0.2.2"]
    kernel.asked()
    assert paths.reconcile(ALL, 41.2) is None
    assert kernel.asked() == [("create", "192.0.2.2", other_address_id(2, False), 12, False)]


def test_the_last_line_is_kept(paths: Paths, kernel: Kernel) -> None:
    """Better a subflow on a line in doubt than none: the line may come back, and then nothing is lost."""
    kernel.establish("192.0.2.1")
    paths.reconcile(table(DSL), 0.0)
    paths.reconcile(table(replace(DSL, state="down"), replace(LTE, state="down")), 1.0)
    assert not kernel.asked()
    assert set(paths.paths) == {1}


def test_the_last_line_goes_when_another_is_back(paths: Paths, kernel: Kernel) -> None:
    kernel.establish("192.0.2.1")
    paths.reconcile(table(replace(DSL, state="down")), 1.0)
    again = paths.reconcile(table(replace(DSL, state="down"), LTE), 2.0)
    assert again is not None
    kernel.establish("192.0.2.2")
    paths.reconcile(table(replace(DSL, state="down"), LTE), again)
    paths.reconcile(table(replace(DSL, state="down"), LTE), again + 0.03)
    calls = kernel.asked()
    assert ("remove", 0) in calls
    assert ("create", "192.0.2.2", address_id(2, False), 12, False) in calls


def test_a_new_address_replaces_the_old_one(paths: Paths, kernel: Kernel) -> None:
    for local in ("192.0.2.1", "192.0.2.2"):
        kernel.establish(local, 41_000)
    paths.reconcile(ALL, 0.0)
    kernel.asked()
    paths.reconcile(table(DSL, replace(LTE, address4="192.0.2.22"), WIFI), 1.0)
    assert kernel.asked() == [
        ("remove", address_id(2, False)),
        ("destroy", "192.0.2.2", 41_000),
        ("create", "192.0.2.22", other_address_id(2, False), 12, False),
    ]


def test_ids_take_turns_so_that_a_late_withdrawal_does_not_hit_the_new_subflow(paths: Paths, kernel: Kernel) -> None:
    made = []
    for turn in range(4):
        paths.reconcile(table(DSL, replace(LTE, address4=f"192.0.2.2{turn}")), float(turn))
        made += [call[2] for call in kernel.asked() if call[0] == "create"]
    first, other = address_id(2, False), other_address_id(2, False)
    assert made == [first, other, first, other]


def test_an_interface_made_anew_with_the_old_address_needs_a_new_subflow(paths: Paths, kernel: Kernel) -> None:
    kernel.establish("192.0.2.1", 40_000)
    kernel.establish("192.0.2.2", 41_000)
    paths.reconcile(ALL, 0.0)
    kernel.asked()
    paths.reconcile(table(replace(DSL, ifindex=21), replace(LTE, ifindex=22), WIFI), 1.0)
    assert kernel.asked() == [
        ("remove", 0),
        ("destroy", "192.0.2.1", 40_000),
        ("create", "192.0.2.1", address_id(1, False), 21, False),
        ("remove", address_id(2, False)),
        ("destroy", "192.0.2.2", 41_000),
        ("create", "192.0.2.2", other_address_id(2, False), 22, False),
    ]


def test_a_subflow_that_ended_before_its_address_changed_leaves_no_pair_behind(paths: Paths, kernel: Kernel) -> None:
    """The kernel refuses a known address with another id, and a known id with another address."""
    paths.reconcile(ALL, 0.0)
    kernel.establish("192.0.2.2")
    paths.observe(1.0)
    del kernel.subflows["192.0.2.2"]
    paths.observe(2.0)
    kernel.asked()
    paths.reconcile(table(DSL, replace(LTE, address4="192.0.2.22"), WIFI), 10.0)
    assert kernel.asked() == [
        ("remove", address_id(2, False)),
        ("create", "192.0.2.22", other_address_id(2, False), 12, False),
    ]


def test_a_new_address_of_the_only_line_is_used_although_the_old_one_is_dead(paths: Paths, kernel: Kernel) -> None:
    kernel.establish("192.0.2.1")
    paths.reconcile(table(replace(DSL, address4="192.0.2.11")), 1.0)
    assert [call[0] for call in kernel.asked()] == ["remove", "destroy", "create"]


def test_the_last_subflow_stays_until_another_one_stands(paths: Paths, kernel: Kernel) -> None:
    """A peer that has closed its direction refuses joins: without its only subflow the connection would hang."""
    kernel.establish("192.0.2.1")
    paths.reconcile(ALL, 0.0)
    kernel.asked()
    without_dsl = table(replace(DSL, state="suspect"), LTE, WIFI)
    again = paths.reconcile(without_dsl, 1.0)
    assert again is not None
    assert again - 1.0 < 0.05, "looked at soon"
    assert not kernel.asked(), "the joins are under way"
    kernel.establish("192.0.2.3")
    paths.reconcile(without_dsl, 1.1)
    assert not kernel.asked(), "the peer may still refuse it"
    paths.reconcile(without_dsl, 1.1 + INFO.srtt_us / 1e6)
    assert kernel.asked() == [("remove", 0), ("destroy", "192.0.2.1", 40_000)]


def test_a_replacement_that_never_comes_is_looked_for_ever_more_rarely(paths: Paths, kernel: Kernel) -> None:
    kernel.establish("192.0.2.1")
    paths.reconcile(ALL, 0.0)
    now, looks = 1.0, 0
    while now < 11.0:
        again = paths.reconcile(table(replace(DSL, state="down"), LTE, WIFI), now)
        assert again is not None
        now, looks = again, looks + 1
    assert looks < 40
    assert set(paths.paths) >= {1}


def test_the_kernel_may_have_been_quicker(paths: Paths, kernel: Kernel) -> None:
    kernel.establish("192.0.2.1")
    kernel.establish("192.0.2.2")
    paths.reconcile(ALL, 0.0)
    kernel.withdrawing_fails = True
    paths.reconcile(table(DSL, WIFI), 1.0)
    assert 2 not in paths.paths


def test_an_ipv6_sockets_ipv4_subflow_is_named_as_the_kernel_knows_it(paths: Paths, kernel: Kernel) -> None:
    paths.reconcile(ALL, 0.0)
    kernel.establish("192.0.2.1")
    kernel.subflows["192.0.2.1"] = replace(kernel.subflows["192.0.2.1"], mapped=True)
    kernel.establish("192.0.2.2")
    paths.observe(0.1)
    kernel.asked()
    paths.reconcile(table(LTE, WIFI), 0.2)
    assert ("destroy", "::ffff:c000:201", 40_000) in kernel.asked()


def test_a_line_that_jams_is_withdrawn_so_that_what_it_holds_is_sent_again_and_comes_back_in_reserve(
    paths: Paths, kernel: Kernel
) -> None:
    paths.reconcile(ALL, 0.0)
    for local in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
        kernel.establish(local, 41_000)
    paths.observe(0.1)
    kernel.asked()
    paths.withhold({2: "too slow"}, 0.2, frozenset((2,)))
    assert kernel.asked() == [("remove", address_id(2, False)), ("destroy", "192.0.2.2", 41_000)]
    del kernel.subflows["192.0.2.2"]
    paths.reconcile(ALL, 0.2)
    assert kernel.asked() == [("create", "192.0.2.2", other_address_id(2, False), 12, True)]
    kernel.establish("192.0.2.2", 42_000)
    paths.observe(0.3)
    paths.withhold({2: "still too slow"}, 0.4, frozenset((2,)))
    assert not kernel.asked()


def test_a_line_that_jams_stays_while_no_other_one_stands(paths: Paths, kernel: Kernel) -> None:
    kernel.establish("192.0.2.1", 41_000)
    paths.reconcile(ALL, 0.0)
    paths.observe(0.1)
    kernel.asked()
    paths.withhold({1: "too slow"}, 0.2, frozenset((1,)))
    assert kernel.asked() == [("backup", "192.0.2.1", True)]


def over_three(paths: Paths, kernel: Kernel) -> None:
    for local in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
        kernel.establish(local, 41_000)
    paths.reconcile(ALL, 0.0)
    paths.observe(0.1)
    kernel.asked()


def test_two_lines_lost_at_once_are_told_one_after_the_other_over_the_third(paths: Paths, kernel: Kernel) -> None:
    """Told at once, the second would be forgotten by the peer; told over each other, both would be lost."""
    over_three(paths, kernel)
    without = table(replace(DSL, state="down"), replace(LTE, state="down"), WIFI)
    again = paths.reconcile(without, 1.0)
    initial = [("remove", 0), ("destroy", "192.0.2.1", 41_000)]
    joined = [("announce", address_id(2, False), "192.0.2.2"), ("remove", address_id(2, False))]
    first = kernel.asked()
    assert first[0] == ("break", "192.0.2.2", 12)
    assert first[1:] in (initial, joined)
    assert again == pytest.approx(1.0 + TOLD_APART_S)
    assert paths.reconcile(without, 1.01) == again, "not yet"
    assert not kernel.asked()
    paths.reconcile(without, 1.0 + TOLD_APART_S)
    assert [first[1:], kernel.asked()] in ([initial, joined], [joined, initial])


def test_a_line_told_of_a_moment_before_another_is_lost_is_told_of_again(paths: Paths, kernel: Kernel) -> None:
    over_three(paths, kernel)
    paths.reconcile(table(DSL, replace(LTE, state="suspect"), WIFI), 1.0)
    assert kernel.asked() == [("remove", address_id(2, False)), ("destroy", "192.0.2.2", 41_000)]
    del kernel.subflows["192.0.2.2"]
    without = table(replace(DSL, state="down"), replace(LTE, state="down"), WIFI)
    again = paths.reconcile(without, 1.004)
    while again is not None:
        again = paths.reconcile(without, again)
    assert kernel.asked() == [
        ("remove", 0),
        ("destroy", "192.0.2.1", 41_000),
        ("announce", address_id(2, False), "192.0.2.2"),
        ("remove", address_id(2, False)),
    ]


def test_lines_lost_long_after_each_other_are_told_of_once(paths: Paths, kernel: Kernel) -> None:
    over_three(paths, kernel)
    paths.reconcile(table(DSL, replace(LTE, state="down"), WIFI), 1.0)
    del kernel.subflows["192.0.2.2"]
    kernel.asked()
    assert paths.reconcile(table(replace(DSL, state="down"), replace(LTE, state="down"), WIFI), 3.0) is None
    assert kernel.asked() == [("remove", 0), ("destroy", "192.0.2.1", 41_000)]


def test_what_was_told_of_an_id_is_not_told_again_once_another_subflow_has_it(paths: Paths, kernel: Kernel) -> None:
    """A line that comes and goes: the gateway would end the subflow that stands over it now."""
    over_three(paths, kernel)
    without_lte = table(DSL, replace(LTE, state="down"), WIFI)
    for lost_at in (1.0, 1.3):
        again: float | None = lost_at
        while again is not None:
            again = paths.reconcile(without_lte, again)
        kernel.subflows.pop("192.0.2.2", None)
        paths.reconcile(ALL, lost_at + 0.2)
        kernel.establish("192.0.2.2", 42_000)
        paths.observe(lost_at + 0.25)
    assert ("create", "192.0.2.2", address_id(2, False), 12, False) in kernel.asked()
    again = 1.8
    while again is not None:
        again = paths.reconcile(table(replace(DSL, state="down"), LTE, WIFI), again)
    assert ("remove", address_id(2, False)) not in kernel.asked()
    assert 2 in paths.paths
