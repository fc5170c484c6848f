"""Structured logs over the standard library's: constant messages, what they are about as key=value, one line an event.

For the shell only. structlog did the same with rich, attrs and greenlet behind it: 7 MB a process (docs/adr/0057).
"""

import datetime
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

ROOT: Final = "hagw"
_FIELDS: Final = "hagw_fields"

Tap = Callable[[Mapping[str, Any]], object]  # hears of an event: `event` and its fields


class Log:
    """Where one part of hagw says what happens."""

    def __init__(self, name: str) -> None:
        self._to = logging.getLogger(name)

    def info(self, event: str, /, **fields: Any) -> None:
        """Say what is as it should be."""
        self._say(logging.INFO, event, fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        """Say what somebody should look at."""
        self._say(logging.WARNING, event, fields)

    def error(self, event: str, /, exc_info: BaseException | None = None, **fields: Any) -> None:
        """Say what did not work, with the way an exception took."""
        self._say(logging.ERROR, event, fields, exc_info)

    def _say(self, level: int, event: str, fields: dict[str, Any], why: BaseException | None = None) -> None:
        # The message is not a format: what comes from outside must not be taken for one.
        self._to.log(level, "%s", event, exc_info=why, extra={_FIELDS: {"event": event, **fields}})


def log_of(name: str) -> Log:
    """Return the log of a part of hagw; names begin with `hagw`."""
    return Log(name)


def set_up(*taps: Tap) -> None:
    """Have events of this process, also those of others' loggers, written to stderr; `taps` hear of ours first."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, force=True)
    (writer,) = logging.getLogger().handlers
    writer.setFormatter(_Line())
    ours = logging.getLogger(ROOT)
    ours.setLevel(logging.INFO)
    ours.handlers[:] = [_Tapped(tap) for tap in taps]


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return what a record is about: `event`, and fields where it is one of ours."""
    return dict(getattr(record, _FIELDS, None) or {"event": record.getMessage()})


def line(fields: Mapping[str, Any]) -> str:
    """Return `key=value …` as logfmt has it: quoted where it must be, one line whatever is in it."""
    return " ".join(f"{key}={_value(value)}" for key, value in fields.items())


class _Tapped(logging.Handler):
    """Hands events to a tap."""

    def __init__(self, tap: Tap) -> None:
        super().__init__()
        self._tap = tap

    def emit(self, record: logging.LogRecord) -> None:
        self._tap(fields_of(record))


class _Line(logging.Formatter):
    """An event as one line."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat().replace("+00:00", "Z")
        told = {"timestamp": at, "level": record.levelname.lower(), **fields_of(record)}
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return line(told)


def _value(value: object) -> str:
    if value is None:
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    is_quoted = any(mark in text for mark in ' ="')
    if is_quoted:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    text = text.replace("\r", "\\r").replace("\n", "\\n")
    return f'"{text}"' if is_quoted else text
