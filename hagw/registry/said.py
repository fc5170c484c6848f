"""What CPEs say of their lines, until it is queued on the disk: each report once, also when it comes again."""

import asyncio
from collections.abc import Mapping
from hashlib import blake2b
from itertools import count
from typing import Final

from hagw.registry.usage import NEWEST_MAX, OTHER_LINES, REPORTS, Batch, Spool, Used, fresh_name

LINES_MAX: Final = 32  # of a CPE, counted apart in a day

Sums = dict[tuple[str, str, str], tuple[int, int]]
Named = dict[str, tuple[int, str, str]]  # number, customer and report, by whose they are


class Said:
    """Sums of reports by customer, day and line, on their way to the spool."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._sums: Sums = {}
        self._named: Named = {}  # the reports that are in these sums
        self._leaving: Named = {}  # those in `_batch`
        self._batch: Batch | None = None  # that is being written, or could not be
        self._instance = fresh_name()
        self._numbers = count(1)
        self._kept: dict[str, int] = {}  # the newest report of each CPE on the disk
        self._day = ""
        self._lines: dict[str, set[str]] = {}

    async def begin(self) -> None:
        """Know which reports an earlier daemon has put on the disk."""
        self._kept = await asyncio.to_thread(self._spool.reports)

    def take(self, customer: str, uplinks: Mapping[str, tuple[int, int]], report: str, day: str) -> bool:
        """Take a report, STREAM-NUMBER, or what an older CPE says without a name; return if it is on the disk already.

        A CPE names so many lines a day, what is beyond counts as one.
        """
        if report:
            stream, _, number = report.rpartition("-")
            whose = REPORTS + blake2b(f"{customer}\0{stream}".encode(), digest_size=12).hexdigest()
            if int(number) <= self._kept.get(whose, -1):
                return True
            if any(int(number) <= named.get(whose, (-1,))[0] for named in (self._named, self._leaving)):
                return False
            self._named[whose] = int(number), customer, report
        if day != self._day:
            self._day, self._lines = day, {}
        known = self._lines.setdefault(customer, set())
        for uplink, (down, up) in uplinks.items():
            if uplink in known or len(known) < LINES_MAX:
                known.add(uplink)
            else:
                uplink = OTHER_LINES
            so_far = self._sums.get((customer, day, uplink), (0, 0))
            self._sums[customer, day, uplink] = so_far[0] + down, so_far[1] + up
        return False

    async def keep(self) -> dict[str, str]:
        """Queue it on the disk; return the reports that are there now, by customer. Raise OSError, and lose nothing.

        What could not be kept may be there all the same, as when only its directory could not be synchronised: it is
        put again as it was, by its name, and counts once.
        """
        if self._batch is None:
            self._batch = self._all_so_far()
        if self._batch.used:
            await asyncio.to_thread(self._spool.put, self._batch)
        self._batch = None
        for whose, (number, _, _) in self._leaving.items():
            self._kept.pop(whose, None)
            self._kept[whose] = number
        for whose in list(self._kept)[: max(0, len(self._kept) - NEWEST_MAX)]:
            del self._kept[whose]
        kept, self._leaving = {customer: report for _, customer, report in self._leaving.values()}, {}
        return kept

    def _all_so_far(self) -> Batch:
        """Return what is to be queued, and begin to sum up anew."""
        sums, self._sums = self._sums, {}
        self._leaving, self._named = self._named, {}
        used = tuple(Used(name, day, uplink, down, up, 0) for (name, day, uplink), (down, up) in sums.items())
        held = tuple(f"{whose}-{number}" for whose, (number, _, _) in self._leaving.items())
        return Batch(f"{self._instance}-{next(self._numbers)}", used, held)
