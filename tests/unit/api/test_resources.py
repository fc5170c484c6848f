"""Resources over a pretended gateway: flows in pages, stale edits, names of servers that are not wanted."""

from pathlib import Path

import pytest

from hagw.cli.client import ask
from hagw.errors import HagwError, Refused
from tests.pretended import Pretended, pretended


def test_flows_parts_and_edits(tmp_path: Path) -> None:
    with pretended(tmp_path, "--pretend-flows", "120") as box:
        box.wait("/flows", lambda found: found["total"] > 150)
        _pages(box)
        _parts(box)
        _stale_edits(box)
        _no_names(box)


def _pages(box: Pretended) -> None:
    everything = box.get("/flows")["flows"]
    first = box.get("/flows?limit=20&sort=-bytes_down")
    second = box.get("/flows?limit=20&offset=20&sort=-bytes_down")
    carried = [flow["bytes_down"] for flow in (*first["flows"], *second["flows"])]
    assert carried == sorted(carried, reverse=True)
    assert len({flow["id"] for flow in (*first["flows"], *second["flows"])}) == 40
    assert first["total"] >= len(everything) - 50
    for question, fits in {
        "client=192.168.77.10": lambda flow: flow["client"] == "192.168.77.10",
        "uplink=lte": lambda flow: "lte" in flow["by_uplink"],
        "rule=shell-direct": lambda flow: flow["rule"] == "shell-direct",
        "path=direct": lambda flow: flow["path"] == "direct",
        "domain=meet.example.net": lambda flow: flow["domain"] == "meet.example.net",
        "state=open": lambda flow: flow["state"] != "closed",
        "state=closed": lambda flow: flow["state"] == "closed",
        "q=FILMS": lambda flow: "films" in flow["domain"] or "films" in flow["rule"],
    }.items():
        found = box.get(f"/flows?{question}")
        assert found["flows"], question
        assert found["total"] == len(found["flows"]), question
        assert all(fits(flow) for flow in found["flows"]), question
    assert box.get("/flows?q=nobody-has-this")["total"] == 0
    for wrong in ("sort=size", "limit=0", "offset=-1", "path=sideways", "nonsense=1"):
        with pytest.raises(HagwError, match=wrong.partition("=")[0]):
            box.get(f"/flows?{wrong}")


def _parts(box: Pretended) -> None:
    status = box.get("/status")
    assert [line["name"] for line in box.get("/uplinks")["uplinks"]] == [line["name"] for line in status["uplinks"]]
    one = box.get("/uplinks/lte")
    assert (one["uplink"]["name"], [cap["name"] for cap in one["data_caps"]]) == ("lte", ["lte-plan"])
    with pytest.raises(HagwError, match="no line"):
        box.get("/uplinks/none")
    assert [gateway["name"] for gateway in box.get("/gateways")["gateways"]] == ["hag"]
    rules = box.get("/rules")["rules"]
    assert [rule["name"] for rule in rules] == ["voice-not-on-lte", "films-on-dsl", "shell-direct"]
    assert rules[0]["steering"] == {"mode": "load-balancing", "uplinks": ["dsl", "wifi"]}
    assert all(rule["active"] for rule in rules)
    assert box.get("/config/schema")["json_schema"]["properties"]["uplinks"]
    assert box.get("/doctor")["findings"]


def _stale_edits(box: Pretended) -> None:
    base = box.get("/config")["generation"]
    change = {"path": "uplinks.lte.cost", "value": 12, "base_generation": base}
    assert box.post("/config/set", change)["result"] == "in force"
    with pytest.raises(Refused, match="look again"):
        box.post("/config/set", {**change, "value": 13})
    text = box.get("/config")["text"]
    with pytest.raises(Refused, match="look again"):
        box.post("/config/apply", {"text": text + "\n# late\n", "base_generation": base})
    assert "cost: 12" in box.get("/config")["text"]
    box.post("/config/apply", {"text": text + "\n# in time\n", "base_generation": base + 1})


def _no_names(box: Pretended) -> None:
    box.post("/config/set", {"path": "history.domains", "value": False})
    flows = box.get("/flows")["flows"]
    assert flows
    assert {flow["domain"] for flow in flows} == {None}
    assert box.get(f"/flows/{flows[0]['id']}")["flow"]["domain"] is None
    box.post("/config/set", {"path": "history.enabled", "value": False})
    box.wait("/events", lambda found: found["events"] == [])
    assert ask(box.socket, "GET", "/events", None)["events"] == []
