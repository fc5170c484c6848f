"""The reference documents are complete and current: what they list is what the code has, no more and no less."""

import ast
import re
import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.main import get_command

from hagw import errors
from hagw.api.app import build_app
from hagw.cli import lab
from hagw.cli.app import app
from hagw.cli.quick import INTERRUPTED
from hagw.config.schema import ROLES
from hagw.control.status_documents import BondState
from hagw.control.worker_seat import SeatState
from hagw.dataplane.cpe import CpeWorker
from hagw.dataplane.hag import HagWorker
from hagw.dataplane.loop import Loop
from hagw.model.health import GatewayReach, UplinkState
from hagw.plan.nft import COUNTERS
from tests.unit import docs

# --- configuration


def test_every_configuration_key_is_listed_with_its_default() -> None:
    listed = docs.table(docs.text("docs/configuration.md"))
    for key, field in _keys().items():
        assert key in listed, f"docs/configuration.md has no row for {key}"
        assert _default(field) in (None, listed[key][0]), f"{key}: the default is {_default(field)}"


def test_no_configuration_key_is_listed_that_does_not_exist() -> None:
    listed = docs.table("".join(docs.sections("docs/configuration.md", 2)[title] for title in _KEY_SECTIONS))
    assert set(listed) - {"key", "---"} == set(_keys())


_KEY_SECTIONS = ("Both roles", "role: cpe", "role: hag", "limits")


def _keys() -> dict[str, FieldInfo]:
    return {key: field for model in ROLES.values() for key, field in _fields(model, "")}


def _fields(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        yield prefix + name, field
        inner, repeated = _section(field.annotation)
        if inner is not None:
            yield from _fields(inner, f"{prefix}{name}{'[]' if repeated else ''}.")


def _section(annotation: Any, repeated: bool = False) -> tuple[type[BaseModel] | None, bool]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, repeated
    if get_origin(annotation) in {tuple, Union, types.UnionType, Annotated}:
        for argument in get_args(annotation):
            inner, _ = _section(argument)
            if inner is not None:
                return inner, repeated or get_origin(annotation) is tuple
    return None, repeated


def _default(field: FieldInfo) -> str | None:
    """Return the default as the document writes it; None where that is put in words."""
    if field.is_required():
        return "required"
    match field.default:
        case bool(value):
            return str(value).lower()
        case float(value):
            return f"{value / 86_400:g} d" if value >= 86_400 else f"{value:g} s"
        case int(value) | str(value):
            return str(value)
        case _:
            return None


# --- command line and API


@pytest.mark.parametrize(("group", "prefix"), [(app, "hagw"), (lab.load(), "lab")], ids=["hagw", "lab"])
def test_every_verb_and_option_is_described(group: Any, prefix: str) -> None:
    described = {
        title.removeprefix(f"{prefix} "): body
        for title, body in docs.sections("docs/cli.md", 3).items()
        if title.startswith(f"{prefix} ")
    }
    verbs = {name: verb for name, verb in get_command(group).commands.items() if not verb.hidden}
    assert set(described) == set(verbs)
    for name, verb in verbs.items():
        wanted = {option for parameter in verb.params for option in parameter.opts if option.startswith("--")}
        assert {key for key in docs.table(described[name]) if key.startswith("--")} == wanted, name


def test_every_exit_code_is_explained() -> None:
    codes = {"0", str(INTERRUPTED), *(str(error.exit_code) for error in _errors(errors.HagwError))}
    for document in ("docs/cli.md", "docs/runbook.md"):
        listed = docs.table(docs.sections(document, 2)["Exit codes"])
        assert set(listed) - {"code", "---"} == codes


def test_every_route_is_described() -> None:
    schema = build_app(_Nobody(), _Nobody(), _Nobody(), _Nobody(), _Nobody()).openapi()
    routes = {f"{method.upper()} {path}" for path, methods in schema["paths"].items() for method in methods}
    listed = docs.table(docs.sections("docs/cli.md", 2)["HTTP"])
    assert set(listed) - {"route", "---"} == routes | {"GET /api/v1/openapi.json"}


class _Nobody:
    """Stands for a daemon or kernel that is never asked."""


def _errors(error: type[errors.HagwError]) -> Iterator[type[errors.HagwError]]:
    yield error
    for narrower in error.__subclasses__():
        yield from _errors(narrower)


# --- runbook


@pytest.mark.parametrize(
    ("section", "level", "states"),
    [
        ("States", 2, BondState),
        ("Uplinks", 3, UplinkState),
        ("Gateways", 3, GatewayReach),
        ("Workers", 3, SeatState),
    ],
)
def test_every_state_is_explained(section: str, level: int, states: Any) -> None:
    body = docs.sections("docs/runbook.md", level)[section]
    for state in get_args(states):
        assert f"`{state}`" in body


def test_every_log_event_is_explained_at_its_level() -> None:
    listed = docs.table(docs.sections("docs/runbook.md", 2)["Log"])
    assert {event: cells[0] for event, cells in listed.items() if event not in ("event", "---")} == dict(_log_events())


def test_every_counter_is_explained() -> None:
    listed = docs.table(docs.sections("docs/runbook.md", 2)["The table's counters"])
    assert set(listed) - {"counter", "---"} == set(COUNTERS)


def test_every_number_of_a_worker_is_explained() -> None:
    cpe = CpeWorker(Loop(), _Nobody(), print).stats()
    hag = HagWorker(Loop(), print).stats()
    listed = docs.table(docs.sections("docs/runbook.md", 3)["Workers"])
    of_the_process = {"faults", "snapshot_generation", "memory_kb"}
    assert {key for key in listed if re.fullmatch("[a-z_]+", key)} >= {*cpe, *hag, *of_the_process}


def _log_events() -> Iterator[tuple[str, str]]:
    for module in (docs.ROOT / "hagw").rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="log"), attr=level), args=[event, *_]):
                    for part in ast.walk(event):
                        match part:
                            case ast.IfExp(body=ast.Constant(value=str(one)), orelse=ast.Constant(value=str(other))):
                                yield from ((one, level), (other, level))
                            case ast.Constant(value=str(one)) if part is event:
                                yield one, level
                            case _:
                                pass
                case _:
                    pass
