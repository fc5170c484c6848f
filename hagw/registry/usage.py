"""What customers carry: queued on disk as it is read, then added up in the registry, each reading exactly once."""

import asyncio
import json
import os
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hagw.registry.customers import Registry

FLUSH_MAX: Final = 200  # files in one transaction
COUNT_MAX: Final = 1 << 54  # bytes or flows of one reading: sums of many still fit into the registry's 64 bits
DAMAGED: Final = ".damaged"  # what such a file is called from then on: nobody reads it again, somebody may look
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
    """One reading; `name` tells it from every other one in the world, also when it is read again."""

    name: str
    used: tuple[Used, ...]


class Spool:
    """Readings that are not in the registry yet, a file each. `keep` writes a file as a whole."""

    def __init__(self, directory: Path, keep: Callable[[Path, str], None]) -> None:
        self._directory = directory
        self._keep = keep

    def put(self, batch: Batch) -> None:
        """Have a reading on the disk when this returns. Raise OSError."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        document = {"version": 1, "name": batch.name, "used": [asdict(each) for each in batch.used]}
        self._keep(self._directory / f"{batch.name}.json", json.dumps(document))

    def waiting(self) -> list[Path]:
        """Return the files that wait, some of the oldest first."""
        try:
            with os.scandir(self._directory) as found:
                aged = [(entry.stat().st_mtime_ns, entry.name) for entry in found if entry.name.endswith(".json")]
        except OSError:
            return []
        return [self._directory / name for _, name in sorted(aged)[:FLUSH_MAX]]

    async def flush(self, registry: "Registry") -> int:
        """Move what waits into the registry; return how many readings. Raise HagwError, and lose nothing."""
        found = await asyncio.to_thread(self._load)
        if found:
            await registry.add_usage(list(found.values()))
            for file in found:
                file.unlink(missing_ok=True)
        return len(found)

    def _load(self) -> dict[Path, Batch]:
        """Read what waits. A damaged file is put aside; one that cannot be read now is left for the next time."""
        found = {}
        for file in self.waiting():
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


def decode_batch(text: str) -> Batch | None:
    """Return what a file says, None where it is damaged: there is nothing in it to add."""
    try:
        document = json.loads(text)
        batch = Batch(str(document["name"]), tuple(Used(**each) for each in document["used"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return batch if is_text(batch.name) and all(map(_is_sound, batch.used)) else None


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
