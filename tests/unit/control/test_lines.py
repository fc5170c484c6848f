"""What workers say of the lines, put together."""

from dataclasses import replace
from typing import Any

from hagw.control.lines import Lines
from hagw.control.snapshots import cpe_snapshot, decides_alike
from hagw.control.status import status_document, verdict
from hagw.control.workers import WorkerReport
from hagw.health.capacity import CapacityBook
from hagw.health.stripping import JOIN_STRIPPED, MptcpBook
from hagw.model.health import MptcpHealth
from hagw.model.snapshot import CpeSnapshot, LearnedView, from_json, to_json
from tests.fakes import ALL_UP, CPE, FACTS, STATUS_INPUTS, WORKER


def worker(index: int, **stats: Any) -> WorkerReport:
    return replace(WORKER, index=index, stats=stats)


def taken(*workers: WorkerReport, own: dict[str, int] | None = None, day: str = "1") -> Lines:
    lines = Lines()
    lines.take(workers, own or {}, day)
    return lines


def test_counts_are_added_and_the_newest_evidence_decides() -> None:
    old, new = MptcpBook(), MptcpBook()
    for at in (1.0, 4.0, 7.0):
        old.join_failed(2, at)
    new.joined(2, 20.0)
    for pair in ((old, new), (new, old)):
        lines = taken(*(worker(i, mptcp={"lte": book.document(2)}) for i, book in enumerate(pair)))
        assert lines.mptcp["lte"] == MptcpHealth("ok", "", 20.0, joins_ok=1, joins_failed=3)


def test_the_volume_is_added_up_over_restarts_and_begins_anew_at_midnight() -> None:
    lines = Lines()
    lines.take([worker(0, upkeep_bytes={"lte": 1000}), worker(1, upkeep_bytes={"lte": 500})], {"lte": 200}, "1")
    assert lines.probe_bytes == {"lte": 1700}
    lines.take([worker(0, upkeep_bytes={"lte": 1200}), worker(1)], {"lte": 300}, "1")
    assert lines.probe_bytes == {"lte": 2000}
    lines.take([worker(0, upkeep_bytes={"lte": 100}), worker(1, upkeep_bytes={"lte": 500})], {"lte": 300}, "1")
    assert lines.probe_bytes == {"lte": 2100}
    lines.take([worker(0, upkeep_bytes={"lte": 150})], {"lte": 310}, "2")
    assert lines.probe_bytes == {"lte": 60}


def test_what_was_kept_off_a_line_is_added_up_over_restarts() -> None:
    lines = Lines()
    lines.take([worker(0, kept_off_bytes={"lte": 1000}), worker(1, kept_off_bytes={"lte": 500})], {}, "1")
    lines.take([worker(0, kept_off_bytes={"lte": 100}), worker(1, kept_off_bytes={"lte": 600})], {}, "2")
    assert lines.kept_off == {"lte": 1700}


def test_capacities_reach_the_other_workers_by_the_snapshot() -> None:
    book = CapacityBook()
    for i in range(40):
        book.carried("dsl", "up", 25_000, 1e6, True, 100.0 + 0.1 * i)
    book.mark_harmful("dsl", "up", "holds it up", 104.0)
    lines = taken(worker(0, learned=[_plain(view) for view in book.learned()]), worker(1, learned=[]))
    snapshot = cpe_snapshot(CPE, FACTS, ALL_UP, {}, {}, lines.mptcp, lines.learned)
    received = from_json(to_json(snapshot))
    assert isinstance(received, CpeSnapshot)
    other = CapacityBook()
    for view in received.learned:
        other.adopt(view)
    assert other.harmful("dsl", "up", 105.0) == "holds it up"
    assert other.harmful("dsl", "down", 105.0) is None
    assert other.limit_bps("dsl", "up", 105.0) == book.limit_bps("dsl", "up", 105.0)
    assert decides_alike(snapshot, replace(snapshot, learned=()))


def test_an_older_word_does_not_replace_a_newer_one() -> None:
    older = LearnedView("dsl", "up", 5e6, True, 10.0, "", None)
    newer = LearnedView("dsl", "up", 1e6, True, 20.0, "slow", 15.0, 15.0, 45.0)
    for order in ((older, newer), (newer, older)):
        lines = taken(*(worker(i, learned=[_plain(view)]) for i, view in enumerate(order)))
        assert lines.learned == (newer,)


def test_nonsense_of_a_worker_is_passed_over() -> None:
    lines = taken(
        worker(0, mptcp=[1], learned=[{"uplink": "x"}, 7], upkeep_bytes={"lte": "much"}), worker(1, mptcp={"a": 1})
    )
    assert (lines.mptcp, lines.learned, lines.probe_bytes) == ({}, (), {})


def test_a_line_that_strips_it_degrades_and_is_named() -> None:
    inputs = replace(STATUS_INPUTS, mptcp={"lte": MptcpHealth("join-stripped", JOIN_STRIPPED, 90.0)}, now=100.0)
    assert verdict(inputs) == ("degraded", f"lte: {JOIN_STRIPPED}.")
    shown = status_document(inputs)["uplinks"][1]["mptcp"]
    assert (shown["state"], shown["age_s"]) == ("join-stripped", 10.0)


def test_a_line_that_holds_connections_up_says_so_and_when_it_is_tried_again() -> None:
    learned = (LearnedView("dsl", "up", harmful="slow", harmful_at=100.0, doubted_at=100.0, doubted_until=690.0),)
    (shown,) = status_document(replace(STATUS_INPUTS, learned=learned, now=110.0))["uplinks"][0]["harmful"]
    assert (shown["direction"], shown["reason"], shown["again_s"]) == ("up", "slow", 580.0)
    assert status_document(replace(STATUS_INPUTS, learned=learned, now=800.0))["uplinks"][0]["harmful"] == []


def _plain(view: LearnedView) -> dict[str, Any]:
    return {name: getattr(view, name) for name in LearnedView.__dataclass_fields__}
