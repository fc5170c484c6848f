"""What happened, newest last: kept in memory, and on disk in two files of bounded size.

    STATE/events/events.jsonl     one JSON document a line
    STATE/events/events.jsonl.1   older ones

A line that a loss of power tore is left out.
"""

import json
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from hagw.history.ring import sync_directory
from hagw.log import log_of

FILE_MAX_BYTES: Final = 1_000_000
KEPT_MAX: Final = 5_000
UNWRITTEN_MAX: Final = 1_000  # of at most 700 bytes each
TEXT_MAX: Final = 500
RETENTION_S: Final = 30 * 86_400.0
Severity = Literal["info", "warning", "problem", "good"]

log = log_of("hagw.history")


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened: `kind` and `subject` say to what, `text` is a sentence for people."""

    id: int
    at: str
    kind: str
    severity: Severity
    subject: str | None
    text: str


@dataclass(frozen=True, slots=True)
class News:
    """What is to become an event."""

    kind: str
    severity: Severity
    subject: str | None
    text: str


class Events:
    """The store. `on_event` hears of each new one."""

    def __init__(self, directory: Path, clock: Callable[[], float] = time.time) -> None:
        self.on_event: Callable[[Event], None] = lambda event: None
        self.retention_s: float | None = RETENTION_S  # None = nothing is kept, not even in memory
        self._file = directory / "events.jsonl"
        self._older = directory / "events.jsonl.1"
        self._clock = clock
        self._kept: deque[Event] = deque(maxlen=KEPT_MAX)
        self._unwritten: deque[Event] = deque(maxlen=UNWRITTEN_MAX)
        self._trouble = ""

    def begin(self) -> None:
        """Take up what an earlier daemon has kept."""
        found = {event.id: event for path in (self._older, self._file) for event in _load(path)}
        self._kept.extend(found[number] for number in sorted(found))

    def add(self, news: News) -> Event:
        """Note what happened now."""
        number = self._kept[-1].id + 1 if self._kept else int(self._clock()) * 1000
        at = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds")
        event = Event(number, at, news.kind, news.severity, news.subject, news.text[:TEXT_MAX])
        if self.retention_s is not None:
            self._kept.append(event)
            self._unwritten.append(event)
        self.on_event(event)
        return event

    def select(self, since_id: int, kinds: frozenset[str], limit: int) -> list[Event]:
        """Return the newest events after an id, of some kinds (none = all), newest first."""
        oldest = None if self.retention_s is None else self._clock() - self.retention_s
        chosen: list[Event] = []
        for event in reversed(self._kept):
            if event.id <= since_id or len(chosen) >= limit or oldest is None or _unix(event) < oldest:
                break
            if not kinds or event.kind in kinds:
                chosen.append(event)
        return chosen

    def flush(self) -> None:
        """Write what is new; in whatever thread, but one at a time."""
        if self.retention_s is None:
            self._forget()
            return
        fresh, self._unwritten = self._unwritten, deque(maxlen=UNWRITTEN_MAX)
        if not fresh:
            return
        text = "".join(json.dumps(asdict(event), ensure_ascii=False) + "\n" for event in fresh).encode()
        try:
            self._file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            if self._file.exists() and self._file.stat().st_size + len(text) > FILE_MAX_BYTES:
                self._file.replace(self._older)
            is_new = not self._file.exists()
            descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                if _is_torn(self._file):
                    text = b"\n" + text
                os.write(descriptor, text)
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
            if is_new:
                sync_directory(self._file.parent)
        except OSError as why:
            if str(why) != self._trouble:
                log.warning("events not written", reason=str(why))
            self._trouble = str(why)
        else:
            self._trouble = ""

    def _forget(self) -> None:
        """Leave nothing on disk: whoever switches this off does not want it kept."""
        self._kept.clear()
        self._unwritten.clear()
        for path in (self._file, self._older):
            path.unlink(missing_ok=True)


def _load(path: Path) -> list[Event]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return []
    return [event for line in lines if (event := _parse(line)) is not None]


def _parse(line: bytes) -> Event | None:
    try:
        said: dict[str, Any] = json.loads(line)
        event = Event(**said)
        datetime.fromisoformat(event.at)
        return event if isinstance(event.id, int) else None
    except (ValueError, TypeError):
        return None


def _is_torn(path: Path) -> bool:
    """Say whether the file ends in the middle of a line."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _unix(event: Event) -> float:
    return datetime.fromisoformat(event.at).timestamp()
