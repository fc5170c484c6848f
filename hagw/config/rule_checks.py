"""What is wrong with rules' traffic beyond its form: it names nothing, or what no flow can ever fit."""

from collections.abc import Iterable, Iterator
from typing import Final

from hagw.config.suggest import did_you_mean
from hagw.config.tree import Path, Plain, Tree
from hagw.errors import ConfigIssue
from hagw.model.intent import TrafficDescriptor
from hagw.policy.cover import contradiction
from hagw.policy.decide import DEFAULT_RULE

_LISTS: Final = (
    "source", "source_mac", "source_interface", "protocol",
    "destination", "destination_port", "dscp", "domain", "application", "time",
)  # fmt: skip


def check_traffic(tree: Tree) -> Iterator[ConfigIssue]:
    """Yield what names nothing: empty lists, interfaces that LAN hosts are not behind, the default's name."""
    lan = tree.root.get("lan")
    inside = lan.get("interfaces") if isinstance(lan, dict) else None
    rules = tree.root.get("rules")
    for index, rule in enumerate(rules if isinstance(rules, list) else ()):
        if not isinstance(rule, dict):
            continue
        if rule.get("name") == DEFAULT_RULE:
            yield tree.issue(("rules", index, "name"), "this is what a flow without a matching rule is shown with")
        traffic = rule.get("traffic")
        if isinstance(traffic, dict):
            yield from _lists(tree, ("rules", index, "traffic"), traffic, inside if isinstance(inside, list) else [])


def check_contradictions(tree: Tree, traffics: Iterable[TrafficDescriptor]) -> Iterator[ConfigIssue]:
    """Yield the rules that no flow can ever fit; `traffics` in the order of the file."""
    for index, traffic in enumerate(traffics):
        why = contradiction(traffic)
        if why is not None:
            yield tree.issue(("rules", index, "traffic"), why)


def _lists(tree: Tree, path: Path, traffic: dict[str, Plain], lan: list[Plain]) -> Iterator[ConfigIssue]:
    for key in _LISTS:
        if key in traffic and traffic[key] == []:
            yield tree.issue((*path, key), "name at least one, or leave this out for any")
    names = [name for name in lan if isinstance(name, str)]
    interfaces = traffic.get("source_interface")
    for number, name in enumerate(interfaces if isinstance(interfaces, list) else ()):
        if isinstance(name, str) and name not in names:
            at = (*path, "source_interface", number)
            yield tree.issue(
                at, f"{name} is no LAN interface{did_you_mean(name, names)}; there are: {', '.join(names)}"
            )
