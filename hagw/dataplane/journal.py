"""What a worker writes to its own log: one line an event, `key=value`, like the daemon's, without its library."""

import json
import sys
from datetime import UTC, datetime
from typing import Final

VALUE_MAX_CHARS: Final = 200


class Log:
    """Writes events to standard error."""

    def info(self, event: str, **fields: object) -> None:
        """Write something worth knowing."""
        _write("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Write something worth a look."""
        _write("warning", event, fields)


def _write(level: str, event: str, fields: dict[str, object]) -> None:
    moment = datetime.now(UTC).isoformat(timespec="milliseconds")
    pairs = [("timestamp", moment), ("level", level), ("event", event), *fields.items()]
    try:
        print(" ".join(f"{key}={_quoted(value)}" for key, value in pairs), file=sys.stderr, flush=True)
    except OSError:
        pass  # no room for the log, or nobody reads it: connections are more important


def _quoted(value: object) -> str:
    """Return one word, or a quoted string in ASCII: what a peer chose can neither end the line nor be endless."""
    text = str(value)[:VALUE_MAX_CHARS]
    plain = text.isascii() and text.isprintable() and not set(text) & set(' "=\\')
    return text if text and plain else json.dumps(text)
