"""The ledger of data caps on disk: one file in the state directory, replaced as a whole.

    STATE/usage.json    counters as last read, by line; periods of each cap

A loss of power leaves the old one or the new one. Whatever is not understood in it is left out, never guessed at.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from hagw.control.durable import Disk
from hagw.model.usage import Account, Book, Correction, Ledger, Reading, Volume

_SCHEMA: Final = 1


class UsageDamaged(Exception):
    """What the file says cannot be used; the message says why."""


class UsageFile:
    """Where the ledger is kept. Methods raise OSError where the disk refuses."""

    def __init__(self, directory: Path, disk: Disk) -> None:
        self._disk = disk
        self._file = directory / "usage.json"

    def load(self) -> Ledger:
        """Return what was saved last, empty where nothing was. Raises UsageDamaged."""
        try:
            document = json.loads(self._file.read_text(encoding="utf-8"))
            if document["schema"] != _SCHEMA:
                raise UsageDamaged(f"{self._file} was written by a newer hagw")
            return _parse(document)
        except FileNotFoundError:
            return Ledger()
        except (ValueError, KeyError, TypeError, AttributeError) as why:
            raise UsageDamaged(f"{self._file} is damaged: {why}") from why

    def save(self, ledger: Ledger) -> None:
        """Replace it; on the disk when this returns."""
        self._file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._disk.replace(self._file, json.dumps(_document(ledger), indent=1) + "\n")


def _document(ledger: Ledger) -> dict[str, Any]:
    return {
        "schema": _SCHEMA,
        "readings": {
            line: {
                "namespace": reading.namespace,
                "ifindex": reading.ifindex,
                "newest": reading.newest,
                **_volume(reading.volume),
            }
            for line, reading in ledger.readings.items()
        },
        "caps": {
            name: {"now": _account(book.now), "earlier": [_account(account) for account in book.earlier]}
            for name, book in ledger.books.items()
        },
    }


def _account(account: Account) -> dict[str, Any]:
    correction = account.correction
    return {
        "begin": account.begin.isoformat(),
        "since": account.since.isoformat(),
        "said": account.said,
        "lines": {line: _volume(volume) for line, volume in account.lines.items()},
        "correction": {
            "down": correction.down,
            "up": correction.up,
            "total": correction.total,
            "at": None if correction.at is None else correction.at.isoformat(),
        },
    }


def _volume(volume: Volume) -> dict[str, int]:
    return {"down": volume.down, "up": volume.up}


def _parse(document: Mapping[str, Any]) -> Ledger:
    readings = {
        str(line): Reading(str(each["namespace"]), int(each["ifindex"]), int(each["newest"]), _parse_volume(each))
        for line, each in document["readings"].items()
    }
    books = {
        str(name): Book(_parse_account(each["now"]), tuple(_parse_account(one) for one in each["earlier"]))
        for name, each in document["caps"].items()
    }
    return Ledger(readings, books)


def _parse_account(document: Mapping[str, Any]) -> Account:
    correction, at = document["correction"], document["correction"]["at"]
    return Account(
        begin=datetime.fromisoformat(document["begin"]),
        since=datetime.fromisoformat(document["since"]),
        lines={str(line): _parse_volume(each) for line, each in document["lines"].items()},
        correction=Correction(
            int(correction["down"]),
            int(correction["up"]),
            int(correction["total"]),
            None if at is None else datetime.fromisoformat(at),
        ),
        said=float(document["said"]),
    )


def _parse_volume(document: Mapping[str, Any]) -> Volume:
    down, up = int(document["down"]), int(document["up"])
    if down < 0 or up < 0:
        raise ValueError("a negative volume")
    return Volume(down, up)
