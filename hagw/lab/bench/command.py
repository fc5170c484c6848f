"""The verbs `bench` and `report`: scenarios to files, files to tables."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from hagw.errors import HagwError
from hagw.lab.bench import report as reporting
from hagw.lab.bench import runner
from hagw.lab.bench.results import Result, document
from hagw.lab.bench.scenario import SYSTEMS, chosen
from hagw.lab.interrupts import ending_on_signals
from hagw.lab.lab import Lab, LabError, UnknownName

_WIDTH: Final = 160  # of tables in files and pipes


def run(
    lab: Lab,
    wanted: Sequence[str],
    json_file: Path | None,
    repeat: int,
    only: Sequence[str],
    say: Callable[[str], None],
) -> None:
    """Run scenarios, print their tables, write JSON and HTML; files grow scenario by scenario.

    Raise ConfigError or UnknownName for what does not exist, LabError if a file cannot be written.
    """
    for name in only:
        if name not in SYSTEMS:
            raise UnknownName(f"there is no system {name!r}; there are {', '.join(SYSTEMS)}")
    scenarios = chosen(wanted)
    target = json_file or Path(time.strftime("hagw-bench-%Y%m%dT%H%M%SZ.json", time.gmtime()))
    about, results = runner.machine(), list[Result]()
    with ending_on_signals():
        for result in runner.run(lab, scenarios, repeat, only, Console(stderr=True)):
            results.append(result)
            _write(target, json.dumps(document(about, results), indent=1))
    found = document(about, results)
    page = target.with_suffix(".html")
    _write(page, reporting.html(found))
    _print(found)
    say(f"{target} and {page} are written")


def report(json_files: Sequence[Path], html: Path | None, markdown: Path | None, say: Callable[[str], None]) -> None:
    """Print benches' tables from their JSON, write their HTML, and put their tables into a Markdown document.

    Raise HagwError if one is not a bench's, or if the document has no place for tables.
    """
    if html is not None and len(json_files) > 1:
        raise UnknownName("--html names one page, and each JSON has its own: leave it out, and each is written beside")
    found = [_document_of(file) for file in json_files]
    if markdown is not None:
        section = "\n".join(reporting.markdown(bench) for bench, _ in found)
        text = reporting.replaced(_read(markdown), section)
        if text is None:
            raise HagwError(f"{markdown} has no lines {reporting.BEGIN} and {reporting.END}, between which tables go")
        _write(markdown, text)
    for file, (bench, page) in zip(json_files, found, strict=True):
        target = html or file.with_suffix(".html")
        _write(target, page)
        _print(bench)
        say(f"{target} is written")


def _document_of(file: Path) -> tuple[dict[str, Any], str]:
    """Return a bench's JSON and the page made of it. Raise HagwError if it is not a bench's."""
    try:
        found: dict[str, Any] = json.loads(_read(file))
        return found, reporting.html(found)
    except (ValueError, KeyError, TypeError) as why:
        raise HagwError(f"{file} is not what `bench --json` writes: {why!r}") from why


def show_scenarios(wanted: Sequence[str]) -> None:
    """Print scenarios with their cases."""
    for scenario in chosen(wanted):
        print(f"{scenario.name}: {scenario.title}")
        print(f"  systems: {', '.join(scenario.systems)}")
        for case in scenario.cases:
            print(f"  {scenario.name}/{case.name}")


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as why:
        raise HagwError(f"{file} cannot be read: {why.strerror}") from why


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as why:
        raise LabError(f"{file} cannot be written: {why.strerror}") from why


def _print(found: dict[str, Any]) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    for table in reporting.tables(found):
        console.print(table)
