"""What an operator's text means: the rules and the uses of lines in it, and nothing else whatever it says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hagw.config.load import load
from hagw.config.secrets import masked
from hagw.config.share import NotYours, is_masked, meant
from hagw.config.tree import Plain, parse
from hagw.config.write import remove_value, set_value
from hagw.errors import ConfigError
from tests.unit.control.transactions import config

REAL = "# ours\n" + config("dsl", "lte", rules=2).replace("rules:", "rules: # in this order", 1)
SHOWN = masked(REAL)
RULE: Plain = {
    "name": "films",
    "precedence": "9",
    "traffic": {"destination_port": ["443"]},
    "steering": {"mode": "block"},
}


def test_what_is_shown_has_no_key_and_means_what_it_was_made_of() -> None:
    assert is_masked(SHOWN)
    assert not is_masked(REAL)
    assert meant(REAL, SHOWN, "f") == REAL


def test_rules_and_uses_of_lines_are_taken_over_and_keys_and_comments_stay() -> None:
    shown = set_value(SHOWN, "rules[2]", RULE, "f")
    shown = set_value(shown, "uplinks.lte.enabled", "false", "f")
    found = meant(REAL, shown, "f")
    assert load(found, "f").rules[-1].name == "films"  # type: ignore[union-attr]  # it is a CPE's
    assert [line.enabled for line in load(found, "f").uplinks] == [True, False]  # type: ignore[union-attr]  # likewise
    assert found == set_value(set_value(REAL, "rules[2]", RULE, "f"), "uplinks.lte.enabled", "false", "f")
    assert {"# ours"} <= set(found.splitlines())
    assert "# in this order" in found


def test_taking_out_is_taken_over_too() -> None:
    used = set_value(REAL, "uplinks.lte.cost", "7", "f")
    assert meant(used, remove_value(masked(used), "uplinks.lte.cost", "f"), "f") == REAL
    assert "rules" not in parse(meant(REAL, remove_value(SHOWN, "rules", "f"), "f"), "f").root


@pytest.mark.parametrize(
    ("path", "value", "blamed"),
    [
        ("uplinks.lte.interface", "eth9", "uplinks[1]"),
        ("uplinks.lte.name", "satellite", "uplinks[1]"),
        ("gateways[0].key", "0" * 64, "gateways"),
        ("lan.interfaces", ["eth7"], "lan"),
        ("web", {"enabled": "false"}, "web"),
        ("rulez", [RULE], "rulez"),
    ],
)
def test_whatever_else_is_different_is_refused_by_name(path: str, value: Plain, blamed: str) -> None:
    with pytest.raises(NotYours) as refused:
        meant(REAL, set_value(SHOWN, path, value, "f"), "f")
    assert refused.value.path == blamed


def test_lines_neither_come_nor_go() -> None:
    with pytest.raises(NotYours, match="uplinks"):
        meant(REAL, remove_value(SHOWN, "uplinks.lte", "f"), "f")


def test_what_is_no_yaml_is_told_as_such() -> None:
    with pytest.raises(ConfigError):
        meant(REAL, "rules: [", "f")


_WORD = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=6)
_VALUE = st.recursive(_WORD, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORD, inner, max_size=3))


@given(
    st.sampled_from(["rules", "uplinks", "gateways", "lan", "version", "uplinks[0].name", "uplinks[0].cost", "new"]),
    _VALUE,
)
def test_nothing_but_rules_and_uses_of_lines_ever_changes(path: str, value: Plain) -> None:
    try:
        found = meant(REAL, set_value(SHOWN, path, value, "f"), "f")
    except (NotYours, ConfigError):
        return
    before, after = parse(REAL, "f").root, parse(found, "f").root
    for tree in (before, after):
        tree.pop("rules", None)
        for line in tree["uplinks"]:  # type: ignore[union-attr]  # a list of mappings, or `meant` had refused
            for key in ("enabled", "cost", "metered"):
                line.pop(key, None)  # type: ignore[union-attr]  # likewise
    assert before == after
