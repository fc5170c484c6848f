"""What must fit together within a data cap: a volume to count against, lines that exist, rungs in order."""

from collections.abc import Iterator
from typing import Final

from hagw.config.suggest import did_you_mean
from hagw.config.tree import Path, Plain, Tree
from hagw.config.values import parse_rung
from hagw.errors import ConfigIssue

_VOLUMES: Final = ("volume", "volume_down", "volume_up")
_RUNGS: Final = ("overflow_only", "standby_only", "throttle", "cut")
_CUT: Final = "100 %"


def check_data_caps(tree: Tree, caps: list[tuple[Path, dict[str, Plain]]], uplinks: list[str]) -> Iterator[ConfigIssue]:
    """Yield the issues of all caps; `uplinks` are the names of the lines."""
    for path, cap in caps:
        if not any(key in cap for key in _VOLUMES):
            yield tree.issue((*path, "volume"), 'missing: what may be used, such as "50 GB"; or volume_down, volume_up')
        if "billing_day" in cap and cap.get("period") == "day":
            yield tree.issue((*path, "billing_day"), "a daily cap begins at midnight; leave this out")
        yield from _lines(tree, path, cap, uplinks)
        yield from _ladder(tree, path, cap)
        if "throttle_rate" in cap and "throttle" not in cap:
            yield tree.issue(
                (*path, "throttle_rate"), "nothing is throttled without `throttle`, such as `throttle: 95 %`"
            )


def _lines(tree: Tree, path: Path, cap: dict[str, Plain], uplinks: list[str]) -> Iterator[ConfigIssue]:
    seen: dict[str, int | None] = {}
    names = cap.get("uplinks")
    for index, name in enumerate(names if isinstance(names, list) else ()):
        at = (*path, "uplinks", index)
        if not isinstance(name, str):
            continue
        if name in seen:
            yield tree.issue(at, f"this uplink is given twice (line {seen[name]})")
        elif name not in uplinks:
            hint = did_you_mean(name, uplinks)
            yield tree.issue(at, f"no uplink is called {name!r}{hint}; there are: {', '.join(uplinks)}")
        seen.setdefault(name, tree.lines.get(at))


def _ladder(tree: Tree, path: Path, cap: dict[str, Plain]) -> Iterator[ConfigIssue]:
    """Each rung takes more than the one before it: one that begins earlier would hide it."""
    reached, by = 0.0, ""
    for key in _RUNGS:
        text = cap.get(key, _CUT if key == "cut" else None)
        if not isinstance(text, str):
            continue
        try:
            share = parse_rung(text)
        except ValueError:
            continue  # the schema says what is wrong with it
        if share < reached:
            yield tree.issue((*path, key if key in cap else by), f"{key} ({text}) would come before {by} ({cap[by]})")
        elif share != float("inf"):
            reached, by = share, key
