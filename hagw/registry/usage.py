"""What customers carry: queued on disk as it is read, then added up in the registry, each reading exactly once."""

import json
import os
import secrets
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hagw.registry.customers import Registry

FLUSH_MAX: Final = 200  # files in one transaction


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
        files = self.waiting()
        batches = [batch for file in files if (batch := _read(file)) is not None]
        if batches:
            await registry.add_usage(batches)
        for file in files:
            file.unlink(missing_ok=True)
        return len(batches)


def fresh_name() -> str:
    """Return a name for a reading that nobody can read again."""
    return secrets.token_hex(16)


def decode_batch(text: str) -> Batch | None:
    """Return what a file says, None where it is damaged: there is nothing in it to add."""
    try:
        document = json.loads(text)
        return Batch(str(document["name"]), tuple(Used(**each) for each in document["used"]))
    except (ValueError, KeyError, TypeError):
        return None


def total(used: Iterable[Used]) -> int:
    """Return all bytes."""
    return sum(each.bytes_down + each.bytes_up for each in used)


def _read(file: Path) -> Batch | None:
    try:
        return decode_batch(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None
