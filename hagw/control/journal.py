"""The transaction under way, on disk: whoever finds it after a crash knows what to go back to."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final

from hagw.control.durable import Disk

_SCHEMA: Final = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """From which generation to which. `confirm_within_s` None = committed as soon as it is checked.

    `write_file`: when it is committed, its text goes into the configuration file too.
    """

    checkpoint: int
    target: int
    confirm_within_s: float | None
    write_file: bool


class Journal:
    """One file in the state directory; there is one transaction at a time. Methods raise OSError."""

    def __init__(self, directory: Path, disk: Disk) -> None:
        self._disk = disk
        self._file = directory / "journal.json"

    def open(self, entry: Entry) -> None:
        """Write down what is about to be tried; it is on the disk before this returns."""
        self._disk.replace(self._file, json.dumps({"schema": _SCHEMA, **asdict(entry)}) + "\n")

    def close(self) -> None:
        """Forget the transaction: it was committed or taken back."""
        self._disk.remove(self._file)

    def read(self) -> Entry | None:
        """Return the transaction under way, None = there is none, or nothing to be made of it.

        A damaged journal is as good as none: the link says what is in force.
        """
        try:
            document = json.loads(self._file.read_text(encoding="utf-8"))
            return Entry(**{each.name: document[each.name] for each in fields(Entry)})
        except (OSError, ValueError, KeyError, TypeError):
            return None
