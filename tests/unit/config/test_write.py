"""One changed value is one changed line, whatever the file looks like."""

import difflib
import re
from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hagw.config.tree import Path, Plain, parse, show
from hagw.config.write import get_value, parse_value, remove_value, set_value
from hagw.errors import ConfigError

EXAMPLES = FilePath(__file__).parents[3] / "config"
NASTY = """\
# top # of file
---
'quoted key': plain   # behind
"double key" :    "double"      # far behind
plain: &anchor value
tagged: !!str off
empty:
empty-commented:   # nothing here
tilde: ~
unicode: "Größe – 10 µ"    # ünïcode
url: http://example.org/#no-comment
folded: >-
  several
  lines

literal: |
  # not a comment
  text
two-lines: one
  two
long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb ccc
flow: {a: 1,b: [x,  y ], "c": 'd', e : {f: g}}   # odd spacing
wide: [
  one,      # first
  two       # second
]
uplinks:      # a list beside its key
- name: a.b   # dotted
  metered: true
  # between keys

  gateway:
    deep: 1
-   name: "c"
    metered: no

    # last words of c
nested:
    deeply:
          # odd indentation
          odd: 3
          list:
            - 1
            # between entries
            -   2     # two
last: 'it''s'
"""
TEXTS = {
    "nasty": NASTY,
    "nasty-crlf": NASTY.replace("\n", "\r\n"),
    "nasty-unended": NASTY.rstrip("\n"),
    "flow-top": "{a: 1, b: {c: [2, 3]}} # all of it\n",
    "cpe": (EXAMPLES / "cpe.yaml").read_text(),
}


def leaves(value: Plain, path: Path = ()) -> Iterator[Path]:
    """Yield the path of every scalar."""
    match value:
        case dict():
            for key, each in value.items():
                yield from leaves(each, (*path, key))
        case list():
            for index, each in enumerate(value):
                yield from leaves(each, (*path, index))
        case _:
            yield path


PLACES = [(name, path) for name, text in TEXTS.items() for path in leaves(parse(text, name).root)]
SEVERAL_LINES = {"folded", "literal", "two-lines"}


def changes(before: str, after: str) -> list[str]:
    """Return the lines taken out and put in."""
    lines = difflib.ndiff(before.splitlines(keepends=True), after.splitlines(keepends=True))
    return [line for line in lines if line[0] in "+-"]


@pytest.mark.parametrize(("name", "path"), PLACES, ids=lambda part: part if isinstance(part, str) else show(part))
@pytest.mark.parametrize("value", ["7", 'it\'s "so"', "ü\n\t€: "])
def test_a_changed_scalar_is_one_changed_line(name: str, path: Path, value: str) -> None:
    text = TEXTS[name]
    after = set_value(text, show(path), value)
    assert get_value(after, show(path)) == value
    if path[0] not in SEVERAL_LINES:
        assert [line[0] for line in changes(text, after)] in ([], ["-", "+"])
        assert re.findall(r"\s#.*", after) == re.findall(r"\s#.*", text)


@settings(max_examples=60)
@given(st.sampled_from(PLACES), st.text(max_size=20))
def test_any_text_can_be_any_value(place: tuple[str, Path], value: str) -> None:
    name, path = place
    after = set_value(TEXTS[name], show(path), value)
    assert get_value(after, show(path)) == value
    comments = [line for line in TEXTS[name].splitlines() if line.lstrip().startswith("#")]
    assert [line for line in comments if line not in after] in ([], ["  # not a comment"])


def places(value: Plain) -> Iterator[Path]:
    """Yield the path of everything."""
    for path in leaves(value):
        for length in range(1, len(path) + 1):
            yield path[:length]


PLAINS = st.recursive(
    st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc- :", min_size=1, max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
EVERYWHERE = [(name, path) for name, text in TEXTS.items() for path in dict.fromkeys(places(parse(text, name).root))]


@settings(max_examples=60)
@given(st.sampled_from(EVERYWHERE), PLAINS)
def test_anything_can_take_the_place_of_anything(place: tuple[str, Path], value: Plain) -> None:
    name, path = place
    after = set_value(TEXTS[name], show(path), value)
    assert get_value(after, show(path)) == value


@pytest.mark.parametrize(("name", "path"), EVERYWHERE, ids=lambda part: part if isinstance(part, str) else show(part))
def test_everything_can_be_removed(name: str, path: Path) -> None:
    after = remove_value(TEXTS[name], show(path))
    added = [line for line in changes(TEXTS[name], after) if line[0] == "+"]
    assert len(added) <= 1


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("uplinks.lte.metered", "false", ["-     metered: true  ", "+     metered: false "]),
        ("uplinks.wifi.metered", "true", ["+     metered: true"]),
        ("pool.size_min", "4", ["+ pool:", "+   size_min: 4"]),
        (
            "rules.voice-not-on-lte.steering.uplinks",
            "[dsl]",
            ["-       uplinks: [dsl, wifi]", "+       uplinks: [dsl]"],
        ),
        ("gateways.hag.addresses[0]", "192.0.2.1", ["-     addresses: [198.51.1", "+     addresses: [192.0.2.1"]),
        ("bypass", "[192.0.2.0/24]", ["- bypass: []", "+ bypass: [192.0.2.0/24]"]),
        (
            "rules[1]",
            "{name: late, precedence: 9, steering: {mode: direct}}",
            ["+   - name: late", "+     precedence: 9", "+     steering:", "+       mode: direct"],
        ),
    ],
)
def test_the_example_is_changed_as_its_owner_would(path: str, value: str, expected: list[str]) -> None:
    text = TEXTS["cpe"]
    found = changes(text, set_value(text, path, parse_value(value)))
    assert len(found) == len(expected)
    assert all(line.startswith(start) for line, start in zip(found, expected, strict=True)), found


def test_a_comment_stays_in_its_column() -> None:
    text = "a: 1      # one\nb: 22     # two\n"
    assert set_value(text, "a", "1000") == "a: 1000   # one\nb: 22     # two\n"
    assert set_value(text, "a", "1000000000") == "a: 1000000000 # one\nb: 22     # two\n"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("uplinks.ltt.metered", "uplinks: no entry is called 'ltt'; did you mean 'lte'?; there are: dsl, lte, wifi"),
        ("uplinks[7].metered", "uplinks: has 3 entries, counted from 0"),
        ("version.x", "version: is a single value, there is nothing called 'x' in it"),
        ("", "'' is not a path such as uplinks.lte.metered or rules[0].name"),
        ("lan..x", "lan: 'lan..x' is not a path such as uplinks.lte.metered or rules[0].name"),
    ],
)
def test_a_place_that_cannot_be_is_explained(path: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        set_value(TEXTS["cpe"], path, "1", "cpe.yaml")
    assert str(refused.value) == f"cpe.yaml: {message}"


def test_what_is_not_there_can_be_neither_read_nor_removed() -> None:
    for act in (get_value, remove_value):
        with pytest.raises(ConfigError, match=r"pool: is not in this file"):
            act(TEXTS["cpe"], "pool.size_min")
