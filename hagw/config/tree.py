"""YAML text to plain values that remember their lines.

Every scalar stays the text it was written as: YAML 1.1 would make a number of a key of digits, False of `off` and
minutes of `22:22`. The schema, which knows what it wants, parses the text.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from hagw.errors import ConfigError, ConfigIssue

Path = tuple[str | int, ...]
Plain = dict[str, "Plain"] | list["Plain"] | str | None

_DEPTH_MAX: Final = 24
_SIZE_MAX: Final = 4 << 20
NULLS: Final = {"", "~", "null", "Null", "NULL"}


@dataclass(slots=True)
class Tree:
    """A parsed file: its values, and the 1-based line of each path."""

    file: str
    root: dict[str, Plain]
    lines: dict[Path, int] = field(default_factory=dict)

    def issue(self, path: Path, message: str) -> ConfigIssue:
        """Blame the line of `path`, or of the nearest thing around it that is in the file."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.lines:
                return ConfigIssue(self.file, self.lines[path[:length]], show(path), message)
        return ConfigIssue(self.file, None, show(path), message)

    def put(self, path: Path, value: Plain, line: int) -> None:
        """Set a value that nobody wrote, for migrations: blamed on `line`."""
        self._parent(path)[path[-1]] = value
        self.lines[path] = line

    def move(self, path: Path, to: Path) -> None:
        """Move what is at `path`, with the lines of everything in it, for migrations; mappings on the way are made."""
        value = self._parent(path).pop(path[-1])
        line = self.lines[path]
        for length in range(1, len(to)):
            around = self._parent(to[:length])
            if isinstance(around, dict) and to[length - 1] not in around:
                around[to[length - 1]] = {}
                self.lines[to[:length]] = line
        self._parent(to)[to[-1]] = value
        inside = {known: at for known, at in self.lines.items() if known[: len(path)] == path}
        for known in inside:
            del self.lines[known]
        self.lines |= {to + known[len(path) :]: at for known, at in inside.items()}

    def _parent(self, path: Path) -> Any:
        """Return the mapping or list that `path` is a place in."""
        around: Any = self.root
        for part in path[:-1]:
            around = around[part]
        return around


def show(path: Path) -> str:
    """Write a path as `uplinks[0].name`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def parse(text: str, file: str) -> Tree:
    """Parse one YAML document whose top is a mapping. Raises ConfigError."""
    if len(text) > _SIZE_MAX:
        raise ConfigError((ConfigIssue(file, None, "", f"larger than {_SIZE_MAX >> 20} MiB"),))
    try:
        top = _compose(text, file)
    except yaml.YAMLError as error:
        raise ConfigError((_syntax(error, text, file),)) from None
    if top is None:
        raise ConfigError((ConfigIssue(file, None, "", "the file is empty; it begins with `version: 1` and `role:`"),))
    if not isinstance(top, yaml.MappingNode):
        line = top.start_mark.line + 1
        raise ConfigError((ConfigIssue(file, line, "", "`key: value` lines are wanted at the top of the file"),))
    tree = Tree(file, {})
    issues: list[ConfigIssue] = []
    tree.root = _mapping(top, (), tree, issues)
    if issues:
        raise ConfigError(tuple(issues))
    return tree


def plain_of(node: yaml.Node) -> Plain:
    """Return a node's value as `parse` does, without its lines; of a key given twice the last."""
    if isinstance(node, yaml.MappingNode):
        return {key.value: plain_of(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [plain_of(item) for item in node.value]
    return _text(node)


def _compose(text: str, file: str) -> yaml.Node | None:
    """Return the document's nodes. Raises ConfigError, and YAMLError in the words of the Python parser.

    libyaml takes a tenth of the time; what it refuses is refused again by the parser whose words we know.
    """
    for loader in dict.fromkeys((getattr(yaml, "CSafeLoader", yaml.SafeLoader), yaml.SafeLoader)):
        try:
            _refuse_what_expands(text, file, loader)
            return yaml.compose(text, Loader=loader)
        except yaml.YAMLError:
            if loader is yaml.SafeLoader:
                raise
    return None


def _refuse_what_expands(text: str, file: str, loader: Any) -> None:
    """Look at the flat event stream first: aliases and deep nesting would cost memory or stack."""
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        message = None
        if isinstance(event, yaml.AliasEvent):
            message = "aliases (*name) are not supported"
        elif depth > _DEPTH_MAX:
            message = "nested too deeply"
        if message is not None:
            raise ConfigError((ConfigIssue(file, _line(event), "", message),))


def _syntax(error: yaml.YAMLError, text: str, file: str) -> ConfigIssue:
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return ConfigIssue(file, line, "", f"character #x{error.character:04x} is not allowed")
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return ConfigIssue(file, None, "", str(error))
    line = error.problem_mark.line + 1
    lines = text.splitlines()
    found = lines[line - 1] if line <= len(lines) else ""
    if "\t" in found[: len(found) - len(found.lstrip())]:
        return ConfigIssue(file, line, "", "indented with a tab; YAML wants spaces")
    if "single document" in (error.context or ""):
        return ConfigIssue(file, line, "", "a second document begins here; one is wanted")
    return ConfigIssue(
        file, line, "", f"not valid YAML: {error.problem}" + (f", {error.context}" if error.context else "")
    )


def _mapping(node: yaml.MappingNode, path: Path, tree: Tree, issues: list[ConfigIssue]) -> dict[str, Plain]:
    tree.lines.setdefault(path, node.start_mark.line + 1)
    found: dict[str, Plain] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            issues.append(ConfigIssue(tree.file, line, show(path), "a key is a word"))
            continue
        below = (*path, key.value)
        if key.value in found:
            first = tree.lines[below]
            issues.append(ConfigIssue(tree.file, line, show(below), f"given twice, first in line {first}"))
            continue
        tree.lines[below] = line
        found[key.value] = _plain(value, below, tree, issues)
    return found


def _plain(node: yaml.Node, path: Path, tree: Tree, issues: list[ConfigIssue]) -> Plain:
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, tree, issues)
    if isinstance(node, yaml.SequenceNode):
        tree.lines.setdefault(path, node.start_mark.line + 1)
        for index, item in enumerate(node.value):
            tree.lines[(*path, index)] = item.start_mark.line + 1
        return [_plain(item, (*path, index), tree, issues) for index, item in enumerate(node.value)]
    tree.lines.setdefault(path, node.start_mark.line + 1)
    return _text(node)


def _text(node: yaml.Node) -> str | None:
    text: str = node.value
    return None if isinstance(node, yaml.ScalarNode) and not node.style and text in NULLS else text


def _line(event: yaml.Event) -> int | None:
    return None if event.start_mark is None else event.start_mark.line + 1
