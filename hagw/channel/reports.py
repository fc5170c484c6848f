"""What a CPE says of its lines, so that each byte is counted once: numbered reports, one under way at a time.

A report is on the disk before it is sent, and is sent again until the gateway says that it is on its own disk. The next
one says what was carried since. So neither end's crash, nor a lost connection, loses or doubles one: the gateway knows
a report that comes again by its number. Counters that begin anew with a boot are told from those that go on by the
boot's name; what was carried between the last report and a loss of power is lost. A line that is new, or comes back
under a name, counts from where it is first seen: what its interface carried before is nobody's business, or was said.
"""

import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

WORTH_BYTES: Final = 1_000_000
STREAM_SIZE: Final = 8

Counts = Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Report:
    """Bytes down and up by line. `stream` and `number` tell it from every other one, also when it comes again."""

    stream: str
    number: int
    uplinks: Counts


async def _nowhere(_: str) -> None:
    """Stand in where nothing is kept."""


class Reports:
    """Makes reports of counts of all bytes since `boot`. `text` is what `keep` was given last, "" = nothing."""

    def __init__(self, text: str = "", boot: str = "", keep: Callable[[str], Awaitable[None]] = _nowhere) -> None:
        self._boot = boot
        self._keep = keep
        self._told: Counts | None = None  # up to where reports reach
        self._last = Report(secrets.token_hex(STREAM_SIZE), 0, {})
        self._is_under_way = False
        self._resume(text)

    async def begin(self, counts: Counts) -> None:
        """Count from here if nothing is known: what was before is nobody's business. Raise OSError."""
        if self._told is None:
            await self._write(self._last, self._known(counts))

    async def due(self, counts: Counts) -> Report | None:
        """Return what is to be said now, None = nothing. Raise OSError where it cannot be kept: it is due later."""
        told = self._told = self._known(counts)
        if self._is_under_way:
            return self._last
        there = {line: now for line, now in counts.items() if any(now)}
        since = {line: _since(told[line], now) for line, now in there.items()}
        if sum(map(sum, since.values())) < WORTH_BYTES:
            return None
        await self._write(Report(self._last.stream, self._last.number + 1, since), {**told, **there})
        self._is_under_way = True
        return self._last

    def arrived(self, stream: str, number: int) -> None:
        """A gateway has this report on its disk."""
        if (stream, number) == (self._last.stream, self._last.number):
            self._is_under_way = False

    def sent(self, report: Report) -> None:
        """Take a report that will never be acknowledged, by an older gateway, as arrived."""
        self.arrived(report.stream, report.number)

    def _known(self, counts: Counts) -> dict[str, tuple[int, int]]:
        """Return up to where the lines there are have been told, new ones up to now.

        One at 0, 0 is away or not read yet: it goes on from where it was when it is back.
        """
        told = self._told or {}
        return {line: told.get(line, now) for line, now in counts.items() if line in told or any(now)}

    async def _write(self, report: Report, told: Counts) -> None:
        document = {
            "version": 1,
            "boot": self._boot,
            "told": told,
            "stream": report.stream,
            "number": report.number,
            "uplinks": report.uplinks,
        }
        await self._keep(json.dumps(document))
        self._last, self._told = report, dict(told)

    def _resume(self, text: str) -> None:
        """Go on where the daemon before stopped. What cannot be read begins anew: with another stream."""
        try:
            document = json.loads(text)
            if document["version"] != 1:
                return
            last = Report(str(document["stream"]), int(document["number"]), _counts(document["uplinks"]))
            told = _counts(document["told"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return
        self._last = last
        self._told = told if document.get("boot") == self._boot else dict.fromkeys(told, (0, 0))
        self._is_under_way = last.number > 0  # perhaps it has arrived: then it is known by its number


def _counts(found: Any) -> dict[str, tuple[int, int]]:
    return {str(line): (int(down), int(up)) for line, (down, up) in found.items()}


def _since(before: tuple[int, int], now: tuple[int, int]) -> tuple[int, int]:
    """Return how much two counts grew; one that fell has begun anew."""
    down, up = (new - old if new >= old else new for old, new in zip(before, now, strict=True))
    return down, up
