"""`hagw daemon --fake-kernel`: without any rights, with lines, traffic, and a configuration that can be changed."""

import subprocess
import sys
from pathlib import Path

import pytest

from hagw.config.load import load
from hagw.errors import Refused
from hagw.pretend.lines import CHARACTERS, lost_for, rates
from tests.pretended import Pretended, environment, pretended

EXAMPLES = Path(__file__).parents[3] / "hagw" / "pretend"


def test_a_cpe_is_pretended_without_rights_and_its_configuration_changed_for_real(tmp_path: Path) -> None:
    with pretended(tmp_path) as box:
        status = box.wait("/status", lambda found: found["state"] == "bonded")
        assert [line["name"] for line in status["uplinks"]] == ["dsl", "lte", "wifi"]
        _carries(box)
        _a_rule_moves_flows(box)
        _a_change_waits_for_its_confirmation(box)


def _carries(box: Pretended) -> None:
    box.wait("/status", lambda found: all((line["down_bps"] or 0) > 100_000 for line in found["uplinks"]))
    box.wait("/usage", lambda found: found["data_caps"][0]["used_bytes"] > 0)
    flows = box.get("/flows")["flows"]
    assert len({flow["client"] for flow in flows}) > 3
    assert len({flow["domain"] for flow in flows}) > 3
    bonded = next(flow for flow in flows if len(flow["by_uplink"]) > 1 and flow["state"] == "relaying")
    found = box.get(f"/flows/{bonded['id']}")["flow"]
    assert {event["event"] for event in found["timeline"]} >= {"asked", "established"}
    rules = box.get("/explain?client=192.168.77.10&server=203.0.113.95&port=5061")["rules"]
    assert [rule["name"] for rule in rules if rule["result"] == "match"] == ["voice-not-on-lte"]


def _a_rule_moves_flows(box: Pretended) -> None:
    value = {"name": "web-on-wifi", "precedence": 1, "steering": {"mode": "load-balancing", "uplinks": ["wifi"]}}
    box.post("/config/set", {"path": "rules", "value": [value]})
    known = {flow["id"] for flow in box.get("/flows")["flows"]}

    def moved(found: dict[str, list[dict[str, object]]]) -> bool:
        fresh = [flow for flow in found["flows"] if flow["id"] not in known]
        return len(fresh) > 5 and all(flow["rule"] == "web-on-wifi" for flow in fresh)

    fresh = [flow for flow in box.wait("/flows", moved)["flows"] if flow["id"] not in known]
    assert {name for flow in fresh for name in flow["by_uplink"]} == {"wifi"}


def _a_change_waits_for_its_confirmation(box: Pretended) -> None:
    before = box.get("/config")
    box.post("/config/set", {"path": "uplinks.lte.enabled", "value": False, "confirm_within_s": 60})
    line = box.wait("/status", lambda found: found["uplinks"][1]["state"] == "disabled")
    assert line["pending_confirm_s"] is not None
    box.post("/config/rollback", {})
    assert box.get("/config")["text"] == before["text"]
    box.wait("/status", lambda found: found["uplinks"][1]["state"] == "up")


def test_a_hag_is_pretended_with_customers(tmp_path: Path) -> None:
    with pretended(tmp_path, "--config", str(EXAMPLES / "hag.yaml")) as box:
        box.wait("/status", lambda found: found["state"] == "bonded" and found["flows_active"] > 0)
        assert {flow["why"] for flow in box.get("/flows")["flows"]} == {"customer home", "customer office"}
        with pytest.raises(Refused):
            box.get("/explain?client=192.168.77.10&server=203.0.113.95")


def test_a_pretended_gateway_wants_to_know_where_its_files_are() -> None:
    surroundings = {key: value for key, value in environment(Path()).items() if not key.startswith("HAGW_")}
    command = (sys.executable, "-P", "-m", "hagw", "daemon", "--fake-kernel")
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "HAGW_STATE_DIR" in done.stderr


def test_lines_sway_and_are_lost_now_and_then() -> None:
    for kind, about in CHARACTERS.items():
        found = [rates(kind, (None, None), float(now))[0] for now in range(100)]
        assert 0 < min(found) < max(found) <= about.down_bps
        lost = [lost_for(kind, float(age)) is not None for age in range(4000)]
        assert not any(lost[:60])
        assert 10 < sum(lost) < 800


def test_examples_are_accepted() -> None:
    for example in EXAMPLES.glob("*.yaml"):
        load(example.read_text(encoding="utf-8"), example.name)
