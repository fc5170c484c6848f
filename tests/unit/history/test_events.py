"""Events: told once, kept bounded, whole after a loss of power, gone when nobody wants them kept."""

from pathlib import Path

from hagw.history.events import FILE_MAX_BYTES, KEPT_MAX, Event, Events, News
from hagw.history.keeper import Tap
from hagw.history.news import TELLERS
from tests.unit import docs

NEWS = News("uplink", "problem", "dsl", "Line dsl is down: no answer.")


class Clock:
    now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


def test_events_outlive_a_daemon_and_numbers_go_on(tmp_path: Path) -> None:
    first = Events(tmp_path, Clock())
    one = first.add(NEWS)
    first.flush()
    second = Events(tmp_path, Clock())
    second.begin()
    two = second.add(NEWS)
    assert two.id == one.id + 1
    assert second.select(0, frozenset(), 10) == [two, one]
    assert second.select(one.id, frozenset(), 10) == [two]
    assert second.select(0, frozenset({"cap"}), 10) == []


def test_a_torn_line_costs_that_line_only(tmp_path: Path) -> None:
    events = Events(tmp_path, Clock())
    kept = [events.add(NEWS) for _ in range(3)]
    events.flush()
    file = tmp_path / "events.jsonl"
    whole = file.read_bytes()
    for cut in range(1, len(whole.splitlines()[-1])):
        file.write_bytes(whole[:-cut])
        found = Events(tmp_path, Clock())
        found.begin()
        assert found.select(0, frozenset(), 10)[-2:] == [kept[1], kept[0]]
        added = found.add(NEWS)
        found.flush()
        again = Events(tmp_path, Clock())
        again.begin()
        assert again.select(0, frozenset(), 1) == [added]


def test_space_is_bounded_in_memory_and_on_disk(tmp_path: Path) -> None:
    events = Events(tmp_path, Clock())
    for _ in range(3):
        for _ in range(KEPT_MAX):
            events.add(News("uplink", "info", "dsl", "x" * 2_000))
        events.flush()
    assert len(events.select(0, frozenset(), 1 << 30)) == KEPT_MAX
    for _ in range(20):
        for _ in range(1_000):
            events.add(NEWS)
        events.flush()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2 * FILE_MAX_BYTES


def test_old_events_are_not_told_and_switched_off_nothing_is_kept(tmp_path: Path) -> None:
    clock = Clock()
    events = Events(tmp_path, clock)
    events.add(NEWS)
    events.flush()
    clock.now += 31 * 86_400
    assert events.select(0, frozenset(), 10) == []
    heard: list[Event] = []
    events.on_event = heard.append
    events.retention_s = None
    events.add(NEWS)
    events.flush()
    assert len(heard) == 1
    assert list(tmp_path.iterdir()) == []


def test_log_events_that_are_told_exist(tmp_path: Path) -> None:
    described = docs.text("docs/runbook.md")
    assert not [event for event in TELLERS if f"`{event}`" not in described]


def test_every_teller_makes_a_sentence_of_whatever_is_said() -> None:
    for event in TELLERS:
        tap = Tap()
        tap({"event": event, "reason": "why not"})
        (news,) = tap.take()
        assert news.text.endswith((".", "None None"))
        assert tap.take() == []


def test_other_log_events_are_the_logs_business() -> None:
    tap = Tap()
    tap({"event": "kernel state changes", "steps": []})
    assert tap.take() == []
