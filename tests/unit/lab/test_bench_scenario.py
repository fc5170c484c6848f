"""Scenarios of the bench are data: what is in them, what is refused, how they are chosen."""

from pathlib import Path

import pytest

from hagw.errors import ConfigError
from hagw.lab.bench.all_systems import systems
from hagw.lab.bench.scenario import MEASURES, PARAMETERS, SYSTEMS, Target, chosen, load_scenario, parse, scenario_names
from hagw.lab.topology import load_topology

GOOD = """
version: 1
name: mine
measure: goodput
systems: [hagw, direct]
params: {lasts_s: 2}
each: {direction: [down, up], streams: [1, 4]}
cases:
  calm: {}
  torn:
    links: {lte: {delay: 60ms}}
    events: [{at_s: 1, link: dsl, set: {blackhole: both}}]
    targets: [{at_least: 0.9, of: sum}, {statistic: max, at_most: 400}]
"""


def test_every_shipped_scenario_is_understood_and_speaks_of_links_that_exist() -> None:
    for name in scenario_names():
        scenario = load_scenario(name)
        links = load_topology(preset=scenario.preset).links
        assert scenario.name == name
        assert len({case.name for case in scenario.cases}) == len(scenario.cases)
        for case in scenario.cases:
            assert {*case.links, *(event.link for event in case.events)} <= set(links)


def test_every_activity_gives_figures() -> None:
    assert {measure.activity for measure in MEASURES.values()} == set(PARAMETERS)


def test_every_system_a_scenario_may_name_can_be_set_up() -> None:
    assert [system.name for system in systems(SYSTEMS, ["dsl", "lte"])] == [
        name for system in SYSTEMS for name in (("line dsl", "line lte") if system == "lines" else (system,))
    ]


def test_a_scenario_may_give_several_figures_and_a_target_says_which_it_is_about() -> None:
    scenario = load_scenario("relay")
    assert [measure.name for measure in scenario.measures] == ["goodput", "cpu-per-gb"]
    targets = scenario.cases[0].targets
    assert {target.measure for target in targets} == {"goodput", "cpu-per-gb"}
    assert scenario.activity == "transfer"


def test_each_case_is_there_once_for_every_combination() -> None:
    scenario = parse(GOOD, "mine.yaml")
    names = [case.name for case in scenario.cases]
    assert names == [
        f"{case}-{way}-{streams}-streams" for case in ("calm", "torn") for way in ("down", "up") for streams in (1, 4)
    ]
    torn = scenario.cases[-1]
    assert torn.params == {"direction": "up", "streams": 4, "lasts_s": 2, "ramp_s": 3.0}
    assert torn.links == {"lte": {"delay": "60ms"}}
    assert str(torn.events[0]) == "dsl blackhole both"
    assert torn.targets == (
        Target("median", "at_least", 0.9, "sum", "goodput"),
        Target("max", "at_most", 400, "", "goodput"),
    )
    assert [str(target) for target in torn.targets] == ["median ≥ 90 % of sum", "max ≤ 400"]


@pytest.mark.parametrize(
    ("old", "new", "place", "said"),
    [
        ("version: 1", "version: 2", "version", "must be 1"),
        ("measure: goodput", "measure: speed", "measure", "'speed' is not one of goodput"),
        ("measure: goodput", "measure: [goodput, first-byte]", "measure", "of one activity"),
        ("[hagw, direct]", "[hagw, magic]", "systems", "'magic' is not one of"),
        ("{lasts_s: 2}", "{lasts_s: long}", "cases.calm.lasts_s", "must be a number"),
        ("{lasts_s: 2}", "{laps: 2}", "cases.calm.laps", "unknown parameter of transfer"),
        ("[down, up]", "[sideways]", "cases.calm.direction", "'sideways' is not one of down, up"),
        ("delay: 60ms", "delay: soon", "cases.torn.links.lte", "delay"),
        ("blackhole: both", "blackhole: some", "cases.torn.events.set", "blackhole"),
        ("{at_s: 1, ", "{", "cases.torn.events", "at_s"),
        ("at_most: 400", "of: sum", "cases.torn.targets", "at_least"),
        ("calm: {}", "calm: {lines: 3}", "cases.calm.lines", "unknown key"),
        ("name: mine", "name: [", "", "not valid YAML"),
    ],
)
def test_a_mistake_is_named_with_its_place(old: str, new: str, place: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(GOOD.replace(old, new), "mine.yaml")
    (issue,) = refused.value.issues
    assert issue.path == place
    assert said in issue.message


def test_cases_are_chosen_by_pattern_and_united_by_scenario(tmp_path: Path) -> None:
    (one,) = chosen(["aggregation/rtt-1-1-down-*", "aggregation/rtt-1-1-*-1-streams"])
    assert [case.name for case in one.cases] == [
        "rtt-1-1-down-1-streams",
        "rtt-1-1-down-8-streams",
        "rtt-1-1-up-1-streams",
    ]
    file = tmp_path / "own.yaml"
    file.write_text(GOOD, encoding="utf-8")
    assert [scenario.name for scenario in chosen([str(file)])] == ["mine"]
    assert {scenario.name for scenario in chosen([])} == set(scenario_names())


@pytest.mark.parametrize("wanted", ["nothing", "aggregation/nothing", "/nowhere/x.yaml"])
def test_what_does_not_exist_is_refused(wanted: str) -> None:
    with pytest.raises(ConfigError):
        chosen([wanted])
