"""`hagw doctor` in the lab: nothing wrong where nothing is, and each fault that is made on purpose."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from callers import document, until

from hagw.lab.lab import Lab

pytestmark = [pytest.mark.netns, pytest.mark.beside]


def examine(lab: Lab, node: str = "cpe") -> tuple[int, dict[tuple[str, str], list[dict[str, Any]]]]:
    """Return the exit code and the findings by id and severity."""
    done = lab.run(node, ["hagw", "doctor", "--json"], capture_output=True, text=True, timeout=90)
    answer = json.loads(done.stdout)
    assert answer["schema"] == 1
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for finding in answer["findings"]:
        found.setdefault((finding["id"], finding["severity"]), []).append(finding)
    return done.returncode, found


@contextmanager
def filtered(lab: Lab, node: str, rules: str) -> Iterator[None]:
    """Have a node's forwarding pass these rules."""
    chain = f"chain c {{ type filter hook forward priority -10; {rules}; }}"
    lab.run(node, ["nft", f"table inet fault {{ {chain}; }}"], check=True, timeout=10)
    try:
        yield
    finally:
        lab.run(node, ["nft", "delete", "table", "inet", "fault"], check=True, timeout=10)


def test_a_healthy_gateway_has_no_problem_and_every_line_was_asked_in_both_families(lab: Lab) -> None:
    code, found = examine(lab)
    assert [name for name, severity in found if severity == "problem"] == []
    assert code == 0
    for line in ("dsl", "lte", "wifi"):
        for what in ("echo", "converter", "mtu"):
            assert len(found[f"line.{line}.{what}", "ok"]) == 2
    assert not [name for name, severity in found if name.startswith("rival.") and severity in ("warning", "problem")]
    assert document(lab, "cpe", "status")["rivals"] == []


def test_a_healthy_hag_has_no_problem(lab: Lab) -> None:
    code, found = examine(lab, "hag")
    assert (code, [name for name, severity in found if severity == "problem"]) == (0, [])


@pytest.mark.slow
def test_it_works_without_a_daemon(lab: Lab) -> None:
    lab.hagw_stop("cpe")
    before = lab.run("cpe", ["ip", "rule"], capture_output=True, text=True).stdout
    code, found = examine(lab)
    assert code == 0
    assert ("daemon", "note") in found
    assert len(found["line.lte.converter", "ok"]) == 2
    assert lab.run("cpe", ["ip", "rule"], capture_output=True, text=True).stdout == before


@pytest.mark.slow
def test_a_gateway_that_is_away_is_a_problem(lab: Lab) -> None:
    lab.hagw_stop("hag")
    code, found = examine(lab)
    assert code == 1
    assert ("gateways", "problem") in found
    assert len(found["line.dsl.converter", "warning"]) == 2


@pytest.mark.slow
def test_a_line_that_swallows_large_packets_is_measured(lab: Lab) -> None:
    with filtered(lab, "isp-dsl", "ip length > 1400 drop"):
        _, found = examine(lab)
    (finding,) = found["line.dsl.mtu", "warning"]
    assert "above 1400 bytes" in finding["found"]
    assert len(found["line.wifi.mtu", "ok"]) == 2


@pytest.mark.slow
def test_a_line_that_removes_multipath_options_is_named(lab: Lab) -> None:
    with filtered(lab, "isp-lte", "tcp flags syn reset tcp option mptcp"):
        _, found = examine(lab)
    assert len(found["line.lte.converter", "warning"]) == 2
    assert "removes Multipath TCP" in found["line.lte.converter", "warning"][0]["found"]
    assert len(found["line.dsl.converter", "ok"]) == 2


@pytest.mark.slow
def test_the_daemon_shows_and_logs_a_rival(lab: Lab, tmp_path: Path) -> None:
    program = tmp_path / "mptcpd"
    shutil.copy(shutil.which("sleep") or "/bin/sleep", program)
    lab.hagw_stop("cpe")
    with lab.popen("cpe", [str(program), "60"]) as rival:
        try:
            lab.hagw_start("cpe")
            until(lambda: [r["id"] for r in document(lab, "cpe", "status")["rivals"]] == ["rival.mptcpd"])
            said = lab.run("cpe", ["hagw", "status"], capture_output=True, text=True, timeout=20).stdout
        finally:
            rival.kill()
    assert "mptcp.service" in said
