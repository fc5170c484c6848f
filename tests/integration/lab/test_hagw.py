"""hagw in the lab's nodes: start waits for it, apply replaces its configuration, stop takes it away again."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hagw.errors import ConfigError
from hagw.lab.gateway import HagwNotReady
from hagw.lab.lab import Lab
from tests.attentive import metered

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.beside]


@pytest.fixture(scope="module")
def untouched() -> Iterator[tuple[Lab, list[str]]]:
    """A lab with hagw, and what the CPE's kernel held before hagw was ever started."""
    lab = Lab(f"hagw-{os.getpid()}")
    try:
        lab.up(hagw=False)
        before = kernel(lab)
        lab.hagw_start("hag")
        lab.hagw_start("cpe")
        yield lab, before
    finally:
        lab.down()


@pytest.fixture
def bonded(untouched: tuple[Lab, list[str]]) -> Lab:
    return untouched[0]


def state(lab: Lab, node: str = "cpe") -> dict[str, object]:
    document: dict[str, object] = json.loads(lab.run(node, ["hagw", "status", "--json"], capture_output=True).stdout)
    return document


def kernel(lab: Lab) -> list[str]:
    routing = "ip rule; ip -6 rule; ip route show table all; ip -6 route show table all"
    script = f"nft list ruleset; {routing}; grep -rs . /proc/sys/net"
    shown = lab.run("cpe", ["sh", "-c", script], capture_output=True, text=True).stdout
    changing = ("nf_conntrack_count", "tcp_fastopen_key")
    return sorted(line for line in shown.splitlines() if not any(name in line for name in changing))


def test_start_waits_until_all_lines_are_bonded(bonded: Lab) -> None:
    status = state(bonded)
    assert status["state"] == "bonded"
    uplinks = status["uplinks"]
    assert isinstance(uplinks, list)
    assert all((uplink["loss"] or 0.0) < 0.3 for uplink in uplinks), (
        "echoes that nobody was there to answer are no loss"
    )
    assert len(bonded.pids("cpe", "daemon")) == len(bonded.pids("hag", "daemon")) == 1
    assert len(bonded.pids("cpe", "worker")) >= 2


def test_a_lan_host_gets_more_than_any_line_carries(bonded: Lab) -> None:
    with metered(bonded) as streams:
        rate_bps = streams.download("lan1", "203.0.113.10").run_for(4.0).rate_bps(2.0, 4.0)
    assert rate_bps > 60e6


def test_apply_replaces_the_configuration(bonded: Lab, tmp_path: Path) -> None:
    file = tmp_path / "cpe.yaml"
    file.write_text(bonded.config("cpe").replace("name: dsl", "name: copper"))
    bonded.apply("cpe", file)
    uplinks = state(bonded)["uplinks"]
    assert isinstance(uplinks, list)
    assert [uplink["name"] for uplink in uplinks] == ["copper", "lte", "wifi"]


def test_apply_of_nonsense_changes_nothing(bonded: Lab, tmp_path: Path) -> None:
    before, daemons = bonded.config("cpe"), bonded.pids("cpe", "daemon")
    file = tmp_path / "cpe.yaml"
    file.write_text(before.replace("role: cpe", "role: toaster"))
    with pytest.raises(ConfigError, match="toaster"):
        bonded.apply("cpe", file)
    assert (bonded.config("cpe"), bonded.pids("cpe", "daemon")) == (before, daemons)


def test_stop_leaves_the_node_as_before_hagw(untouched: tuple[Lab, list[str]]) -> None:
    lab, before = untouched
    assert kernel(lab) != before
    lab.hagw_stop("cpe")
    assert lab.pids("cpe") == []
    assert kernel(lab) == before
    assert lab.run("lan1", ["curl", "-sS", "-o", "/dev/null", "http://203.0.113.10/1k.bin"]).returncode == 0
    with pytest.raises(HagwNotReady, match=r"cpe is not ready after 0\.5 s"):
        lab.hagw_start("cpe", timeout_s=0.5)
    lab.hagw_start("cpe")
    assert state(lab)["state"] == "bonded"
