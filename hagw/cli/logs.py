"""`hagw logs`: what daemon and workers say, wherever it is kept."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from hagw.control.places import runtime_dir
from hagw.errors import HagwError

UNIT: Final = "hagw*"
TAIL_BYTES: Final = 1 << 20


def logs(
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, max=100_000, help="The newest so many lines.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written (journal only).")] = False,
) -> None:
    """Show the newest lines of the log: the journal's, else those of the workers' own files."""
    found = worker_logs(runtime_dir(), lines)
    if found:
        for name, text in found.items():
            print(f"==> {name} <==\n{text}", end="" if text.endswith("\n") else "\n")
        if not follow:
            return
    program = shutil.which("journalctl")
    if program is None:
        raise HagwError(f"There is no journal on this machine, and no log in {runtime_dir()}.")
    sys.stdout.flush()
    command = [program, "--no-pager", "--unit", UNIT, "--lines", str(lines), *(["--follow"] if follow else [])]
    done = subprocess.run(command, check=False)
    if done.returncode:
        raise HagwError(f"journalctl ended with {done.returncode}.")


def worker_logs(directory: Path, lines: int) -> dict[str, str]:
    """Return the newest lines of each log file in a runtime directory, by name."""
    return {path.name: _tail(path, lines) for path in sorted(directory.glob("*.log"))}


def _tail(path: Path, lines: int) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError as why:
        return f"cannot be read: {why.strerror}\n"
    return "".join(text.splitlines(keepends=True)[-lines:])
