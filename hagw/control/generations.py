"""Every configuration that was ever to be in force, on disk, and which one is.

    STATE/generations/000007.yaml   the text, as its owner wrote it
    STATE/generations/000007.json   when, by whom, what became of it, and the uplinks' slots
    STATE/in-force                  symbolic link to the text of the one in force

Moving the link is what puts a configuration in force: one step, on the disk before it counts.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Literal

from hagw.control.durable import Disk

KEPT: Final = 50
_SCHEMA: Final = 1
_TEXTS: Final = "generations"
_LINK: Final = "in-force"

Result = Literal["tried", "pending", "committed", "rolled back"]


class StateDamaged(Exception):
    """What the state directory says about a generation cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One configuration. `slots` are those of its uplinks by name: a line keeps its slot for as long as it stays."""

    number: int
    created: str  # ISO 8601, UTC
    by: str
    note: str
    sha256: str
    slots: Mapping[str, int] = field(default_factory=dict)
    result: Result = "tried"
    reason: str = ""
    decided: str = ""  # when `result` became what it is


def digest(text: str) -> str:
    """Return how a text is recognised."""
    return hashlib.sha256(text.encode()).hexdigest()


class Generations:
    """The state directory's generations; one process at a time. Methods raise OSError where the disk refuses."""

    def __init__(self, directory: Path, disk: Disk) -> None:
        self._disk = disk
        self._texts = directory / _TEXTS
        self._link = directory / _LINK

    def add(self, text: str, slots: Mapping[str, int], *, created: str, by: str, note: str) -> Generation:
        """Keep a text as a new generation, not in force yet; the oldest are forgotten."""
        self._texts.mkdir(mode=0o700, parents=True, exist_ok=True)
        number = max((*self._numbers(), self.in_force() or 0), default=0) + 1
        generation = Generation(number, created, by, note, digest(text), dict(slots), decided=created)
        self._disk.replace(self._text_file(number), text)
        self._write(generation)
        self._forget_oldest()
        return generation

    def in_force(self) -> int | None:
        """Return the number of the generation in force, None where there is none."""
        try:
            stem = Path(os.readlink(self._link)).stem
        except OSError:
            return None
        return int(stem) if stem.isdecimal() else None

    def put_in_force(self, number: int) -> None:
        """Let this generation be the one in force from now on, whatever happens next."""
        self._disk.point(self._link, f"{_TEXTS}/{self._text_file(number).name}")

    def judge(self, number: int, result: Result, reason: str, decided: str) -> Generation:
        """Note what became of a generation. Raises StateDamaged where nothing is known about it."""
        judged = replace(self.get(number), result=result, reason=reason, decided=decided)
        self._write(judged)
        return judged

    def get(self, number: int) -> Generation:
        """Return what is known about a generation. Raises StateDamaged."""
        try:
            document = json.loads(self._about(number).read_text(encoding="utf-8"))
            if document["schema"] != _SCHEMA:
                raise StateDamaged(f"generation {number} was kept by a newer hagw")
            return _parse(document)
        except FileNotFoundError:
            raise StateDamaged(f"there is no generation {number}") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as why:
            raise StateDamaged(f"{self._about(number)} is damaged: {why}") from why

    def text(self, number: int) -> str:
        """Return a generation's text, exactly as it was given. Raises StateDamaged."""
        known = self.get(number)
        try:
            text = self._text_file(number).read_text(encoding="utf-8")
        except (OSError, ValueError) as why:
            raise StateDamaged(f"{self._text_file(number)} cannot be read: {why}") from why
        if digest(text) != known.sha256:
            raise StateDamaged(f"{self._text_file(number)} is not what was kept: its checksum differs")
        return text

    def all(self) -> tuple[Generation, ...]:
        """Return all generations that can be read, oldest first."""
        found = []
        for number in self._numbers():
            try:
                found.append(self.get(number))
            except StateDamaged:
                continue
        return tuple(found)

    def _numbers(self) -> list[int]:
        stems = (path.stem for path in self._texts.glob("*.yaml")) if self._texts.is_dir() else ()
        return sorted(int(stem) for stem in stems if stem.isdecimal())

    def _forget_oldest(self) -> None:
        kept = self.in_force()
        for number in self._numbers()[:-KEPT]:
            if number != kept:
                self._disk.remove(self._text_file(number))
                self._disk.remove(self._about(number))

    def _write(self, generation: Generation) -> None:
        document = {"schema": _SCHEMA, **asdict(generation)}
        self._disk.replace(self._about(generation.number), json.dumps(document, indent=1) + "\n")

    def _text_file(self, number: int) -> Path:
        return self._texts / f"{number:06}.yaml"

    def _about(self, number: int) -> Path:
        return self._texts / f"{number:06}.json"


def _parse(document: dict[str, Any]) -> Generation:
    known = {each.name for each in fields(Generation)}
    found = {key: value for key, value in document.items() if key in known}
    found["slots"] = {str(name): int(slot) for name, slot in document["slots"].items()}
    return Generation(**found)
