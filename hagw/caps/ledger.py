"""From counters to accounts: what lines carried since they were last looked at, booked for the period it is now.

The ledger is a value; whoever keeps it on disk decides how much of it a loss of power may cost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from hagw.caps.period import period
from hagw.model.intent import DataCapIntent
from hagw.model.usage import Account, Book, Correction, Ledger, Reading, Volume

PERIODS_KEPT: Final = 12
FORGOTTEN_AFTER: Final = timedelta(days=62)  # a cap that is not configured any more


def carried(before: Reading | None, now: Reading) -> Volume:
    """Return what a line carried since it was last read; nothing where that cannot be known.

    Counters start anew with a boot and with an interface that is made anew: all of it is new then. An interface that
    was there before, but was not this line's, has its past counted to somebody else.
    """
    if before is None:
        return Volume()
    same = (before.namespace, before.ifindex) == (now.namespace, now.ifindex)
    if same:
        return Volume(
            _grown(before.volume.down, now.volume.down),
            _grown(before.volume.up, now.volume.up),
        )
    is_new = before.namespace != now.namespace or now.ifindex > before.newest
    return now.volume if is_new else Volume()


def count(
    ledger: Ledger, caps: Sequence[DataCapIntent], readings: Mapping[str, Reading], now: datetime
) -> tuple[Ledger, dict[str, Volume]]:
    """Return the ledger with everything booked that `readings` show, and what each line carried since the last time."""
    moved = {line: carried(ledger.readings.get(line), reading) for line, reading in readings.items()}
    names = {cap.name for cap in caps}
    books = {
        name: book for name, book in ledger.books.items() if name in names or now - book.now.begin < FORGOTTEN_AFTER
    }
    for cap in caps:
        book = _turned(books.get(cap.name), cap, now)
        own = {line: moved[line] for line in cap.uplinks if line in moved and moved[line] != Volume()}
        if own:
            lines = {**book.now.lines, **{line: book.now.lines.get(line, Volume()) + new for line, new in own.items()}}
            book = replace(book, now=replace(book.now, lines=lines))
        books[cap.name] = book
    return Ledger({**ledger.readings, **readings}, books), moved


def corrected(
    account: Account,
    now: datetime,
    *,
    total: int | None = None,
    down: int | None = None,
    up: int | None = None,
) -> Account:
    """Return the account with the operator's figures instead of what was counted until `now`; None = as it was."""
    counted = account.counted
    new_down = account.correction.down if down is None else down - counted.down
    new_up = account.correction.up if up is None else up - counted.up
    beyond = account.correction.total if down is None and up is None else 0
    if total is not None:
        beyond = total - max(0, counted.down + new_down) - max(0, counted.up + new_up)
    return replace(account, correction=Correction(new_down, new_up, beyond, now), said=0.0)


def _turned(book: Book | None, cap: DataCapIntent, now: datetime) -> Book:
    """Return the book open at the period that it is now.

    A clock that went back does not bring an old period back, as most machines start with one; unless the newer period
    began by mistake, that is, the one before it is the one it is now.
    """
    begin = period(cap, now).begin
    if book is None:
        return Book(Account(begin, now))
    if begin > book.now.begin:
        return Book(Account(begin, begin if book.now.since < begin else now), (*book.earlier, book.now)[-PERIODS_KEPT:])
    if begin < book.now.begin and book.earlier and book.earlier[-1].begin == begin:
        return Book(_merged(book.earlier[-1], book.now), book.earlier[:-1])
    return book


def _merged(one: Account, other: Account) -> Account:
    lines = dict(one.lines)
    for line, volume in other.lines.items():
        lines[line] = lines.get(line, Volume()) + volume
    return replace(one, lines=lines)


def _grown(before: int, now: int) -> int:
    """Return how much a counter grew; one that fell was reset by its driver."""
    return now - before if now >= before else now
