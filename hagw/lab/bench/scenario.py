"""What a bench measures, as data: lines, what happens to them, traffic, systems compared, targets.

Scenarios are YAML files in `data/bench/`; own ones can be given by path. Values only: nothing here acts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from hagw.errors import ConfigError, ConfigIssue
from hagw.lab.link import BadLinkParameter, LinkState, changed
from hagw.lab.topology import DATA, preset_names

DIRECTORY: Final = DATA / "bench"

Measure = Literal["goodput", "gap"]
Of = Literal["", "sum", "best-line", "direct", "limit"]

# What is measured: its unit, and the parameters that a case may give with what they are without one.
UNITS: Final[Mapping[str, str]] = {"goodput": "bit/s", "gap": "ms"}
_TRANSFER: Final = {"direction": "down", "streams": 1, "lasts_s": 8.0, "ramp_s": 3.0}
PARAMETERS: Final[Mapping[str, Mapping[str, Any]]] = {"goodput": _TRANSFER, "gap": _TRANSFER}
CHOICES: Final[Mapping[str, tuple[str, ...]]] = {"direction": ("down", "up")}
LESS_IS_BETTER: Final = ("gap",)
SYSTEMS: Final = ("hagw", "direct", "lines", "mptcpize")


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
    of: Of = ""

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
    measure: Measure
    preset: str
    systems: tuple[str, ...]
    cases: tuple[Case, ...]

    @property
    def unit(self) -> str:
        """The unit of the figures."""
        return UNITS[self.measure]


@dataclass(frozen=True, slots=True)
class _Place:
    file: str
    path: str = ""

    def at(self, key: object) -> "_Place":
        return _Place(self.file, f"{self.path}.{key}" if self.path else str(key))

    def fault(self, message: str) -> ConfigError:
        return ConfigError((ConfigIssue(self.file, None, self.path, message),))


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
            raise _Place(text).fault(f"no such case; {name} has: {known}")
        before = found[scenario.name].cases if scenario.name in found else ()
        merged = before + tuple(case for case in cases if case not in before)
        found[scenario.name] = _with_cases(scenario, merged)
    return tuple(found.values())


def load_scenario(name: str) -> Scenario:
    """Read a scenario by its name or file. Raise ConfigError."""
    file = Path(name) if name.endswith(".yaml") else DIRECTORY / f"{name}.yaml"
    if not name.endswith(".yaml") and name not in scenario_names():
        raise _Place(name).fault(f"no such scenario; there are: {', '.join(scenario_names())}")
    try:
        return parse(file.read_text(encoding="utf-8"), str(file))
    except OSError as error:
        raise _Place(str(file)).fault(f"cannot be read: {error.strerror}") from error


def parse(text: str, file: str) -> Scenario:
    """Return the scenario that a YAML text describes. Raise ConfigError with the place of the first mistake."""
    place = _Place(file)
    try:
        document = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise ConfigError((ConfigIssue(file, line, "", f"not valid YAML: {error.problem}"),)) from error
    allowed = ("version", "name", "title", "measure", "preset", "systems", "params", "each", "cases", "targets")
    fields = _mapping(document, place, allowed)
    if fields.get("version") != 1:
        raise place.at("version").fault("must be 1")
    measure = _choice(fields.get("measure"), tuple(UNITS), place.at("measure"))
    preset = _choice(fields.get("preset", "demo"), preset_names(), place.at("preset"))
    systems = tuple(_choice(name, SYSTEMS, place.at("systems")) for name in fields.get("systems", SYSTEMS))
    cases = tuple(_cases(fields, str(measure), place))
    title = str(fields.get("title", ""))
    return Scenario(str(fields.get("name", Path(file).stem)), title, measure, preset, systems, cases)


def _cases(fields: Mapping[str, Any], measure: str, place: _Place) -> Iterator[Case]:
    """Yield each case once for every combination of the values of `each`."""
    common = _mapping(fields.get("params", {}), place.at("params"))
    shared = _targets(fields.get("targets", []), place.at("targets"))
    each = _mapping(fields.get("each", {}), place.at("each"))
    for name, body in _mapping(fields.get("cases", {"all": {}}), place.at("cases")).items():
        here = place.at("cases").at(name)
        own = _mapping(body or {}, here, ("links", "events", "params", "targets"))
        links = _links(own.get("links", {}), here.at("links"))
        events = tuple(_event(event, here.at("events")) for event in own.get("events", ()))
        targets = _targets(own["targets"], here.at("targets")) if "targets" in own else shared
        for values in product(*each.values()):
            params = {**common, **dict(zip(each, values, strict=True)), **_mapping(own.get("params", {}), here)}
            words = "-".join([str(name), *(_word(key, value) for key, value in zip(each, values, strict=True))])
            yield Case(words, _params(params, measure, here), links, events, targets)


def _word(key: str, value: object) -> str:
    return str(value) if isinstance(value, str) else f"{value}-{key}"


def _params(given: Mapping[str, Any], measure: str, place: _Place) -> dict[str, Any]:
    defaults = PARAMETERS[measure]
    for key, value in given.items():
        if key not in defaults:
            raise place.at(key).fault(f"unknown parameter of {measure}; there are {', '.join(defaults)}")
        if key in CHOICES:
            _choice(value, CHOICES[key], place.at(key))
        elif isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise place.at(key).fault("must be a number that is not negative")
    return {**defaults, **given}


def _links(body: Any, place: _Place) -> dict[str, dict[str, object]]:
    return {str(link): _settings(settings, place.at(link)) for link, settings in _mapping(body, place).items()}


def _event(body: Any, place: _Place) -> Event:
    fields = _mapping(body, place, ("at_s", "link", "set"))
    try:
        return Event(float(fields["at_s"]), str(fields["link"]), _settings(fields["set"], place.at("set")))
    except (KeyError, ValueError, TypeError) as error:
        raise place.fault(f"needs `at_s` (seconds), `link` and `set`: {error}") from error


def _settings(body: Any, place: _Place) -> dict[str, object]:
    settings = {str(key): value for key, value in _mapping(body, place).items()}
    try:
        changed(LinkState(), settings)
    except BadLinkParameter as error:
        raise place.fault(str(error)) from error
    return settings


def _targets(body: Any, place: _Place) -> tuple[Target, ...]:
    return tuple(_target(entry, place) for entry in body)


def _target(body: Any, place: _Place) -> Target:
    fields = _mapping(body, place, ("statistic", "at_least", "at_most", "of"))
    relations = [key for key in ("at_least", "at_most") if key in fields]
    if len(relations) != 1 or not isinstance(fields[relations[0]], int | float):
        raise place.fault("needs either `at_least` or `at_most`, a number")
    statistic = _choice(fields.get("statistic", "median"), ("median", "min", "max"), place.at("statistic"))
    of = _choice(fields.get("of", ""), ("", "sum", "best-line", "direct", "limit"), place.at("of"))
    return Target(statistic, relations[0], float(fields[relations[0]]), of)


def _with_cases(scenario: Scenario, cases: tuple[Case, ...]) -> Scenario:
    return Scenario(scenario.name, scenario.title, scenario.measure, scenario.preset, scenario.systems, cases)


def _choice(value: Any, allowed: tuple[str, ...], place: _Place) -> Any:
    if value not in allowed:
        raise place.fault(f"{value!r} is not one of {', '.join(allowed)}")
    return value


def _mapping(value: Any, place: _Place, allowed: tuple[str, ...] = ()) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise place.fault("must be a mapping")
    for key in value:
        if allowed and key not in allowed:
            raise place.at(key).fault(f"unknown key; allowed are {', '.join(allowed)}")
    return value
