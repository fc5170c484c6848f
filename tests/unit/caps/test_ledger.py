"""From counters to accounts: nothing is counted twice, nothing that passed is lost."""

from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from hagw.caps.ledger import PERIODS_KEPT, carried, corrected, count
from hagw.model.intent import DataCapIntent
from hagw.model.usage import Account, Ledger, Reading, Volume

NOW = datetime.fromisoformat("2026-11-23T12:00")
CAP = DataCapIntent("plan", ("lte",), 10**9)
DAY = timedelta(days=1)


def reading(down: int, up: int = 0, *, ifindex: int = 7, newest: int = 9, namespace: str = "boot/1") -> Reading:
    return Reading(namespace, ifindex, newest, Volume(down, up))


def after(*readings: Reading, now: datetime = NOW, ledger: Ledger | None = None) -> Ledger:
    """Return the ledger after these looks at the line lte."""
    found = ledger or Ledger()
    for each in readings:
        found, _ = count(found, [CAP], {"lte": each}, now)
    return found


def used(ledger: Ledger) -> int:
    return ledger.books["plan"].now.used


def test_what_passed_before_the_first_look_is_not_counted() -> None:
    assert used(after(reading(5000))) == 0
    assert used(after(reading(5000), reading(5600, 50))) == 650


def test_an_interface_made_anew_counts_from_zero() -> None:
    assert used(after(reading(100), reading(300), reading(40, ifindex=10, newest=10))) == 240


def test_a_reboot_counts_from_zero() -> None:
    assert used(after(reading(100), reading(300), reading(40, ifindex=3, namespace="boot/2"))) == 240


def test_another_interface_keeps_its_past_to_itself() -> None:
    assert used(after(reading(100), reading(9000, ifindex=4), reading(9100, ifindex=4))) == 100


def test_a_counter_reset_by_its_driver_counts_from_zero() -> None:
    assert carried(reading(500, 70), reading(20, 80)) == Volume(20, 10)


def test_a_line_without_an_interface_keeps_what_it_used() -> None:
    ledger, moved = count(after(reading(0), reading(100)), [CAP], {}, NOW)
    assert (used(ledger), moved) == (100, {})
    assert used(after(reading(150), ledger=ledger)) == 150


def test_what_a_stopped_daemon_did_not_see_is_booked_at_the_first_look() -> None:
    saved = after(reading(0), reading(100))
    assert used(after(reading(100_000), now=NOW + timedelta(hours=5), ledger=saved)) == 100_000


def test_lines_share_a_cap_and_a_line_may_be_in_several() -> None:
    caps = [replace(CAP, name="both", uplinks=("lte", "wwan")), CAP]
    ledger, _ = count(Ledger(), caps, {"lte": reading(0), "wwan": reading(0, ifindex=8)}, NOW)
    ledger, moved = count(ledger, caps, {"lte": reading(10), "wwan": reading(0, 5, ifindex=8)}, NOW)
    assert moved == {"lte": Volume(10, 0), "wwan": Volume(0, 5)}
    assert ledger.books["both"].now.lines == {"lte": Volume(10, 0), "wwan": Volume(0, 5)}
    assert used(ledger) == 10


def test_a_new_period_begins_empty_and_the_old_one_is_kept() -> None:
    ledger = after(reading(0), reading(100))
    ledger = after(reading(130), now=datetime.fromisoformat("2026-12-01T00:00:01"), ledger=ledger)
    book = ledger.books["plan"]
    assert (book.now.begin, book.now.used) == (datetime.fromisoformat("2026-12-01"), 30)
    assert [(each.begin, each.used) for each in book.earlier] == [(datetime.fromisoformat("2026-11-01"), 100)]


def test_only_so_many_periods_are_kept() -> None:
    ledger = Ledger()
    for month in range(40):
        ledger = after(reading(month), now=NOW + 31 * DAY * month, ledger=ledger)
    assert len(ledger.books["plan"].earlier) == PERIODS_KEPT


def test_a_clock_that_starts_in_1970_finds_its_account() -> None:
    ledger = after(reading(0), reading(100))
    ledger = after(reading(140), now=datetime.fromisoformat("1970-01-01T00:00:20"), ledger=ledger)
    assert (used(ledger), ledger.books["plan"].now.begin) == (140, datetime.fromisoformat("2026-11-01"))


def test_a_period_begun_by_a_clock_that_was_ahead_is_taken_back() -> None:
    ledger = after(reading(0), reading(100))
    ledger = after(reading(110), now=datetime.fromisoformat("2036-02-06"), ledger=ledger)
    assert used(ledger) == 10
    ledger = after(reading(115), now=NOW, ledger=ledger)
    assert (used(ledger), ledger.books["plan"].earlier) == (115, ())


def test_a_cap_that_is_not_configured_for_a_while_is_remembered() -> None:
    ledger = after(reading(0), reading(100))
    ledger, _ = count(ledger, [], {}, NOW + DAY)
    assert used(after(reading(120), now=NOW + DAY, ledger=ledger)) == 120
    ledger, _ = count(ledger, [], {}, NOW + 70 * DAY)
    assert not ledger.books


def account(down: int, up: int) -> Account:
    return Account(NOW - 22 * DAY, NOW - 22 * DAY, {"lte": Volume(down, up)})


def test_the_operators_figure_takes_the_place_of_the_count() -> None:
    fixed = corrected(account(800, 100), NOW, total=1000)
    assert (fixed.used, fixed.used_down, fixed.used_up, fixed.correction.at) == (1000, 800, 100, NOW)
    later = replace(fixed, lines={"lte": Volume(850, 100)})
    assert later.used == 1050


def test_figures_by_direction_replace_an_earlier_total() -> None:
    fixed = corrected(corrected(account(800, 100), NOW, total=5000), NOW, down=600)
    assert (fixed.used, fixed.used_down, fixed.used_up) == (700, 600, 100)


@given(*(st.integers(0, 10**12),) * 5)
def test_a_correction_is_exact(down: int, up: int, total: int, new_down: int, new_up: int) -> None:
    assert corrected(account(down, up), NOW, total=total).used == total
    both = corrected(account(down, up), NOW, down=new_down, up=new_up)
    assert (both.used_down, both.used_up, both.used) == (new_down, new_up, new_down + new_up)
    every = corrected(account(down, up), NOW, total=total, down=new_down, up=new_up)
    assert (every.used_down, every.used_up, every.used) == (new_down, new_up, total)


@given(st.lists(st.tuples(st.integers(0, 10**9), st.booleans(), st.booleans()), max_size=30))
def test_the_sum_is_what_passed_whatever_happens_to_interfaces(steps: list[tuple[int, bool, bool]]) -> None:
    """Looks in between, interfaces made anew and reboots change nothing of the sum."""
    counter, ifindex, boot, passed = 0, 1, 1, 0
    ledger = after(reading(0, ifindex=1, newest=1, namespace="boot/1"))
    for size, is_made_anew, is_reboot in steps:
        if is_reboot:
            counter, ifindex, boot = 0, 1, boot + 1
        elif is_made_anew:
            counter, ifindex = 0, ifindex + 1
        counter += size
        passed += size
        seen = reading(counter, ifindex=ifindex, newest=ifindex, namespace=f"boot/{boot}")
        ledger = after(seen, seen, ledger=ledger)
    assert used(ledger) == passed
