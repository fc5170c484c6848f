"""Files of every earlier version load, and their mistakes are blamed on the lines their owner wrote."""

import pytest

from hagw import __version__
from hagw.config.load import load
from hagw.config.migrate import current
from hagw.config.tree import Tree
from hagw.errors import ConfigError
from hagw.model.intent import CpeIntent

KEY = "8f3c1d5e7a9b02468ace13579bdf0f1e2d3c4b5a69788796a5b4c3d2e1f00a1b"
OLD = f"""\
version: 1
role: cpe
idle-of-pool: 7 min   # became pool.idle
networks: [lan0]      # became lan.interfaces
uplinks:
  - name: dsl
    kind: dsl
    device: dsl0
gateways:
  - name: hag
    addresses: [198.51.100.10]
    customer: home
    key: {KEY}
"""


def into_sections(tree: Tree) -> None:
    """Version 2: two keys went into sections."""
    if "idle-of-pool" in tree.root:
        tree.move(("idle-of-pool",), ("pool", "idle"))
    if "networks" in tree.root:
        tree.move(("networks",), ("lan", "interfaces"))


def renamed(tree: Tree) -> None:
    """Version 3: `device` became `interface`, and lines are metered unless they say otherwise."""
    uplinks = tree.root.get("uplinks")
    for index, uplink in enumerate(uplinks if isinstance(uplinks, list) else ()):
        if isinstance(uplink, dict) and "device" in uplink:
            tree.move(("uplinks", index, "device"), ("uplinks", index, "interface"))
        if isinstance(uplink, dict) and "metered" not in uplink:
            tree.put(("uplinks", index, "metered"), "true", tree.lines[("uplinks", index)])


STEPS = (into_sections, renamed)


def loaded(text: str) -> CpeIntent:
    intent = load(text, "hagw.yaml", STEPS)
    assert isinstance(intent, CpeIntent)
    return intent


def test_a_file_of_the_first_version_goes_all_the_way() -> None:
    intent = loaded(OLD)
    assert intent.lan_interfaces == ("lan0",)
    assert intent.pool.idle_s == 420
    assert (intent.uplinks[0].interface, intent.uplinks[0].metered) == ("dsl0", True)


def test_a_file_of_a_later_version_takes_only_the_steps_behind_it() -> None:
    second = OLD.replace("version: 1", "version: 2").replace("idle-of-pool: 7 min", "pool: {idle: 7 min}")
    assert loaded(second.replace("networks: [lan0]", "lan: {interfaces: [lan0]}")) == loaded(OLD)
    with pytest.raises(ConfigError, match=r"hagw\.yaml:4: networks: unknown key"):
        loaded(second)


def test_a_mistake_in_what_was_moved_has_its_own_line() -> None:
    wrong = OLD.replace("7 min", "7 moons").replace("[lan0]", "[lan0, lan0]").replace("dsl0", "lan0")
    with pytest.raises(ConfigError) as refused:
        loaded(wrong)
    assert [(issue.line, issue.path) for issue in refused.value.issues] == [
        (3, "pool.idle"),
        (4, "lan.interfaces[1]"),
        (8, "uplinks[0].interface"),
    ]


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("4", f"version 4 is of a newer hagw than this one, {__version__}, which reads up to version 3; "),
        ("99999999999", "'99999999999' is not a version; write `version: 3`"),
        ("0", "version 0 has never existed; write `version: 3`"),
        ("1.5", "'1.5' is not a version; write `version: 3`"),
        ("", "None is not a version; write `version: 3`"),
        ("[1]", "is not a version; write `version: 3`"),
    ],
)
def test_a_version_that_cannot_be_read_is_explained(version: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        loaded(OLD.replace("version: 1", f"version: {version}"))
    assert message in str(refused.value)
    assert str(refused.value).startswith("hagw.yaml:1: version: ")


def test_what_this_hagw_writes_is_what_it_reads() -> None:
    with pytest.raises(ConfigError, match=rf"up to version {current()};"):
        load(OLD.replace("version: 1", f"version: {current() + 1}"), "hagw.yaml")
