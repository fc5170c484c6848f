"""Transactions on a real kernel: killed at any step, and any walk through configurations, end as a fresh start does."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from namespaces import Namespace
from routers import Topology, build, machine
from test_clear import dump

from hagw.control.clear import restore

pytestmark = [pytest.mark.netns, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
KEY = bytes(range(32)).hex()
HEAD = "version: 1\nrole: cpe\nlan: {interfaces: [lan0]}\nuplinks:\n"
TAIL = f"gateways: [{{name: hag, addresses: [198.51.100.10], customer: home, key: '{KEY}'}}]\n"
BEFORE = HEAD + "  - {name: a, kind: dsl, interface: a0}\n  - {name: b, kind: wwan, interface: b0, cost: 5}\n" + TAIL
AFTER = HEAD + "  - {name: b, kind: wwan, interface: b0, mtu: 1400}\n" + TAIL + "bypass: [203.0.113.0/24]\n"
STEPS_MAX = 80
WALK = 100


@dataclass(frozen=True)
class Ended:
    """How a process ended that did one thing on the CPE."""

    status: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Site:
    """A topology, and on its CPE a process to give orders to."""

    topology: Topology
    server: "subprocess.Popen[str]"

    def child(self, *arguments: object) -> Ended:
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps([str(argument) for argument in arguments]) + "\n")
        self.server.stdin.flush()
        return Ended(**json.loads(self.server.stdout.readline()))


@pytest.fixture
def site(namespace: Callable[[str], Namespace]) -> Iterator[Site]:
    topology = build(namespace)
    command = [sys.executable, str(ROOT / "tests" / "contract" / "changing.py")]
    with subprocess.Popen(
        ["ip", "netns", "exec", topology.cpe.name, *command],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        yield Site(topology, server)


def said(done: Ended) -> dict[str, Any]:
    assert done.status == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return document


def held(site: Site) -> dict[str, list[str]]:
    """Dump as `dump` does, without what counters count."""
    return {**dump(site.topology.cpe), "nft": site.topology.cpe.run("nft", "-s", "list", "ruleset").splitlines()}


def differences(one: dict[str, list[str]], other: dict[str, list[str]]) -> list[str]:
    """Return the lines that only one of two dumps has."""
    return sorted(line for part in one for line in set(one[part]) ^ set(other[part]))


def clear(site: Site, directory: Path) -> None:
    port = machine(site.topology, directory / "kernel")
    with site.topology.cpe.entered():
        restore(port)
    port.close()


def prepared(directory: Path, text: str) -> Path:
    directory.mkdir()
    (directory / "hagw.yaml").write_text(text)
    return directory


def test_a_kill_at_any_step_ends_in_the_checkpoint_or_the_target(site: Site, tmp_path: Path) -> None:
    box = prepared(tmp_path / "box", BEFORE)
    files = {text: tmp_path / name for name, text in (("before", BEFORE), ("after", AFTER))}
    for text, file in files.items():
        file.write_text(text)
    said(site.child("start", box))
    fresh = {BEFORE: held(site)}
    ends: set[str] = set()
    for steps in range(STEPS_MAX):
        died = site.child("apply", box, files[AFTER], steps)
        found = said(site.child("start", box))
        text = found["text"]
        assert found["left"] == [], (steps, found)
        assert text == (BEFORE if found["generation"] == 1 else AFTER)
        holds = held(site)
        assert differences(holds, fresh.setdefault(text, holds)) == [], steps
        ends.add(text)
        if died.status == 0:
            break
        assert died.status == -signal.SIGKILL, died.stderr
        if text == AFTER:  # committed: go back, so that the next one starts from the same place
            shutil.rmtree(box / "state")
            (box / "hagw.yaml").write_text(BEFORE)
            said(site.child("start", box))
    assert 15 < steps < STEPS_MAX
    assert ends == {BEFORE, AFTER}


def test_any_walk_ends_as_a_fresh_start_and_clear_leaves_nothing(site: Site, tmp_path: Path) -> None:
    untouched = held(site)
    box = prepared(tmp_path / "box", BEFORE)
    walked = said(site.child("walk", box, WALK))
    assert walked["left"] == []
    after = held(site)
    clear(site, box)
    assert held(site) == untouched
    anew = tmp_path / "anew"
    shutil.copytree(box / "state", anew / "state", symlinks=True)  # the generation, with its slots
    assert said(site.child("start", anew))["text"] == walked["text"]
    assert held(site) == after
    clear(site, anew)
    assert held(site) == untouched
