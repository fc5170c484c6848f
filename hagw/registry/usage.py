"""What customers carry: queued on disk as it is read, then added up in the registry, each reading exactly once.

    USAGE/<reading>.json       a reading, as it came
    USAGE/<merged>.json        several in one: summed by customer, day and line, which is all the registry keeps
    USAGE/<merged>.sealed      what the registry is offered, again and again until it has it: nothing is merged into it
    USAGE/newest               the newest reading of each worker that the registry has: it may come once more

However long the database is away, MERGE_AT readings wait at most, beside two merged files; WAITING_MAX where the disk
has room for readings, but not for a merged file. Those have RECORDS_MAX records at most: beyond that a customer's lines
become one, then days their month. Detail is lost so, bytes are not.
"""

import asyncio
import json
import os
import secrets
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hagw.registry.customers import Registry

MERGE_AT: Final = 64  # files; a busy gateway of two workers makes one a second
WAITING_MAX: Final = 4 * MERGE_AT
RECORDS_MAX: Final = 200_000  # some 25 MB
NEWEST_MAX: Final = 16_384  # workers and CPEs, latest last: what one that is forgotten says again counts again
REPORTS: Final = "cpe."  # begins what a CPE's reports are called
OTHER_LINES: Final = "others"
COUNT_MAX: Final = 1 << 54  # bytes or flows of one record: sums of many still fit into the registry's 64 bits
DAMAGED: Final = ".damaged"  # what such a file is called from then on: nobody reads it again, somebody may look
_SEALED: Final = ".sealed"
_NEWEST: Final = "newest"
_NAME_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Used:
    """Payload bytes and new flows of a customer on a day (UTC); `uplink` "" = all lines together."""

    customer: str
    day: str
    uplink: str
    bytes_down: int
    bytes_up: int
    flows: int


@dataclass(frozen=True, slots=True)
class Batch:
    """One reading; `name` tells it from every other one in the world, also when it is read again.

    A merged one says whose readings are in it; `WORKER-NUMBER` is how a worker calls them.
    """

    name: str
    used: tuple[Used, ...]
    holds: tuple[str, ...] = ()


class Spool:
    """Readings that are not in the registry yet. `keep` writes a file as a whole. For one thread at a time."""

    def __init__(self, directory: Path, keep: Callable[[Path, str], None], records_max: int = RECORDS_MAX) -> None:
        self._directory = directory
        self._keep = keep
        self._records_max = records_max

    def put(self, batch: Batch) -> None:
        """Have a reading on the disk when this returns. Raise OSError, and it is not there: the same is put again."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        waiting = len(self.waiting())
        if waiting >= MERGE_AT:
            try:
                self._merge(".json")
            except OSError:
                if waiting >= WAITING_MAX:
                    raise
        self._write(f"{batch.name}.json", batch)

    def reports(self) -> dict[str, int]:
        """Return the number of the newest report that is on the disk, by whose they are."""
        found: dict[str, int] = {}
        waiting = (*self._load(".json").values(), *self._load(_SEALED).values())
        for name in (*self._newest(), *(name for batch in waiting for name in batch.holds)):
            whose, _, number = name.rpartition("-")
            if whose.startswith(REPORTS) and number.isdecimal():
                found[whose] = max(int(number), found.get(whose, -1))
        return found

    def waiting(self) -> list[Path]:
        """Return the files that nobody has offered yet."""
        return self._files(".json")

    async def flush(self, registry: "Registry") -> int:
        """Move what waits into the registry; return how many files. Raise HagwError or OSError, and lose nothing."""
        found = await asyncio.to_thread(self._sealed)
        if found:
            await registry.add_usage(list(found.values()))
            await asyncio.to_thread(self._forget, found)
        return len(found)

    def _sealed(self) -> dict[Path, Batch]:
        """Return what is to be offered: the same as the last time, as nobody knows whether that arrived."""
        return self._load(_SEALED) or (self._load(_SEALED) if self._merge(_SEALED) else {})

    def _merge(self, ending: str) -> bool:
        """Make one file of those that wait; False = none does. Cut short, the new file says what is in it."""
        files = self._fresh(self._load(".json"))
        if not files:
            return False
        batches = list(files.values())
        merged = Batch(fresh_name(), coarse(total_by(batches), self._records_max), _remembered(batches))
        self._write(f"{merged.name}{ending}", merged)
        for file in files:
            file.unlink(missing_ok=True)
        return True

    def _fresh(self, files: dict[Path, Batch]) -> dict[Path, Batch]:
        """Drop readings that came twice: those that a merged file holds, or the registry has."""
        known = self._newest()
        for batch in (*files.values(), *self._load(_SEALED).values()):
            known.update(dict.fromkeys(batch.holds))
        for file in [file for file, batch in files.items() if batch.name in known]:
            file.unlink(missing_ok=True)
            del files[file]
        return files

    def _forget(self, found: Mapping[Path, Batch]) -> None:
        """The registry has it: first remember whose readings these were, then remove the files."""
        self._fresh(self._load(".json"))  # of a seal that was interrupted, as long as it says what is in it
        names = _remembered([Batch("", (), tuple(self._newest())), *found.values()], direct=False)
        if names:
            self._keep(self._directory / _NEWEST, json.dumps(names))
        for file in found:
            file.unlink(missing_ok=True)

    def _newest(self) -> dict[str, None]:
        try:
            names = json.loads((self._directory / _NEWEST).read_bytes())
        except (OSError, ValueError):
            return {}
        return dict.fromkeys(filter(is_text, names)) if isinstance(names, list) else {}

    def _write(self, name: str, batch: Batch) -> None:
        used = [asdict(each) for each in batch.used]
        document = {"version": 1, "name": batch.name, "used": used, "holds": batch.holds}
        self._keep(self._directory / name, json.dumps(document))

    def _files(self, ending: str) -> list[Path]:
        try:
            with os.scandir(self._directory) as found:
                names = [entry.name for entry in found if entry.name.endswith(ending) and entry.name[0] != "."]
        except OSError:
            return []
        return [self._directory / name for name in sorted(names)]

    def _load(self, ending: str) -> dict[Path, Batch]:
        """Read files. A damaged one is put aside; one that cannot be read now is left for the next time."""
        found = {}
        for file in self._files(ending):
            try:
                text = file.read_bytes().decode("utf-8", "replace")
            except OSError:
                continue
            batch = decode_batch(text)
            if batch is not None:
                found[file] = batch
            else:
                with suppress(OSError):
                    file.rename(file.with_suffix(DAMAGED))
        return found


def fresh_name() -> str:
    """Return a name for a reading that nobody can read again."""
    return secrets.token_hex(16)


def total_by(batches: Iterable[Batch]) -> tuple[Used, ...]:
    """Return what readings say together, by customer, day and line: as fine as the registry has it."""
    return _summed(used for batch in batches for used in batch.used)


def coarse(used: tuple[Used, ...], records_max: int) -> tuple[Used, ...]:
    """Return records with the same sums, as few as needed: lines as one, then days as the first of their month.

    What all customers have together in a month is the least that is kept.
    """
    if len(used) > records_max:
        used = _summed(replace(each, uplink=each.uplink and OTHER_LINES) for each in used)
    if len(used) > records_max:
        used = _summed(replace(each, day=f"{each.day[:7]}-01") for each in used)
    return used


def _summed(records: Iterable[Used]) -> tuple[Used, ...]:
    sums: dict[tuple[str, str, str], list[int]] = {}
    for used in records:
        known = sums.setdefault((used.customer, used.day, used.uplink), [0, 0, 0])
        for at, count in enumerate((used.bytes_down, used.bytes_up, used.flows)):
            known[at] += count
    return tuple(Used(*key, *counts) for key, counts in sums.items())


def _remembered(batches: Iterable[Batch], *, direct: bool = True) -> tuple[str, ...]:
    """Return what may come again: a worker's newest reading; and all of now, whose files are still there."""
    newest: dict[str, int] = {}
    names: dict[str, None] = {}
    for batch in batches:
        if direct:
            names[batch.name] = None
        for name in (batch.name, *batch.holds):
            worker, _, number = name.rpartition("-")
            if worker and number.isdecimal():
                newest[worker] = max(int(number), newest.pop(worker, 0))
    return (*names, *(f"{worker}-{number}" for worker, number in list(newest.items())[-NEWEST_MAX:]))


def decode_batch(text: str) -> Batch | None:
    """Return what a file says, None where it is damaged: there is nothing in it to add."""
    try:
        document = json.loads(text)
        used = tuple(Used(**each) for each in document["used"])
        batch = Batch(str(document["name"]), used, tuple(document.get("holds", ())))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    is_sound = is_text(batch.name) and all(map(is_text, batch.holds)) and all(map(_is_sound, batch.used))
    return batch if is_sound else None


def is_text(value: object) -> bool:
    """Say whether a database takes this as a name: short, and nothing in it that some cannot keep."""
    return isinstance(value, str) and len(value) <= _NAME_MAX and value.isascii() and value.isprintable()


def _is_sound(used: Used) -> bool:
    counts = (used.bytes_down, used.bytes_up, used.flows)
    return all(map(is_text, (used.customer, used.day, used.uplink))) and all(
        isinstance(count, int) and 0 <= count <= COUNT_MAX for count in counts
    )


def total(used: Iterable[Used]) -> int:
    """Return all bytes."""
    return sum(each.bytes_down + each.bytes_up for each in used)
