"""What a bench measures, as data: lines, what happens to them, traffic, systems compared, targets.

Scenarios are YAML files in `data/bench/`; own ones can be given by path. Values only: nothing here acts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Any, Final, Literal

from hagw.lab.bench.faults import FAULTS, NO_FAULT
from hagw.lab.link import BadLinkParameter, LinkState, changed
from hagw.lab.place import Place, mapping_of, parse_yaml
from hagw.lab.topology import DATA, preset_names

DIRECTORY: Final = DATA / "bench"

Activity = Literal["transfer", "asks", "hold", "endure"]

# What is done in a case, and the parameters it may be given with what they are without one.
PARAMETERS: Final[Mapping[Activity, Mapping[str, Any]]] = {
    "transfer": {"direction": "down", "streams": 1, "lasts_s": 8.0, "ramp_s": 3.0},
    "asks": {"kind": "request", "at_once": 1, "lasts_s": 4.0, "pause_ms": 0.0, "beside": "nothing"},
    "hold": {"connections": 1000},
    "endure": {"fault": NO_FAULT, "after_s": 2.0, "lasts_s": 4.0, "every_ms": 50.0, "patience_s": 60.0},
}
CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "direction": ("down", "up"),
    "kind": ("request", "server-first", "https"),
    "fault": tuple(FAULTS),
    "beside": ("nothing", "down", "up"),  # a bulk transfer that runs meanwhile
}


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure that an activity gives."""

    name: str
    activity: Activity
    unit: str
    less_is_better: bool


MEASURES: Final[Mapping[str, Measure]] = {
    measure.name: measure
    for measure in (
        Measure("goodput", "transfer", "bit/s", less_is_better=False),
        Measure("gap", "transfer", "ms", less_is_better=True),
        Measure("cpu-per-gb", "transfer", "CPU s/GB", less_is_better=True),
        Measure("first-byte", "asks", "ms", less_is_better=True),
        Measure("first-byte-p99", "asks", "ms", less_is_better=True),
        Measure("connections", "asks", "conn/s", less_is_better=False),
        Measure("cpu-per-connection", "asks", "CPU µs", less_is_better=True),
        Measure("memory-per-connection", "hold", "kB", less_is_better=True),
        Measure("outage", "endure", "ms", less_is_better=True),
        Measure("transfer-gap", "endure", "ms", less_is_better=True),
        Measure("bonded-again", "endure", "s", less_is_better=True),
    )
}
PEERS: Final = ("haproxy", "sing-box")
SYSTEMS: Final = ("hagw", "direct", "lines", "mptcpize", *PEERS, "bare-python", "bare-c")
COMPARED: Final = ("sum", "best-line", "best-peer", "limit", *(name for name in SYSTEMS if name != "lines"))


@dataclass(frozen=True, slots=True)
class Event:
    """A change of a link `at_s` seconds after the traffic began."""

    at_s: float
    link: str
    settings: Mapping[str, object]

    def __str__(self) -> str:
        return f"{self.link} {', '.join(f'{key} {value}' for key, value in self.settings.items())}"


@dataclass(frozen=True, slots=True)
class Target:
    """What hagw's median (or min, max) must reach: `bound`, or `bound` times another row's median."""

    statistic: Literal["median", "min", "max"]
    relation: Literal["at_least", "at_most"]
    bound: float
    of: str = ""  # a row (or `limit`), else the bound is the figure itself
    measure: str = ""  # of a scenario with several: which it is about

    def __str__(self) -> str:
        sign = "≥" if self.relation == "at_least" else "≤"
        return f"{self.statistic} {sign} {f'{100 * self.bound:g} % of {self.of}' if self.of else f'{self.bound:g}'}"


@dataclass(frozen=True, slots=True)
class Case:
    """One row of a scenario's table: what the lines are like, what happens to them, what is sent over them."""

    name: str
    params: Mapping[str, Any]
    links: Mapping[str, Mapping[str, object]]
    events: tuple[Event, ...]
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class Scenario:
    """Cases that are measured alike, on one topology, with the same systems."""

    name: str
    title: str
    measures: tuple[Measure, ...]
    preset: str
    systems: tuple[str, ...]
    cases: tuple[Case, ...]

    @property
    def activity(self) -> Activity:
        """What is done in its cases."""
        return self.measures[0].activity


def scenario_names() -> tuple[str, ...]:
    """Return the names of the scenarios that ship with hagw."""
    return tuple(sorted(file.stem for file in DIRECTORY.glob("*.yaml")))


def chosen(wanted: Sequence[str]) -> tuple[Scenario, ...]:
    """Return scenarios by name, by NAME/CASE (with wildcards) or by file; all without any. Raise ConfigError."""
    found: dict[str, Scenario] = {}
    for text in wanted or scenario_names():
        name, _, pattern = (text, "", "") if text.endswith(".yaml") else text.partition("/")
        scenario = load_scenario(name)
        cases = tuple(case for case in scenario.cases if fnmatchcase(case.name, pattern or "*"))
        if not cases:
            known = ", ".join(case.name for case in scenario.cases)
            raise Place(text).fault(f"no such case; {name} has: {known}")
        before = found[scenario.name].cases if scenario.name in found else ()
        merged = before + tuple(case for case in cases if case not in before)
        found[scenario.name] = _with_cases(scenario, merged)
    return tuple(found.values())


def load_scenario(name: str) -> Scenario:
    """Read a scenario by its name or file. Raise ConfigError."""
    file = Path(name) if name.endswith(".yaml") else DIRECTORY / f"{name}.yaml"
    if not name.endswith(".yaml") and name not in scenario_names():
        raise Place(name).fault(f"no such scenario; there are: {', '.join(scenario_names())}")
    try:
        return parse(file.read_text(encoding="utf-8"), str(file))
    except OSError as error:
        raise Place(str(file)).fault(f"cannot be read: {error.strerror}") from error


def parse(text: str, file: str) -> Scenario:
    """Return the scenario that a YAML text describes. Raise ConfigError with the place of the first mistake."""
    place = Place(file)
    document = parse_yaml(text, file)
    allowed = ("version", "name", "title", "measure", "preset", "systems", "params", "each", "cases", "targets")
    fields = mapping_of(document, place, allowed)
    if fields.get("version") != 1:
        raise place.at("version").fault("must be 1")
    measures = _measures(fields.get("measure"), place.at("measure"))
    preset = _choice(fields.get("preset", "demo"), preset_names(), place.at("preset"))
    systems = tuple(_choice(name, SYSTEMS, place.at("systems")) for name in fields.get("systems", SYSTEMS))
    cases = tuple(_cases(fields, measures, place))
    title = str(fields.get("title", ""))
    return Scenario(str(fields.get("name", Path(file).stem)), title, measures, preset, systems, cases)


def _measures(value: Any, place: Place) -> tuple[Measure, ...]:
    names = value if isinstance(value, list) else [value]
    found = tuple(MEASURES[_choice(name, tuple(MEASURES), place)] for name in names)
    if len({measure.activity for measure in found}) != 1:
        raise place.fault("must be figures of one activity: all of transfers, or all of asks")
    return found


def _cases(fields: Mapping[str, Any], measures: tuple[Measure, ...], place: Place) -> Iterator[Case]:
    """Yield each case once for every combination of the values of `each`."""
    common = mapping_of(fields.get("params", {}), place.at("params"))
    shared = _targets(fields.get("targets", []), measures, place.at("targets"))
    each = mapping_of(fields.get("each", {}), place.at("each"))
    for name, body in mapping_of(fields.get("cases", {"all": {}}), place.at("cases")).items():
        here = place.at("cases").at(name)
        own = mapping_of(body or {}, here, ("links", "events", "params", "targets"))
        links = _links(own.get("links", {}), here.at("links"))
        events = tuple(_event(event, here.at("events")) for event in own.get("events", ()))
        targets = _targets(own["targets"], measures, here.at("targets")) if "targets" in own else shared
        for values in product(*each.values()):
            params = {**common, **dict(zip(each, values, strict=True)), **mapping_of(own.get("params", {}), here)}
            words = "-".join([str(name), *(_word(key, value) for key, value in zip(each, values, strict=True))])
            yield Case(words, _params(params, measures[0].activity, here), links, events, targets)


def _word(key: str, value: object) -> str:
    key = key.replace("_", "-")
    return str(value) if isinstance(value, str) else f"{value}-{key}"


def _params(given: Mapping[str, Any], activity: Activity, place: Place) -> dict[str, Any]:
    defaults = PARAMETERS[activity]
    for key, value in given.items():
        if key not in defaults:
            raise place.at(key).fault(f"unknown parameter of {activity}; there are {', '.join(defaults)}")
        if key in CHOICES:
            _choice(value, CHOICES[key], place.at(key))
        elif isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise place.at(key).fault("must be a number that is not negative")
    return {**defaults, **given}


def _links(body: Any, place: Place) -> dict[str, dict[str, object]]:
    return {str(link): _settings(settings, place.at(link)) for link, settings in mapping_of(body, place).items()}


def _event(body: Any, place: Place) -> Event:
    fields = mapping_of(body, place, ("at_s", "link", "set"))
    try:
        return Event(float(fields["at_s"]), str(fields["link"]), _settings(fields["set"], place.at("set")))
    except (KeyError, ValueError, TypeError) as error:
        raise place.fault(f"needs `at_s` (seconds), `link` and `set`: {error}") from error


def _settings(body: Any, place: Place) -> dict[str, object]:
    settings = {str(key): value for key, value in mapping_of(body, place).items()}
    try:
        changed(LinkState(), settings)
    except BadLinkParameter as error:
        raise place.fault(str(error)) from error
    return settings


def _targets(body: Any, measures: tuple[Measure, ...], place: Place) -> tuple[Target, ...]:
    return tuple(_target(entry, measures, place) for entry in body)


def _target(body: Any, measures: tuple[Measure, ...], place: Place) -> Target:
    fields = mapping_of(body, place, ("measure", "statistic", "at_least", "at_most", "of"))
    relations = [key for key in ("at_least", "at_most") if key in fields]
    if len(relations) != 1 or not isinstance(fields[relations[0]], int | float):
        raise place.fault("needs either `at_least` or `at_most`, a number")
    statistic = _choice(fields.get("statistic", "median"), ("median", "min", "max"), place.at("statistic"))
    of = _choice(fields.get("of", ""), ("", *COMPARED), place.at("of"))
    names = tuple(measure.name for measure in measures)
    measure = _choice(fields.get("measure", names[0]), names, place.at("measure"))
    return Target(statistic, relations[0], float(fields[relations[0]]), of, measure)


def _with_cases(scenario: Scenario, cases: tuple[Case, ...]) -> Scenario:
    return Scenario(scenario.name, scenario.title, scenario.measures, scenario.preset, scenario.systems, cases)


def _choice(value: Any, allowed: tuple[str, ...], place: Place) -> Any:
    if value not in allowed:
        raise place.fault(f"{value!r} is not one of {', '.join(allowed)}")
    return value
