"""The document of a bench is the contract's, and table and HTML say what it holds."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hagw.lab.bench import command, plot
from hagw.lab.bench.bulk import Timeline
from hagw.lab.bench.report import BEGIN, END, figure, html, markdown, replaced, tables
from hagw.lab.bench.results import Machine, Result, Row, document
from hagw.lab.bench.scenario import Scenario, Target, parse
from hagw.lab.lab import UnknownName

MACHINE = Machine("2 × CPU, 4 GiB, Debian", "6.1.0", "abc123", "2026-01-02T03:04:05Z")
SCENARIO = parse(
    "{version: 1, name: mine, title: 'a <b> & c', measure: goodput,"
    " cases: {calm: {targets: [{at_least: 0.9, of: sum}]}}}",
    "mine.yaml",
)
TIMELINE = Timeline(0.1, {"dsl": [1e6, 2e6], "lte": [3e6, 0.0]}, [3.9e6, 1.9e6], [(0.15, "dsl blackhole both")])


def found(hagw: Row, scenario: Scenario = SCENARIO) -> Result:
    rows = {"hagw": hagw, "line dsl": Row([10e6, 11e6]), "line lte": Row([20e6, 21e6])}
    rows["mptcpize"] = Row(why_not="the Debian package mptcpize is not installed")
    return Result(scenario, scenario.cases[0], scenario.measures[0], rows, 30e6)


def test_the_document_has_the_contracts_keys() -> None:
    written = json.loads(json.dumps(document(MACHINE, [found(Row([28e6, 29e6, 27e6], timeline=TIMELINE))])))
    assert {"schema", "machine", "kernel", "commit", "scenarios"} <= set(written)
    (entry,) = written["scenarios"]
    assert {"name", "params", "unit", "systems", "limit", "target", "pass"} <= set(entry)
    assert (entry["name"], entry["params"]["case"], entry["unit"], entry["limit"]) == ("mine", "calm", "bit/s", 30e6)
    assert {key: entry["systems"]["hagw"][key] for key in ("runs", "median", "min", "max")} == {
        "runs": [28e6, 29e6, 27e6],
        "median": 28e6,
        "min": 27e6,
        "max": 29e6,
    }
    assert entry["systems"]["best-line"]["runs"] == [20e6, 21e6]
    assert entry["systems"]["sum"]["runs"] == [30e6, 32e6]
    assert entry["systems"]["mptcpize"]["median"] is None
    assert (entry["target"], entry["pass"]) == ("median ≥ 90 % of sum", True)


def test_a_run_that_is_not_proven_does_not_pass_however_fast() -> None:
    assert found(Row([31e6])).passed() is True
    assert found(Row([31e6], proofs=["0 %"], unproven=1)).passed() is False
    assert found(Row([20e6])).passed() is False
    assert found(Row(why_not="it did not start")).passed() is None


def test_the_best_peer_and_line_are_the_lowest_where_less_is_better() -> None:
    scenario = parse("{version: 1, name: asks, measure: [first-byte, connections]}", "asks.yaml")
    rows = {"haproxy": Row([3.0, 5.0]), "sing-box": Row([6.0]), "line dsl": Row([9.0]), "line lte": Row([8.0])}
    low, high = (Result(scenario, scenario.cases[0], measure, dict(rows)).all_rows() for measure in scenario.measures)
    assert (low["best-peer"].runs, low["best-line"].runs) == ([3.0, 5.0], [8.0])
    assert (high["best-peer"].runs, high["best-line"].runs) == ([6.0], [9.0])
    assert "sum" not in low


def test_a_target_is_held_only_against_the_figure_it_is_about() -> None:
    scenario = parse(
        "{version: 1, name: asks, measure: [first-byte, connections],"
        " targets: [{at_most: 5}, {measure: connections, at_least: 100}]}",
        "asks.yaml",
    )
    results = [Result(scenario, scenario.cases[0], measure, {"hagw": Row([6.0])}) for measure in scenario.measures]
    assert [result.target() for result in results] == ["median ≤ 5", "median ≥ 100"]
    assert [result.passed() for result in results] == [False, False]
    results[0].rows["hagw"].runs[:] = [4.0]
    results[1].rows["hagw"].runs[:] = [101.0]
    assert [result.passed() for result in results] == [True, True]


def test_the_table_says_what_could_not_run_and_why() -> None:
    text = _table(document(MACHINE, [found(Row([31e6], proofs=["0 %"], unproven=1))]))
    assert "not measured: the Debian package mptcpize is not installed" in text
    assert "1 of 1 runs NOT PROVEN" in text
    assert "MISSED: median ≥ 90 % of sum" in text
    assert "30.0 Mbit/s" in text


def test_the_page_is_whole_and_fetches_nothing() -> None:
    page = html(document(MACHINE, [found(Row([28e6], proofs=["100 %"], timeline=TIMELINE))]))
    seen = _Seen()
    seen.feed(page)
    assert {"svg", "polygon", "table"} <= set(seen.tags)
    assert not {"script", "link", "img", "iframe"} & set(seen.tags)
    assert "http" not in page
    assert "url(" not in page
    for words in ("a &lt;b&gt; &amp; c", "6.1.0", "abc123", "2026-01-02T03:04:05Z", "dsl blackhole both"):
        assert words in page


def test_a_documents_tables_are_replaced_and_the_rest_of_it_stays() -> None:
    section = markdown(document(MACHINE, [found(Row([28e6]))]))
    once = replaced(f"# Before\n{BEGIN}\nold\n{END}\nafter\n", section)
    assert once == f"# Before\n{BEGIN}\n{section}{END}\nafter\n"
    assert replaced(once, section) == once
    assert "| calm: goodput | hagw | 28.0 Mbit/s | 1 run | 93 % | met: median ≥ 90 % of sum |" in section
    assert replaced(f"{END} {BEGIN}", section) is None
    assert replaced("no place", section) is None


def test_the_tables_of_several_benches_go_into_one_document(tmp_path: Path) -> None:
    files = [tmp_path / f"{kernel}.json" for kernel in ("6.1.0", "6.18.0")]
    for file in files:
        written = document(replace(MACHINE, kernel=file.stem), [found(Row([28e6]))])
        file.write_text(json.dumps(written), encoding="utf-8")
    target = tmp_path / "performance.md"
    target.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    said: list[str] = []
    command.report(files, None, target, said.append)
    text = target.read_text(encoding="utf-8")
    assert text.index("Linux 6.1.0") < text.index("Linux 6.18.0") < text.index("after")
    assert text.count("| calm: goodput | hagw |") == 2
    assert "old" not in text
    assert len(said) == len(list(tmp_path.glob("*.html"))) == 2
    with pytest.raises(UnknownName):
        command.report(files, tmp_path / "one.html", None, said.append)


def test_areas_are_stacked_within_the_picture() -> None:
    svg = plot.rates("hagw", {**_timeline(), "arrived": [3.9e6, 1.9e6]})
    assert svg.index(">5<") > 0  # Mbit/s at the top of the axis: the lines' rates added up, rounded
    assert svg.count("<polygon") == 2
    points = [point for part in svg.split("points='")[1:] for point in part.split("'")[0].split()]
    assert all(0 <= float(x) <= plot.WIDTH and 0 <= float(y) <= plot.HEIGHT for x, y in (p.split(",") for p in points))
    assert plot.rates("nothing", {"step_s": 0.1, "lines": {}, "arrived": [], "events": []}) == ""


@pytest.mark.parametrize(("value", "above"), [(1.0, 1.0), (1.1, 2.0), (23e6, 25e6), (26e6, 50e6), (99e6, 100e6)])
def test_axes_end_at_a_round_number(value: float, above: float) -> None:
    assert plot.nice(value) == above


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (85.12e6, "bit/s", "85.1 Mbit/s"),
        (2.5e9, "bit/s", "2.50 Gbit/s"),
        (145.0, "ms", "145 ms"),
        (9.87, "ms", "9.9 ms"),
        (None, "ms", "–"),
        (1234.5, "conn/s", "1234 conn/s"),
        (0.7654, "CPU s/GB", "0.765 CPU s/GB"),
    ],
)
def test_figures_are_readable(value: float | None, unit: str, words: str) -> None:
    assert figure(value, unit) == words


def test_targets_say_what_they_want() -> None:
    assert str(Target("max", "at_most", 450)) == "max ≤ 450"


class _Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)


def _timeline() -> dict[str, Any]:
    return {"step_s": 0.1, "lines": {"dsl": [1e6, 2e6], "lte": [3e6, 0.0]}, "events": []}


def _table(written: dict[str, Any]) -> str:
    console = Console(width=200, record=True, file=None, quiet=False)
    with console.capture() as captured:
        for table in tables(written):
            console.print(table)
    return captured.get()
