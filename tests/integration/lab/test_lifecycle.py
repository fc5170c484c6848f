"""The verbs as a person types them: up, down and what they leave, exec, status, link."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hagw.lab import netns
from hagw.lab.lab import ROOT, Lab
from hagw.lab.processes import started_ticks

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.beside]

SOURCE = Path(__file__).parents[3]


class Verbs:
    """`hagw lab --name NAME …` as a command."""

    def __init__(self, name: str) -> None:
        self.name = name

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "hagw", "lab", "--name", self.name, *words]

    def __call__(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*words), cwd=SOURCE, input=stdin, capture_output=True, text=True, timeout=60, check=False
        )

    def inhabitants(self) -> set[int]:
        """All processes in the lab's namespaces."""
        return {
            pid
            for name in os.listdir("/run/netns")
            if name.startswith(f"hagw-{self.name}-")
            for pid in netns.pids(name)
        }

    def assert_nothing_left(self, inhabitants: set[int]) -> None:
        assert not [name for name in os.listdir("/run/netns") if name.startswith(f"hagw-{self.name}-")]
        assert not (ROOT / self.name).exists()
        assert not {pid for pid in inhabitants if started_ticks(pid) is not None}


@pytest.fixture
def verbs() -> Iterator[Verbs]:
    made = Verbs(f"life-{os.getpid()}")
    yield made
    made("down")


def root_network() -> str:
    shown = [["ip", "-o", "address"], ["ip", "-o", "link"], ["ip", "rule"], ["ip", "route", "show", "table", "all"]]
    said = "\n".join(subprocess.run(argv, capture_output=True, text=True, check=True).stdout for argv in shown)
    return re.sub(r"\b(valid_lft|preferred_lft|expires) \d+sec", r"\1", said)  # an address by DHCP has less each second


def test_down_leaves_nothing_and_up_twice_is_once(verbs: Verbs) -> None:
    before = root_network()
    other = Verbs(f"{verbs.name}-b")  # whose namespaces' names begin with the first lab's
    try:
        for each in (verbs, other):
            done = each("up", "--no-hagw")
            assert done.returncode == 0, done.stderr
            assert done.stdout == ""
        ours, theirs = verbs.inhabitants() - other.inhabitants(), other.inhabitants()
        assert verbs("up", "--no-hagw").returncode == 0
        assert verbs.inhabitants() - other.inhabitants() == ours

        assert verbs("down").returncode == 0
        assert not {pid for pid in ours if started_ticks(pid) is not None}
        assert other.inhabitants() == theirs
        assert json.loads(other("status", "--json").stdout)["state"] == "up"
        assert other("exec", "lan1", "--", "ping", "-c", "1", "203.0.113.10").returncode == 0
    finally:
        other("down")
    verbs.assert_nothing_left(ours)
    other.assert_nothing_left(theirs)
    assert root_network() == before


@pytest.mark.parametrize("after_s", [0.15, 0.3, 0.45])
def test_down_clears_what_a_crashed_up_left(verbs: Verbs, after_s: float) -> None:
    with subprocess.Popen(verbs.argv("up", "--no-hagw"), cwd=SOURCE, stderr=subprocess.DEVNULL) as crashing:
        time.sleep(after_s)
        crashing.kill()
    inhabitants = verbs.inhabitants()
    assert verbs("down").returncode == 0
    verbs.assert_nothing_left(inhabitants)


def test_up_after_a_lost_emulator_builds_anew(verbs: Verbs) -> None:
    verbs("up", "--no-hagw")
    (emulator,) = [p.pid for p in Lab(verbs.name).processes.running(role="emulator")]
    os.kill(emulator, signal.SIGKILL)
    assert json.loads(verbs("status", "--json").stdout)["state"] == "down"
    assert verbs("up", "--no-hagw").returncode == 0
    assert verbs("exec", "lan1", "ping", "-c", "1", "203.0.113.10").returncode == 0


def test_down_of_nothing_is_fine(verbs: Verbs) -> None:
    done = verbs("down")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_status_of_nothing_is_down(verbs: Verbs) -> None:
    document = json.loads(verbs("status", "--json").stdout)
    assert document == {"schema": 1, "name": verbs.name, "state": "down", "nodes": {}, "links": {}}


@pytest.mark.parametrize("words", [("exec", "lan1", "true"), ("link", "dsl"), ("config", "cpe"), ("pid", "cpe")])
def test_a_lab_that_is_not_up_says_so(verbs: Verbs, words: tuple[str, ...]) -> None:
    done = verbs(*words)
    assert done.returncode == 1
    assert "is not up" in done.stderr


def test_exec_passes_streams_and_exit_code(network: Lab) -> None:
    verbs = Verbs(network.name)
    done = verbs("exec", "lan2", "--", "sh", "-c", "cat; echo no >&2; exit 42", stdin="through\n")
    assert (done.returncode, done.stdout, done.stderr) == (42, "through\n", "no\n")
    seen = verbs("exec", "inet", "--", "ip", "-br", "address", "show", "net0").stdout
    assert "203.0.113.20/24" in seen


def test_exec_binds_hagw_to_the_node(network: Lab) -> None:
    verbs = Verbs(network.name)
    shown = verbs("exec", "hag", "--", "sh", "-c", "command -v hagw; echo $HAGW_RUNTIME_DIR").stdout.split()
    assert shown == [str(network.directory / "bin" / "hagw"), str(network.directory / "nodes" / "hag" / "run")]
    assert verbs("exec", "hag", "--", "hagw", "--help").returncode == 0


@pytest.mark.parametrize(
    "words", [("exec", "lan9", "true"), ("link", "fibre"), ("link", "dsl", "--delay", "soon"), ("config", "lan1")]
)
def test_a_name_or_value_that_makes_no_sense_is_a_usage_error(network: Lab, words: tuple[str, ...]) -> None:
    done = Verbs(network.name)(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr


def test_link_answers_with_the_state_applied(lab: Lab) -> None:
    done = Verbs(lab.name)("link", "lte", "--rate-down", "30mbit", "--delay", "40", "--blackhole", "up")
    state = json.loads(done.stdout)
    assert (state["rate_down_bps"], state["rate_up_bps"], state["delay_ms"]) == (30e6, 20e6, 40.0)
    assert (state["blackhole"], state["carrier"]) == ("up", "on")
    assert json.loads(Verbs(lab.name)("status", "--json").stdout)["links"]["lte"]["blackhole"] == "up"


def test_the_configuration_printed_is_accepted_back(network: Lab, verbs: Verbs, tmp_path: Path) -> None:
    file = tmp_path / "cpe.yaml"
    file.write_text(Verbs(network.name)("config", "cpe").stdout)
    assert verbs("up", "--no-hagw", "--config", f"cpe={file}").returncode == 0
    assert verbs("config", "cpe").stdout == file.read_text()


def test_a_preset_sets_the_lines(verbs: Verbs) -> None:
    assert verbs("up", "--no-hagw", "--preset", "adsl").returncode == 0
    assert json.loads(verbs("status", "--json").stdout)["links"]["dsl"]["rate_up_bps"] == 1e6
