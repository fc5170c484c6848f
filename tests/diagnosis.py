"""What is told of a failed test: in short at the end of the run, at length in a file of its own."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from hagw.lab import failures
from hagw.lab.failures import Failure

# What a directory's own hook adds about the machines that a failed test ran on.
IN_SHORT: Final = pytest.StashKey[list[str]]()
AT_LENGTH: Final = pytest.StashKey[str]()
CAPTURED_LINES: Final = 15  # of each output of a test; its file has all
_MESSAGE_LINES: Final = 3
_STATEMENT_CHARACTERS: Final = 90
_NAMED: Final = "diagnosis"


def describe(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    """Write all that is known of a failure into its file, and leave in the report what tells most."""
    kept = failures.directory(item.config.rootpath)
    lines = [*_what(item, call, report), *item.stash.get(IN_SHORT, [])]
    file = f"{re.sub(r'[^A-Za-z0-9.-]+', '_', item.nodeid.removeprefix('tests/'))[:150]}.{report.when}.txt"
    kept.mkdir(parents=True, exist_ok=True)
    (kept / file).write_text("\n".join(_at_length(item, call, report, lines)) + "\n", encoding="utf-8")
    report.user_properties.append((_NAMED, (lines, file)))
    report.sections = [(title, _end_of(text)) for title, text in report.sections]


def _at_length(
    item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport, lines: list[str]
) -> Iterator[str]:
    yield from (item.nodeid, *lines, "")
    if call.excinfo is not None:
        yield str(call.excinfo.getrepr(style="long", showlocals=True))
    for title, text in report.sections:
        yield from ("", f"=== {title}", text)
    yield item.stash.get(AT_LENGTH, "")


def _what(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> Iterator[str]:
    """Yield where it failed, in the test and wherever that led to, and what was not so, with its values."""
    during = "" if report.when == "call" else f"in its {report.when}, "
    if call.excinfo is None or isinstance(report.longrepr, str):
        yield f"{during}{report.longreprtext.strip()}"
        return
    entries = list(call.excinfo.traceback)
    in_test = [entry for entry in entries if entry.path == item.path]
    told = [
        _place(Path(str(each.path)), each.lineno + 1, str(each.statement), item.config.rootpath)
        for each in (*in_test[:1], *in_test[-1:], entries[-1])
    ]
    yield f"{during}{' > '.join(dict.fromkeys(told))}"
    yield from _message(call.excinfo.value)


def _place(path: Path, line: int, statement: str, root: Path) -> str:
    where = path.relative_to(root) if path.is_relative_to(root) else path
    return f"{where}:{line}: {' '.join(statement.split())[:_STATEMENT_CHARACTERS]}"


def _message(error: BaseException) -> list[str]:
    while isinstance(error, BaseExceptionGroup):  # the first of several tells more than how many there are
        error = error.exceptions[0]
    lines = [line.strip() for line in f"{type(error).__name__}: {error}".splitlines()]
    told = [line for line in lines if line and not line.startswith("Use -v")]
    return [f"E {line}" for line in told[:_MESSAGE_LINES]]


def _end_of(text: str) -> str:
    lines = text.splitlines()
    if len(lines) <= CAPTURED_LINES:
        return text
    return "\n".join([f"… {len(lines) - CAPTURED_LINES} lines before are in the test's file", *lines[-CAPTURED_LINES:]])


class Diagnoses:
    """Records the failures of a run and prints them as the last thing it says."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._kept = failures.directory(config.rootpath)
        self._failures: list[Failure] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Hear of a test, wherever it ran. One whose process died has nothing but its end to tell of."""
        if not report.failed:
            return
        last_words = report.longreprtext.strip().splitlines()[-1:]
        lines, file = dict(report.user_properties).get(_NAMED, (last_words, "no file"))  # type: ignore[misc]  # ours
        failure = Failure(report.nodeid, tuple(lines), file)
        self._failures.append(failure)
        failures.record(self._kept, failure)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Iterator[None]:
        """Speak after the terminal's own summary."""
        yield
        terminal = self._config.pluginmanager.getplugin("terminalreporter")
        if terminal is None:
            return
        for line in failures.summary(self._failures, self._kept):
            terminal.write_line(line)
