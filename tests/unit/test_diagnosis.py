"""What is told of a failed test, in a run of pytest over tests that fail in every way."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hagw.lab import failures
from tests.integration.both_ends import counted, of_events, of_flows, of_status
from tests.unit import docs

HOOKS = "from tests.conftest import pytest_configure, pytest_runtest_makereport\n"
FAILING = """
import pytest
from tests.diagnosis import AT_LENGTH, IN_SHORT

def test_values(request):
    request.node.stash[IN_SHORT] = ["cpe degraded"]
    request.node.stash[AT_LENGTH] = "a long table"
    for number in range(100):
        print("said", number)
    found = 1
    assert found == 2, "not yet"

def deeper():
    raise ExceptionGroup("several", [ValueError("bad"), KeyError("other")])

def test_several():
    deeper()

@pytest.fixture
def broken():
    raise OSError("no such line")

def test_setup(broken):
    pass

def test_skipped():
    pytest.skip("no kernel")

def test_good():
    pass
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The directory of the reports, and what a run printed."""
    own = tmp_path_factory.mktemp("run")
    for name, text in (("conftest.py", HOOKS), ("test_1.py", FAILING), ("empty.ini", "[pytest]")):
        (own / name).write_text(text)
    env = {**os.environ, "PYTHONPATH": str(docs.ROOT), failures.VARIABLE: str(own / "kept"), "HAGW_EXPECT": "netns"}
    options = ("-c", "empty.ini", "-n", "1", "-p", "no:cacheprovider", "-p", "no:schemathesis")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "."], cwd=own, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return own / "kept", done.stdout.splitlines()


def test_the_last_words_of_a_run_are_what_was_not_so(ran: tuple[Path, list[str]]) -> None:
    kept, printed = ran
    told = printed[printed.index(f"== 4 failed; all about each is in {kept}") + 1 :]
    assert told == [
        "[1] test_1.py::test_values (test_1.py_test_values.call.txt)",
        '    test_1.py:11: assert found == 2, "not yet"',
        "    E AssertionError: not yet",
        "    E assert 1 == 2",
        "    cpe degraded",
        "[2] test_1.py::test_several (test_1.py_test_several.call.txt)",
        "    test_1.py:17: deeper() > "
        'test_1.py:14: raise ExceptionGroup("several", [ValueError("bad"), KeyError("other")])',
        "    E ValueError: bad",
        "[3] test_1.py::test_setup (test_1.py_test_setup.setup.txt)",
        '    in its setup, test_1.py:21: raise OSError("no such line")',
        "    E OSError: no such line",
        "[4] test_1.py::test_skipped (test_1.py_test_skipped.call.txt)",
        f"    skipped although HAGW_EXPECT=netns: ('{kept.parent / 'test_1.py'}', 27, 'Skipped: no kernel')",
    ]
    assert failures.summary(failures.recorded(kept), kept) == [printed[-len(told) - 1], *told]


def test_the_file_has_what_is_not_printed(ran: tuple[Path, list[str]]) -> None:
    kept, printed = ran
    file = (kept / "test_1.py_test_values.call.txt").read_text()
    assert "a long table" not in printed
    assert "said 80" not in printed
    assert "said 99" in printed
    assert "a long table" in file
    assert "said 80" in file
    assert "found      = 1" in file


def test_the_lab_is_told_in_few_lines_newest_events_first() -> None:
    uplinks = [{"name": "dsl", "state": "up", "reason": ""}, {"name": "lte", "state": "suspect", "reason": "no echo"}]
    status = {"state": "degraded", "reason": "lte is suspect.", "uplinks": uplinks, "gateways": uplinks[:1]}
    assert list(of_status("cpe", status)) == [
        "cpe degraded (lte is suspect.)",
        "lines: dsl up; lte suspect (no echo)",
        "gateways as it sees them: dsl up",
    ]
    assert list(of_status("cpe", {"state": "silent", "reason": "no answer"})) == ["cpe silent (no answer)"]
    log = ["KeyError: 3", *(f'timestamp=2026-01-02T03:04:{at:02}Z level=info event="e {at}" a=b' for at in range(20))]
    assert next(of_events(log, 1767323079.5)) == (
        '-20.5s "e 19" a=b | -21.5s "e 18" a=b | -22.5s "e 17" a=b | -23.5s "e 16" a=b'
    )
    assert len(list(of_events(log, 0.0))) == 4
    assert list(of_events(log[:2], 1767323041.0)) == ['-1.0s "e 0" a=b | KeyError: 3']


def test_five_live_flows_are_told_with_what_decided_them() -> None:
    flow = {"client_port": 4, "server_port": 80, "path": "converted", "state": "relaying", "why": "rule default"}
    flows = [{**flow, "client_port": port, "by_uplink": {"dsl": {"down": 9, "up": 1}}} for port in range(7)]
    told = list(of_flows({"flows": [{**flows[0], "state": "closed"}, *flows]}))
    assert told[0].startswith("7 flows: :0>:80 converted relaying [dsl:9/1] rule default | :1>:80")
    assert [line.count(" relaying ") for line in told] == [3, 2]
    assert list(of_flows({"flows": []})) == ["0 flows: none"]


def test_counters_that_counted_nothing_are_left_out() -> None:
    table = "\tcounter {} {{\n\t\tpackets {} bytes {}\n\t}}\n\n"
    text = "table inet hagw {\n" + table.format("a", 0, 0) + table.format("b", 18, 1080) + table.format("c", 0, 0)
    assert counted(text) == "table inet hagw {\n" + table.format("b", 18, 1080)
