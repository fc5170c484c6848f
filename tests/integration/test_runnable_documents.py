"""The command blocks of the documents that are marked runnable, run as they stand.

Before a block, `<!-- run: checkout -->` means that it is typed in a checkout, `<!-- run: cpe -->` (or another node) on
that machine, as root. A document's blocks follow each other in one directory; a command that fails fails the test.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hagw.lab.lab import Lab
from tests.unit import docs

pytestmark = [pytest.mark.netns, pytest.mark.beside]

NAME = "documents"
DOCUMENTS = [path for path in docs.DOCUMENTS if docs.runnable(path)]
BLOCK_TIMEOUT_S = 60


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    lab = Lab(NAME)
    lab.down()
    try:
        yield lab
    finally:
        lab.down()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A directory in which `./lab` is the lab of this test."""
    command = tmp_path / "lab"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m hagw lab --name {NAME} "$@"\n')
    command.chmod(0o755)
    return tmp_path


def test_every_marker_has_its_block() -> None:
    for path in docs.DOCUMENTS:
        markers = re.findall(r"^ *<!-- run", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert len(docs.runnable(path)) == len(markers), docs.name(path)


def test_how_tos_and_the_tutorial_are_run() -> None:
    run = {docs.name(path) for path in DOCUMENTS}
    assert {"README.md", "docs/tutorial.md", "docs/howto/write-a-rule.md", "docs/howto/roll-back.md"} <= run


@pytest.mark.parametrize("document", DOCUMENTS, ids=docs.name)
def test_blocks_marked_runnable_work(lab: Lab, checkout: Path, document: Path) -> None:
    lab.up()
    before = {node: lab.config(node) for node in ("cpe", "hag")}
    try:
        for place, block in docs.runnable(document):
            _run(checkout, place, block)
    finally:
        if lab.is_up():
            for node, text in before.items():
                _put_back(lab, checkout, node, text)


def _run(checkout: Path, place: str, block: str) -> None:
    shell = ["sh", "-euc", block]
    command = shell if place == "checkout" else ["./lab", "exec", place, "--", *shell]
    done = subprocess.run(
        command,
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
        timeout=BLOCK_TIMEOUT_S,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"on {place}:\n{block}\n{done.stdout}{done.stderr}"


def _put_back(lab: Lab, checkout: Path, node: str, text: str) -> None:
    if lab.config(node) != text:
        file = checkout / f"{node}-before.yaml"
        file.write_text(text, encoding="utf-8")
        lab.apply(node, file)
