"""When the reconcile loop looks again although nothing asked for it."""

from hagw.control.pace import FULL_PASS_S, MINUTE_S, RETRY_S, Pace


def test_a_pass_is_made_now_and_then_and_when_something_falls_due() -> None:
    pace = Pace()
    assert pace.patience_s(100.0, (None, None), None) == FULL_PASS_S
    assert pace.patience_s(100.0, (None, 101.5), None) == 1.5
    assert pace.patience_s(100.0, (99.0, 101.5), None) == 0.0


def test_rules_with_hours_are_looked_at_on_the_full_minute() -> None:
    assert Pace().patience_s(100.0, (), 7 * MINUTE_S + 48.0) == MINUTE_S - 48.0
    assert Pace().patience_s(100.0, (102.0,), 7 * MINUTE_S + 48.0) == 2.0


def test_failures_in_a_row_are_tried_again_ever_later_and_forgotten_when_a_pass_is_through() -> None:
    pace, waits = Pace(), []
    for _ in range(len(RETRY_S) + 2):
        pace.failed()
        waits.append(pace.patience_s(100.0, (100.0,), None))
    assert waits == [*RETRY_S, RETRY_S[-1], RETRY_S[-1]]
    pace.trouble = "The nft table cannot be put."
    pace.reached()
    assert not pace.is_failing
    assert pace.trouble == ""
    assert pace.patience_s(100.0, (), None) == FULL_PASS_S
