"""docs/doctor.md has a row for every trial with its severity and roles, and for every finding."""

import ast
from collections.abc import Iterator

from hagw.doctor.check_kernel import FEATURES
from tests.unit import docs


def test_every_trial_is_described_as_it_is_judged() -> None:
    rows = docs.table(docs.sections("docs/doctor.md", 2)["Kernel"].split("| finding |")[0])
    listed = {name: cells[:2] for name, cells in rows.items() if name not in ("trial", "---")}
    assert listed == {
        feature.trial: ("both" if len(feature.roles) == 2 else feature.roles[0], feature.severity)
        for feature in FEATURES
    }


def test_every_finding_is_described_and_no_other() -> None:
    rows: dict[str, tuple[str, ...]] = {}
    for body in docs.sections("docs/doctor.md", 2).values():
        for part in body.split("\n\n"):
            if part.lstrip().startswith("| finding |"):
                rows |= docs.table(part)
    assert set(rows) - {"finding", "---"} == set(_ids())


def _ids() -> Iterator[str]:
    for module in (docs.ROOT / "hagw" / "doctor").glob("check_*.py"):
        constants: list[ast.expr] = []
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="Finding" | "Sign"), args=[first, *_]):
                    constants.append(first)
                case ast.Assign(targets=[ast.Name(id="name")], value=value):
                    constants.append(value)
                case ast.Assign(targets=[ast.Tuple(elts=[ast.Name(id="name"), _])], value=ast.Tuple(elts=[value, _])):
                    constants.append(value)
                case _:
                    pass
        for constant in constants:
            match constant:
                case ast.Constant(value=str(text)):
                    yield text
                case ast.JoinedStr(values=[ast.Constant(value="line."), ast.FormattedValue(), *rest]):
                    yield "line.LINE" + "".join(str(part.value) for part in rest if isinstance(part, ast.Constant))
                case _:
                    pass
