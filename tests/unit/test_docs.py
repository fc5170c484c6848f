"""The documents hold together: links lead somewhere, examples work, nothing is in them that is not the product's."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

import hagw
from hagw.cli import lab
from hagw.cli.app import app
from hagw.config.load import load
from tests.unit import docs

LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
NOT_THE_PRODUCTS = re.compile(r"/(work|home|root|tmp)/|TODO|FIXME|\bXXX\b")

each_document = pytest.mark.parametrize("document", docs.DOCUMENTS, ids=docs.name)


@each_document
def test_links_lead_somewhere(document: Path) -> None:
    for target in LINK.findall(document.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        path, _, fragment = target.partition("#")
        found = (document.parent / path).resolve() if path else document
        assert found.exists(), target
        assert found.is_relative_to(docs.ROOT), target
        if fragment:
            assert fragment in docs.anchors(found), target


@each_document
def test_configurations_shown_are_accepted(document: Path) -> None:
    for number, block in enumerate(docs.blocks(document, "yaml")):
        load(block, f"{docs.name(document)}, block {number}")


@each_document
def test_commands_shown_exist(document: Path) -> None:
    verbs = set(get_command(app).commands)
    lab_verbs = set(get_command(lab.load()).commands)
    for block in docs.blocks(document, "sh"):
        for called, verb in re.findall(r"(?:^|-- |; )(\./lab|hagw) ([a-z-]+)", block, flags=re.MULTILINE):
            assert verb in (lab_verbs if called == "./lab" else verbs), f"{called} {verb}"


@each_document
def test_nothing_is_said_that_is_not_the_products(document: Path) -> None:
    assert not NOT_THE_PRODUCTS.search(document.read_text(encoding="utf-8"))


def test_examples_are_accepted() -> None:
    for example in (docs.ROOT / "config").glob("*.yaml"):
        load(example.read_text(encoding="utf-8"), example.name)


def test_architecture_is_short() -> None:
    assert len(docs.text("ARCHITECTURE.md").splitlines()) < 200


def test_architecture_names_every_package_and_no_other() -> None:
    code = docs.ROOT / "hagw"
    there = {path.parent.name for path in code.glob("*/__init__.py")} | {path.stem for path in code.glob("*.py")}
    listed = set(docs.table(docs.sections("ARCHITECTURE.md", 2)["Code map"])) - {"package", "---"}
    assert listed == there - {"__init__"}


def test_changelog_knows_this_version() -> None:
    assert hagw.__version__ in docs.sections("CHANGELOG.md", 2)


def test_decisions_have_a_number_each_and_are_short() -> None:
    decisions = sorted((docs.ROOT / "docs" / "adr").glob("*.md"))
    assert len({decision.name[:5] for decision in decisions}) == len(decisions)
    for decision in decisions:
        number = int(decision.name[:4])
        words = decision.read_text(encoding="utf-8")
        assert words.startswith(f"# {number}. ")
        assert "Accepted" in words or "Superseded" in words
        assert len(words.splitlines()) <= 45, f"{decision.name} is longer than a page"


def test_documents_named_in_the_code_exist() -> None:
    for module in [docs.ROOT / "lab", *(docs.ROOT / "hagw").rglob("*.py"), *(docs.ROOT / "tests").rglob("*.py")]:
        for named in re.findall(r"docs/(?:adr/\d{4}|\w+\.md)", module.read_text(encoding="utf-8")):
            assert list(docs.ROOT.glob(f"{named}*")), f"{module.name} names {named}"


def test_glossary_has_one_entry_a_word_in_order() -> None:
    rows = re.findall(r"^\| ([^|]+?) \|", docs.text("docs/glossary.md"), flags=re.MULTILINE)[2:]
    assert rows == sorted(set(rows), key=str.lower)
