"""What failed tests leave behind: a file with everything of each, and the few lines that tell most, for a run's end.

Whoever looks at a run from afar sees the end of what it printed. The tests write (`tests/conftest.py`), `checks` and
they show.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

VARIABLE: Final = "HAGW_TEST_REPORTS"  # the directory of the files
DIRECTORY: Final = "test-reports"  # in the source tree, where the variable is not set
LINES_EACH: Final = 12
LINES_MAX: Final = 100
WIDTH: Final = 300
_RECORD: Final = "failures.jsonl"


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed test: its id, what tells most in the order in which it does, and the name of the file with all."""

    test: str
    lines: tuple[str, ...]
    file: str


def directory(root: Path) -> Path:
    """Return where failures of the tests of a source tree are kept."""
    return Path(os.environ.get(VARIABLE) or root / DIRECTORY)


def forget(kept: Path) -> None:
    """Begin a run: what an earlier one recorded is none of its failures."""
    (kept / _RECORD).unlink(missing_ok=True)


def record(kept: Path, failure: Failure) -> None:
    """Add a failure to those of the run."""
    kept.mkdir(parents=True, exist_ok=True)
    with (kept / _RECORD).open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(failure)) + "\n")


def recorded(kept: Path) -> list[Failure]:
    """Return the failures of the run so far."""
    try:
        text = (kept / _RECORD).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    found = (json.loads(line) for line in text.splitlines())
    return [Failure(each["test"], tuple(each["lines"]), each["file"]) for each in found]


def summary(failures: Sequence[Failure], kept: Path) -> list[str]:
    """Return LINES_MAX lines at most, LINES_EACH of them a failure: where there are many, each has the fewer."""
    if not failures:
        return []
    shown = failures[: LINES_MAX - 2]
    each = min(LINES_EACH, (LINES_MAX - 2) // len(shown))
    lines = [f"== {len(failures)} failed; all about each is in {kept}"]
    for number, failure in enumerate(shown, 1):
        lines.append(f"[{number}] {failure.test} ({failure.file})")
        lines += [f"    {line}" for line in failure.lines[: each - 1]]
    if len(shown) < len(failures):
        lines.append(f"and {len(failures) - len(shown)} more")
    return [line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…" for line in lines]
