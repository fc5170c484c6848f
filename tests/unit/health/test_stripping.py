"""From what joins and connections meet on a line to what is thought of it."""

from itertools import pairwise

import pytest

from hagw.health.stripping import (
    CAPABLE_STRIPPED,
    DATA_LOST,
    FAILURES,
    JOIN_STRIPPED,
    RETRY_MAX_S,
    RETRY_S,
    MptcpBook,
    MptcpVerdict,
)

LTE = 2


def refused(book: MptcpBook, now: float = 100.0) -> float:
    for _ in range(FAILURES):
        now += 3.0
        book.join_failed(LTE, now)
    return now


def state(book: MptcpBook) -> str:
    return book.verdict(LTE).state


def test_nothing_is_known_of_a_line_never_used() -> None:
    book = MptcpBook()
    assert book.verdict(LTE) == MptcpVerdict()
    assert book.may_join(LTE, 0.0)
    assert not book.wants_connection(LTE, 0.0)


def test_joins_and_connections_that_work_are_ok() -> None:
    for well in (MptcpBook.joined, MptcpBook.carried):
        book = MptcpBook()
        well(book, LTE, 1.0)
        assert state(book) == "ok"
    book = MptcpBook()
    book.began(LTE, True, 1.0)
    assert state(book) == "ok"


def test_three_refusals_at_different_times_are_evidence() -> None:
    book = MptcpBook()
    refused(book)
    assert book.verdict(LTE).state == "join-stripped"
    assert book.verdict(LTE).reason == JOIN_STRIPPED


def test_joins_that_fail_together_are_one_failure() -> None:
    book = MptcpBook()
    for i in range(20):
        book.join_failed(LTE, 100.0 + i / 100)
    assert state(book) == "unknown"


def test_a_join_that_works_in_between_forgives_the_others() -> None:
    book, now = MptcpBook(), 0.0
    for i in range(30):
        now += 3.0
        (book.join_failed if i % FAILURES else book.joined)(LTE, now)
    assert state(book) == "ok"


def test_a_line_found_out_is_left_alone_and_tried_again_ever_less_often() -> None:
    book = MptcpBook()
    now = refused(book)
    tried, until = [], now + 4 * 3600
    while now < until:
        now += 1.0
        if book.may_join(LTE, now):
            tried.append(now)
            book.join_failed(LTE, now)
    gaps = [after - before for before, after in pairwise(tried)]
    assert tried[0] - (until - 4 * 3600) == pytest.approx(RETRY_S, abs=2)
    assert gaps == sorted(gaps)
    assert gaps[-1] == pytest.approx(RETRY_MAX_S, abs=2)


def test_a_trial_that_works_brings_it_back() -> None:
    book = MptcpBook()
    now = refused(book)
    book.joined(LTE, now + 40.0)
    assert state(book) == "ok"
    assert all(book.may_join(LTE, now + 41.0) for _ in range(3))


def test_two_fallbacks_running_are_evidence_and_such_a_line_begins_none() -> None:
    book = MptcpBook()
    book.began(LTE, False, 1.0)
    assert state(book) == "unknown"
    book.began(LTE, True, 2.0)
    book.began(LTE, False, 3.0)
    assert not book.is_stripped(LTE)
    book.began(LTE, False, 4.0)
    assert book.is_stripped(LTE)
    assert book.verdict(LTE).reason == CAPABLE_STRIPPED
    book.began(LTE, True, 5.0)
    assert not book.is_stripped(LTE)


def test_subflows_that_end_by_themselves_are_evidence_until_one_carries_data() -> None:
    book, now = MptcpBook(), 0.0
    for _ in range(FAILURES):
        now += 2.0
        book.joined(LTE, now)
        book.join_lost(LTE, now + 1.0)
    assert book.verdict(LTE).reason == DATA_LOST
    book.joined(LTE, now + 2.0)
    assert state(book) == "join-stripped"
    book.carried(LTE, now + 3.0)
    assert state(book) == "ok"


def test_a_connection_is_opened_once_to_see_whether_it_falls_back_too() -> None:
    book = MptcpBook()
    now = refused(book)
    assert book.wants_connection(LTE, now)
    assert not book.wants_connection(LTE, now + 1000.0)
    book.began(LTE, True, now)
    assert state(book) == "join-stripped"


def test_another_workers_newer_word_is_taken_and_an_older_one_is_not() -> None:
    book = MptcpBook()
    now = refused(book)
    book.adopt(LTE, MptcpVerdict("ok", "", now - 10.0))
    assert state(book) == "join-stripped"
    book.adopt(LTE, MptcpVerdict("ok", "", now + 10.0))
    assert state(book) == "ok"
    other = MptcpBook()
    other.adopt(LTE, MptcpVerdict("join-stripped", JOIN_STRIPPED, now))
    assert not other.may_join(LTE, now + 1.0)
    assert other.may_join(LTE, now + RETRY_S)


def test_another_network_begins_with_nothing_known() -> None:
    book = MptcpBook()
    refused(book)
    book.forget(LTE)
    assert state(book) == "unknown"
