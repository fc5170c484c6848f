"""What the worker's book hears of a connection's joins."""

import socket
from dataclasses import replace

from paths_rig import DSL, INFO, LTE, REMOTE, WIFI, Kernel, table

from hagw.dataplane.joins import Joins
from hagw.dataplane.paths import JOIN_TIMEOUT_S, Paths
from hagw.health.stripping import LOST_EARLY_BYTES, MptcpBook


def test_the_book_hears_of_joins_that_work_fail_and_are_lost(sock: socket.socket, kernel: Kernel) -> None:
    book = MptcpBook()
    made = Paths(sock, kernel, kernel, REMOTE, (1, "192.0.2.1"), frozenset((1, 2, 3)), 0.0, book)  # type: ignore[arg-type]
    kernel.establish("192.0.2.1")
    made.reconcile(table(DSL, LTE, WIFI), 0.0)
    kernel.establish("192.0.2.3")
    made.observe(0.1)
    made.observe(JOIN_TIMEOUT_S + 0.1)
    assert book.document(2)["joins_failed"] == 1
    assert book.document(3)["joins_ok"] == 1
    del kernel.subflows["192.0.2.3"]
    made.observe(4.0)
    assert book.document(3)["joins_lost"] == 0, "the connection may be ending"
    made.observe(5.5)
    assert book.document(3)["joins_lost"] == 1
    assert book.document(1) == MptcpBook().document(1), "the initial subflow was no join"


def test_the_end_of_a_whole_connection_is_no_lost_join(sock: socket.socket, kernel: Kernel) -> None:
    book = MptcpBook()
    made = Paths(sock, kernel, kernel, REMOTE, (1, "192.0.2.1"), frozenset((1, 2)), 0.0, book)  # type: ignore[arg-type]
    kernel.establish("192.0.2.1")
    made.reconcile(table(DSL, LTE), 0.0)
    kernel.establish("192.0.2.2")
    made.observe(0.1)
    del kernel.subflows["192.0.2.2"]
    made.observe(1.0)
    kernel.subflows.clear()
    made.observe(3.0)
    assert book.document(2)["joins_lost"] == 0


def test_a_line_found_out_is_not_joined(sock: socket.socket, kernel: Kernel) -> None:
    book = MptcpBook()
    for at in (10.0, 13.0, 16.0):
        book.join_failed(2, at)
    made = Paths(sock, kernel, kernel, REMOTE, (1, "192.0.2.1"), frozenset((1, 2, 3)), 0.0, book)  # type: ignore[arg-type]
    made.reconcile(table(DSL, LTE, WIFI), 17.0)
    assert [call[1] for call in kernel.asked()] == [WIFI.address4]


def test_a_join_that_carried_enough_is_none_that_was_lost_early() -> None:
    book = MptcpBook()
    joins = Joins(book)
    joins.stands(2, INFO, 0.0)
    joins.stands(2, replace(INFO, bytes_received=LOST_EARLY_BYTES), 0.1)
    joins.ended(2, 0.2)
    joins.lives_on(2.0)
    assert (book.document(2)["joins_ok"], book.document(2)["joins_lost"]) == (1, 0)
    joins.stands(2, INFO, 3.0)
    joins.ended(2, 3.1)
    joins.lives_on(5.0)
    assert book.document(2)["joins_lost"] == 1
