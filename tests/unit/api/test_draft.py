"""Values changed in a text that nobody has applied: as `hagw set` does it, with the mistakes told, not raised."""

from typing import Any

import pytest

from hagw.api.draft import Edit
from hagw.api.draft import edited as edited_by
from hagw.config.load import load
from hagw.errors import ConfigError
from tests.unit.control.transactions import config

TEXT = "# ours\n" + config("dsl", "lte", rules=2)


def edited(text: str, edits: list[Edit]) -> dict[str, Any]:
    return edited_by(text, edits, lambda made: load(made, "configuration"))


def test_edits_change_their_lines_only() -> None:
    made = edited(TEXT, [Edit(path="uplinks.lte.cost", value=7), Edit(path="uplinks.lte.metered", value=True)])
    assert made["issues"] == []
    assert made["tree"]["uplinks"][1]["cost"] == "7"
    gone = [line for line in TEXT.splitlines() if line not in made["text"].splitlines()]
    assert [line for line in gone if "name: lte" not in line] == []


def test_a_rule_is_appended_and_taken_out_again() -> None:
    rule = {"name": "films", "precedence": 9, "traffic": {"domain": ["*.films.example"]}, "steering": {"mode": "block"}}
    with_it = edited(TEXT, [Edit(path="rules[2]", value=rule)])
    assert with_it["tree"]["rules"][2]["traffic"] == {"domain": ["*.films.example"]}
    without = edited(with_it["text"], [Edit(path="rules.films", value=None)])
    assert without["tree"] == edited(TEXT, [])["tree"]


def test_mistakes_are_told_with_path_and_line_and_the_text_stays() -> None:
    made = edited(TEXT, [Edit(path="uplinks.lte.cost", value="dear")])
    assert [issue["path"] for issue in made["issues"]] == ["uplinks[1].cost"]
    assert made["issues"][0]["line"] is not None
    assert "dear" in made["text"]


def test_a_text_that_is_not_yaml_has_no_tree() -> None:
    made = edited("rules: [", [])
    assert made["tree"] is None
    assert made["issues"]
    assert made["text"] == "rules: ["


def test_an_edit_of_a_place_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing"):
        edited(TEXT, [Edit(path="uplinks.nothing", value=None)])
