"""A volume used up in the middle of a download: the line stops, the download does not."""

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from plane_lab import INET, Server, Store, connect, figures, own_lab, pattern, until

from hagw.lab import gateway
from hagw.lab.lab import Lab
from hagw.lab.traffic import Meter
from tests.attentive import metered

pytestmark = [pytest.mark.netns, pytest.mark.slow]

CAP = 50_000_000
SIZE = 2 * CAP


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """DSL and LTE, LTE with a cap."""
    with own_lab("caps") as made:
        made.link("dsl", rate_down="40mbit")
        made.link("lte", rate_down="80mbit")
        configured(made, tmp_path_factory.mktemp("caps") / "cpe.yaml")
        assert line(made, "wifi")["state"] == "disabled"
        yield made


def configured(lab: Lab, file: Path, *shared: str, **ladder: Any) -> None:
    """Have LTE's cap, and no WiFi; `shared` lines have a large one in common."""
    config = yaml.safe_load(lab.config("cpe"))
    for uplink in config["uplinks"]:
        uplink["enabled"] = uplink["name"] != "wifi"
    config["data_caps"] = [{"name": "plan", "uplinks": ["lte"], "volume": CAP, **ladder}]
    if shared:
        config["data_caps"].append({"name": "together", "uplinks": list(shared), "volume": 100 * CAP})
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    lab.apply("cpe", file)


def asked(lab: Lab, *argv: str) -> dict[str, Any]:
    shown = lab.run("cpe", ["hagw", *argv, "--json"], capture_output=True, text=True, check=True).stdout
    found: dict[str, Any] = json.loads(shown)
    return found


def plan(lab: Lab, *argv: str, name: str = "plan") -> dict[str, Any]:
    found: dict[str, Any] = asked(lab, "usage", name, *argv)["data_caps"][0]
    return found


def counted(lab: Lab, device: str = "lte0") -> int:
    """Return the IP bytes that the kernel counted on a line, asked in the CPE's namespace itself."""
    shown = lab.run("cpe", ["cat", "/proc/net/dev"], capture_output=True, text=True, check=True).stdout
    fields = next(line for line in shown.splitlines() if line.strip().startswith(f"{device}:")).split(":")[1].split()
    return int(fields[0]) - 14 * int(fields[1]) + int(fields[8]) - 14 * int(fields[9])


def line(lab: Lab, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(up for up in asked(lab, "status")["uplinks"] if up["name"] == name)
    return found


def fetch(lab: Lab, port: int, meter: Meter, into: bytearray) -> None:
    with connect(lab, INET[4], port) as client:
        client.sendall(f"down {SIZE} 7\n".encode())
        while received := client.recv(256 * 1024):
            meter.add(time.monotonic(), len(received))
            into += received


def test_a_download_goes_on_when_the_cap_is_reached(lab: Lab) -> None:
    before = counted(lab)
    arrived = bytearray()
    with Server(lab, Store()) as store:
        meter = Meter(time.monotonic())
        thread = threading.Thread(target=fetch, args=(lab, store.port, meter, arrived), daemon=True)
        thread.start()
        reached_s = until(lambda: line(lab, "lte")["state"] == "down", 20.0, every_s=0.2)
        thread.join(30.0)
    assert arrived == pattern(SIZE, 7)
    used = plan(lab)["used_bytes"]
    passed = counted(lab) - before
    gap_ms = 1000 * meter.longest_gap_s()
    figures("cap of 50 MB: bytes over LTE, of the cap", "%", [100 * passed / CAP])
    figures("cap of 50 MB: longest pause of the download", "ms", [gap_ms])
    figures("cap of 50 MB: reached after, download after", "s", [reached_s, len(meter.bins) / 100])
    assert CAP <= used <= 1.05 * CAP
    assert passed <= 1.05 * CAP
    assert abs(used - passed) < 20_000  # a few echoes between the two looks
    assert gap_ms < 500
    shown = line(lab, "lte")
    assert (shown["state"], shown["cap_stage"]) == ("down", "cut")
    assert "data cap plan" in shown["reason"]


def test_a_line_that_is_cut_carries_nothing_also_as_the_last_one(lab: Lab) -> None:
    with lab.links_restored(), Server(lab, Store()) as store:
        lab.link("dsl", carrier="off")
        until(lambda: line(lab, "dsl")["state"] == "down", 5.0)
        before = counted(lab)
        with contextlib.suppress(OSError), connect(lab, INET[4], store.port, timeout_s=1.0) as client:
            client.sendall(b"down 100000 1\n")
            assert not client.recv(1)
        lab.run("cpe", ["ping", "-c", "2", "-i", "0.2", "-W", "1", "-I", "lte0", "198.51.100.10"], capture_output=True)
        assert counted(lab) - before < 1000
    until(lambda: line(lab, "dsl")["state"] == "up", 10.0, every_s=0.2)


def test_what_was_used_survives_a_daemon_that_is_killed(lab: Lab) -> None:
    before, passed = plan(lab)["used_bytes"], counted(lab)
    (pid,) = lab.pids("cpe", "daemon")
    os.kill(pid, signal.SIGKILL)
    until(lambda: not lab.pids("cpe", "daemon"), 5.0)
    gateway.start_daemon(lab, "cpe")
    until(lambda: not lab.run("cpe", ["hagw", "usage"], capture_output=True).returncode, 10.0, every_s=0.2)
    assert plan(lab)["used_bytes"] - before == pytest.approx(counted(lab) - passed, abs=20_000)
    assert line(lab, "lte")["cap_stage"] == "cut"


def test_the_operators_figure_frees_the_line(lab: Lab) -> None:
    told = plan(lab, "--set", "10 MB")
    assert 10_000_000 <= told["used_bytes"] < 10_020_000  # an echo may have passed since
    assert told["stage"] == "normal"
    until(lambda: line(lab, "lte")["state"] == "up", 10.0, every_s=0.2)


def test_a_throttled_line_is_slow_also_as_the_last_one(lab: Lab, tmp_path: Path) -> None:
    configured(lab, tmp_path / "cpe.yaml", throttle="15 %", throttle_rate="2 Mbit/s")
    assert plan(lab)["stage"] == "throttle"
    with lab.links_restored(), metered(lab) as streams:
        lab.link("dsl", carrier="off")
        until(lambda: line(lab, "lte")["state"] == "up", 5.0)
        meter = streams.download("lan1", INET[4]).run_for(4.0)
    rate_bps = meter.rate_bps(1.0, 4.0)
    figures("throttled to 2 Mbit/s: download", "kbit/s", [rate_bps / 1000])
    assert 500_000 < rate_bps < 2_500_000


def test_every_rung_is_reached_enforced_and_shown(lab: Lab, tmp_path: Path) -> None:
    """A fifth of the volume is used; the ladder is what is moved."""
    file = tmp_path / "cpe.yaml"
    for rung, stage, state in (("overflow_only", "overflow", "up"), ("standby_only", "standby", "down")):
        configured(lab, file, **{rung: "15 %"})
        until(lambda: (line(lab, "lte")["cap_stage"], line(lab, "lte")["state"]) == (stage, state), 10.0, every_s=0.2)  # noqa: B023
        assert "data cap plan" in line(lab, "lte")["reason"]
        assert plan(lab)["stage"] == stage
    with lab.links_restored():
        lab.link("dsl", carrier="off")
        until(lambda: line(lab, "lte")["state"] == "up", 5.0, every_s=0.1)  # as the last line, standby is used
    configured(lab, file, warn=["10 %"])
    assert (plan(lab)["stage"], line(lab, "lte")["cap_stage"]) == ("normal", "normal")


def is_still(lab: Lab) -> bool:
    before = sum(counted(lab, device) for device in ("dsl0", "lte0"))
    time.sleep(0.5)
    return sum(counted(lab, device) for device in ("dsl0", "lte0")) - before < 10_000


def test_lines_that_share_a_cap_count_together(lab: Lab, tmp_path: Path) -> None:
    configured(lab, tmp_path / "cpe.yaml", "dsl", "lte")
    until(lambda: line(lab, "lte")["state"] == line(lab, "dsl")["state"] == "up", 10.0, every_s=0.2)
    used = plan(lab, name="together")["used_bytes"]
    passed = [counted(lab, device) for device in ("dsl0", "lte0")]
    with Server(lab, Store()) as store, connect(lab, INET[4], store.port) as client:
        client.sendall(b"down 8000000 1\n")
        left = 8_000_000
        while left and (received := client.recv(256 * 1024)):
            left -= len(received)
    until(lambda: is_still(lab), 10.0)  # what was sent twice is on its way for a while longer
    moved = [counted(lab, device) - before for device, before in zip(("dsl0", "lte0"), passed, strict=True)]
    assert min(moved) > 500_000, moved
    assert plan(lab, name="together")["used_bytes"] - used == pytest.approx(sum(moved), abs=40_000)
