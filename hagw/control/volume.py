"""What hagw itself has spent on each line today, on disk: a daemon that is restarted goes on counting.

Written at most once in ten minutes, and when the daemon ends: a state directory may be on flash. What a killed daemon
had not written yet is lost for its own echoes only; workers go on counting, and tell the next daemon.
"""

import asyncio
import json
from pathlib import Path
from typing import Final

from hagw.control.durable import Disk
from hagw.control.lines import Lines, Spent
from hagw.log import log_of

SAVE_S: Final = 600.0
_SCHEMA: Final = 1

log = log_of("hagw.volume")


class VolumeFile:
    """One file in the state directory, replaced as a whole."""

    def __init__(self, directory: Path, disk: Disk) -> None:
        self._file = directory / "volume.json"
        self._disk = disk

    def load(self) -> Spent:
        """Return what was saved last; nothing where the file is missing, damaged or of another version."""
        try:
            document = json.loads(self._file.read_text(encoding="utf-8"))
            if document["schema"] != _SCHEMA:
                return Spent()
            told = {source: _counts(totals) for source, totals in document["told"].items()}
            return Spent(str(document["day"]), _counts(document["bytes"]), told)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return Spent()  # a count for people: nobody decides by it

    def save(self, spent: Spent) -> None:
        """Replace what is saved. Raise OSError."""
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        document = {"schema": _SCHEMA, "day": spent.day, "bytes": spent.bytes, "told": spent.told}
        self._disk.replace(self._file, json.dumps(document) + "\n", mode=0o644)


async def keep_volume(lines: Lines, file: VolumeFile) -> None:
    """Save what `lines` counts until cancelled, and then once more."""
    saved = lines.spent()
    try:
        while True:
            await asyncio.sleep(SAVE_S)
            now = lines.spent()
            if now != saved:
                await asyncio.to_thread(_save, file, now)  # a slow disk must not hold up a failover
                saved = now
    finally:
        _save(file, lines.spent())


def _save(file: VolumeFile, spent: Spent) -> None:
    try:
        file.save(spent)
    except OSError as why:
        log.warning("volume not saved", reason=str(why))


def _counts(totals: dict[str, int]) -> dict[str, int]:
    return {str(uplink): int(total) for uplink, total in totals.items()}
