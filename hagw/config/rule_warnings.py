"""Rules that are accepted but cannot be meant: those that an earlier one hides entirely."""

from collections.abc import Iterator

from hagw.config.load import load
from hagw.config.tree import parse
from hagw.errors import ConfigIssue
from hagw.model.intent import CpeIntent
from hagw.policy.cover import covers


def find_warnings(text: str, filename: str) -> tuple[ConfigIssue, ...]:
    """Return the warnings about a configuration file's text. Raises ConfigError where it is not even accepted."""
    intent = load(text, filename)
    return tuple(_hidden(intent, text, filename)) if isinstance(intent, CpeIntent) else ()


def _hidden(intent: CpeIntent, text: str, filename: str) -> Iterator[ConfigIssue]:
    tree = parse(text, filename)
    written = tree.root.get("rules")
    rules = written if isinstance(written, list) else []
    at = {str(rule["name"]): ("rules", index) for index, rule in enumerate(rules) if isinstance(rule, dict)}
    for number, later in enumerate(intent.rules):
        for earlier in intent.rules[:number]:
            if covers(earlier.traffic, later.traffic):
                line = tree.lines[at[earlier.name]]
                message = f"never the first match: rule {earlier.name} (line {line}) takes all its flows"
                yield tree.issue(at[later.name], message)
                break
