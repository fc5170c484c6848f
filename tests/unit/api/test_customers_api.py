"""Customers over the API, on a pretended HAG: added, limited, revoked; served by the workers at once."""

from pathlib import Path

import pytest

from hagw.cli.client import ask
from hagw.errors import HagwError, Refused
from tests.pretended import Pretended, pretended

HAG = Path(__file__).parents[3] / "hagw" / "pretend" / "hag.yaml"


def test_customers_are_added_changed_and_revoked(tmp_path: Path) -> None:
    with pretended(tmp_path, "--config", str(HAG)) as box:
        assert {each["name"]: each["state"] for each in box.get("/customers")["customers"]} == {
            "home": "configured",
            "office": "configured",
        }
        made = box.post("/customers", {"name": "eva", "note": "new", "limits": {"rate_down_bps": 50_000_000}})
        assert made["customer"] == "eva"
        assert len(made["code"]) > 20
        found = box.get("/customers/eva")["customer"]
        assert (found["state"], found["note"], found["limits"]["rate_down_bps"]) == ("invited", "new", 50_000_000)
        assert found["channels"] == []  # nobody has enrolled
        changed = ask(box.socket, "PATCH", "/customers/eva", {"limits": {"rate_down_bps": None}})["customer"]
        assert changed["limits"]["rate_down_bps"] is None
        assert box.post("/customers/eva/invite", {})["code"] != made["code"]
        box.wait("/customers/home", lambda told: told["customer"]["flows_active"] > 0)
        _refusals(box)
        assert ask(box.socket, "DELETE", "/customers/eva", None)["customer"]["state"] == "revoked"


def _refusals(box: Pretended) -> None:
    with pytest.raises(Refused):
        box.post("/customers", {"name": "eva"})
    with pytest.raises(Refused):
        ask(box.socket, "PATCH", "/customers/nobody", {"note": "?"})
    with pytest.raises(HagwError, match="sources"):
        box.post("/customers", {"name": "bad", "sources": ["not a prefix"]})
    with pytest.raises(HagwError, match="no customer"):
        box.get("/customers/nobody")
