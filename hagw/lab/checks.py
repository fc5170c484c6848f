"""All checks of the source tree in one command: format, lint, types, layers, tests; what failed has the last word."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hagw.errors import UnsupportedEnvironment
from hagw.lab import failures

# What must be there: a test that would skip for want of it fails instead (tests/conftest.py).
EXPECTED: Final = "netns,mptcp,nft"
TESTS: Final = "tests"
SIDE_BY_SIDE: Final = "tests side by side"
PROCESSES: Final = 3  # on two processors: most tests wait for the kernel most of the time
LABS_SIDE_BY_SIDE: Final = "labs side by side"
LABS: Final = 2  # each has its own daemons, workers and emulator: more would make hagw itself late
ALONE: Final = "alone"  # the marker of tests that measure time or fill the machine
BESIDE: Final = "beside"  # the marker of tests with a lab that others may run beside


@dataclass(frozen=True, slots=True)
class Check:
    """One command and what it is called in the summary."""

    name: str
    argv: tuple[str, ...]


def checks(tests: Sequence[str], *, quick: bool) -> tuple[Check, ...]:
    """Return the checks in the order they run; `tests` are further arguments for pytest."""
    own = Path(sys.executable).parent
    pytest = (sys.executable, "-m", "pytest", "--tb=short")  # failures' files have it long
    if tests:
        run = [Check(TESTS, (*pytest, *(("-m", "not slow") if quick else ()), *tests))]
    else:
        quickly = " and not slow" if quick else ""
        freely = ("--dist", "worksteal", "-n")
        by_file = ("--dist", "loadfile", "-n")  # a file's tests share their lab
        run = [
            Check(SIDE_BY_SIDE, (*pytest, *freely, str(PROCESSES), "-m", f"not {ALONE} and not {BESIDE}{quickly}")),
            Check(LABS_SIDE_BY_SIDE, (*pytest, *by_file, str(LABS), "-m", f"{BESIDE} and not {ALONE}{quickly}")),
            Check(TESTS, (*pytest, "-m", f"{ALONE}{quickly}")),
        ]
    return (
        Check("format", (str(own / "ruff"), "format", "--check", "--quiet", ".")),
        Check("lint", (str(own / "ruff"), "check", "--quiet", ".")),
        Check("types", (sys.executable, "-m", "mypy")),
        Check("layers", (str(own / "lint-imports"),)),
        *run,
    )


def run_all(tests: Sequence[str], *, quick: bool, say: Callable[[str], None]) -> bool:
    """Run every check, whatever the others say, and tell of each failed test at the end; return whether all passed."""
    root = source_root()
    environment = {**os.environ, "PYTHONPATH": str(root)}
    environment.setdefault("HAGW_EXPECT", EXPECTED)
    failed = []
    kept = failures.directory(root)
    failures.forget(kept)
    for check in checks(tests, quick=quick):
        say(f"== {check.name}")
        began = time.monotonic()
        done = subprocess.run(check.argv, cwd=root, env=environment, check=False)
        if done.returncode != 0:
            failed.append(check.name)
        if check.name != TESTS:  # pytest says it itself
            say(f"{check.name} {'passed' if done.returncode == 0 else 'FAILED'} in {time.monotonic() - began:.1f} s")
    if not tests:  # one run of pytest has just told of its own
        for line in failures.summary(failures.recorded(kept), kept):
            say(line)
    if failed and failed != [TESTS]:
        say(f"FAILED: {', '.join(failed)}")
    return not failed


def source_root() -> Path:
    """Return the directory of the source tree we run from. Raise UnsupportedEnvironment if it is an installation."""
    root = Path(__file__).parents[2]
    if not (root / "tests").is_dir():
        raise UnsupportedEnvironment("`lab test` needs the source tree: run ./lab test in a checkout")
    return root
