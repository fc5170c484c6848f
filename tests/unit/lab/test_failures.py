"""What is told of failed tests at the end of a run."""

from pathlib import Path

import pytest

from hagw.lab import failures
from hagw.lab.failures import LINES_EACH, LINES_MAX, WIDTH, Failure


def failed(number: int, lines: int = 30) -> Failure:
    return Failure(f"tests/test_a.py::test_{number}", tuple(f"line {i}" for i in range(lines)), f"{number}.txt")


def test_what_one_process_records_another_reads(tmp_path: Path) -> None:
    kept = tmp_path / "made when needed"
    assert failures.recorded(kept) == []
    for number in range(3):
        failures.record(kept, failed(number))
    assert failures.recorded(kept) == [failed(0), failed(1), failed(2)]
    failures.forget(kept)
    assert failures.recorded(kept) == []


def test_what_tells_most_comes_first_and_the_file_is_named(tmp_path: Path) -> None:
    assert failures.summary([failed(7, 2)], tmp_path) == [
        f"== 1 failed; all about each is in {tmp_path}",
        "[1] tests/test_a.py::test_7 (7.txt)",
        "    line 0",
        "    line 1",
    ]


@pytest.mark.parametrize("count", [1, 5, 8, 9, 30, 98, 99, 1000])
def test_a_summary_is_short_however_much_failed(tmp_path: Path, count: int) -> None:
    lines = failures.summary([failed(number) for number in range(count)], tmp_path)
    named = [line for line in lines if line.startswith("[")]
    assert len(lines) <= LINES_MAX
    assert len(named) == min(count, LINES_MAX - 2)
    assert max(lines.count(f"    line {i}") for i in range(30)) <= len(named)
    assert len(lines) <= 2 + LINES_EACH * len(named)
    assert (lines[-1] == f"and {count - 98} more") == (count > 98)


def test_a_line_has_a_bound(tmp_path: Path) -> None:
    line = failures.summary([Failure("t", ("x" * 1000,), "f")], tmp_path)[-1]
    assert len(line) == WIDTH
    assert line.endswith("x…")


def test_nothing_failed_is_nothing_told(tmp_path: Path) -> None:
    assert failures.summary([], tmp_path) == []


def test_the_directory_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(failures.VARIABLE, raising=False)
    assert failures.directory(tmp_path) == tmp_path / failures.DIRECTORY
    monkeypatch.setenv(failures.VARIABLE, "/elsewhere")
    assert failures.directory(tmp_path) == Path("/elsewhere")
