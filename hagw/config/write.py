"""Change one value in a configuration's text and nothing else: comments, order, quotes and spacing stay.

Edits the text itself, at the places where the parser found the value: writing parsed YAML out again would lay out other
lines anew. What comes out is parsed once more and must say exactly what was asked for.
"""

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import yaml

from hagw.config.paths import lookup, resolve
from hagw.config.render import block, entry, inline
from hagw.config.tree import Path, Plain, parse, plain_of, show
from hagw.errors import ConfigError, ConfigIssue

_EDITS_MAX: Final = 2000
_GAP: Final = re.compile(r" {2,}(?=#)")
_PROPERTIES: Final = re.compile(r"(?:[&!]\S*\s+)+")  # an anchor or a tag before a value


@dataclass(frozen=True, slots=True)
class _Edit:
    """Replace text[start:end]."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value stands: `gap` is the index behind its colon or dash, `indent` the column of its key or dash."""

    node: yaml.Node
    gap: int
    indent: int
    is_flow: bool
    is_entry: bool = False


def set_value(text: str, path: str, value: Plain, file: str = "") -> str:
    """Return the text with one value changed or added. Whether the result is a good configuration is `load`'s to say.

    Scalars are given as text. Raises ConfigError where the text is not YAML we read or there is no such place.
    """
    root = parse(text, file).root
    return _rewrite(text, _with(root, resolve(root, path, file), value, file, ()), file)


def remove_value(text: str, path: str, file: str = "") -> str:
    """Return the text without a key or a list's entry. Raises ConfigError where it is not there."""
    root = copy.deepcopy(parse(text, file).root)
    where = resolve(root, path, file)
    lookup(root, where, file)
    match lookup(root, where[:-1], file), where[-1]:
        case dict() as mapping, str(key):
            del mapping[key]
        case list() as entries, int(index):
            del entries[index]
        case _:
            raise AssertionError(where)
    return _rewrite(text, root, file)


def get_value(text: str, path: str, file: str = "") -> Plain:
    """Return the value at a path as it is written. Raises ConfigError."""
    root = parse(text, file).root
    return lookup(root, resolve(root, path, file), file)


def parse_value(text: str) -> Plain:
    """Return what a person typed as a value: `[dsl, wifi]` and `{a: b}` are a list and a mapping, the rest is text."""
    if text[:1] in ("[", "{"):
        return parse(f"value: {text}", "VALUE").root["value"]
    return text


def _with(value: Plain, path: Path, new: Plain, file: str, above: Path) -> Plain:
    """Return a copy of `value` in which the place `path` holds `new`."""
    if not path:
        return new
    part, rest = path[0], path[1:]
    at = (*above, part)
    if isinstance(part, int) and isinstance(value, list):
        old = value[part] if part < len(value) else None
        return [*value[:part], _with(old, rest, new, file, at), *value[part + 1 :]]
    if isinstance(part, str) and (value is None or isinstance(value, dict)):
        known = value or {}
        return {**known, part: _with(known.get(part), rest, new, file, at)}
    raise ConfigError((ConfigIssue(file, None, show(at), "there is no such place"),))


def _rewrite(text: str, wanted: Plain, file: str) -> str:
    """Edit the text, one place after the other, until it says what is wanted."""
    changed = text
    for _ in range(_EDITS_MAX):
        top = yaml.compose(changed, Loader=yaml.SafeLoader)
        assert isinstance(top, yaml.MappingNode)
        edit = _next_edit(changed, _Place(top, 0, 0, bool(top.flow_style)), wanted)
        if edit is None:
            break
        changed = changed[: edit.start] + edit.text + changed[edit.end :]
    if parse(changed, file).root != wanted:
        raise ConfigError(
            (ConfigIssue(file, None, "", "is written in a way that hagw cannot change; edit it yourself"),)
        )
    return changed


def _next_edit(text: str, place: _Place, wanted: Plain) -> _Edit | None:
    """Return the next edit on the way from what is at `place` to `wanted`, None when nothing is left to do."""
    node = place.node
    if plain_of(node) == wanted:
        return None
    match node, wanted:
        case yaml.MappingNode(value=[_, *_]), dict() if wanted:
            return _edit_mapping(text, node, wanted)
        case yaml.SequenceNode(value=[_, *_]), list() if wanted:
            return _edit_sequence(text, node, wanted)
        case _:
            return _replace(text, place, wanted)


def _replace(text: str, place: _Place, wanted: Plain) -> _Edit:
    node = place.node
    end = _end(text, node)
    if isinstance(wanted, dict | list) and not (place.is_flow or place.is_entry):
        laid_out = block(wanted, place.indent, _newline(text))
        return _Edit(place.gap, end, laid_out if laid_out.startswith(("\n", "\r")) else f" {laid_out}")
    style = node.style if isinstance(node, yaml.ScalarNode) else None
    new = inline(wanted, style)
    is_inline = not isinstance(node, yaml.CollectionNode) or bool(node.flow_style)
    start = node.start_mark.index
    if start == end or not is_inline:
        return _Edit(place.gap, end, f" {new}")
    properties = _PROPERTIES.match(text, start, end)
    start = start if properties is None else properties.end()
    return _with_comment_in_place(text, _Edit(start, end, new))


def _with_comment_in_place(text: str, edit: _Edit) -> _Edit:
    """Widen or narrow the gap to a comment behind the value, so that it stays in its column where it can."""
    gap = _GAP.match(text, edit.end)
    if gap is None:
        return edit
    width = len(gap[0]) + edit.end - edit.start - len(edit.text)
    return _Edit(edit.start, gap.end(), edit.text + " " * max(1, width))


def _edit_mapping(text: str, node: yaml.MappingNode, wanted: dict[str, Plain]) -> _Edit | None:
    is_flow = bool(node.flow_style)
    for key, value in node.value:
        if key.value in wanted:
            colon = text.find(":", key.end_mark.index, value.start_mark.index + 1) + 1 or key.end_mark.index
            place = _Place(value, colon, key.start_mark.column, is_flow)
            edit = _next_edit(text, place, wanted[key.value])
            if edit is not None:
                return edit
    present = [key.value for key, _ in node.value]
    for name, new in wanted.items():
        if name not in present:
            return _add_key(text, node, name, new)
    for index, name in enumerate(present):
        if name not in wanted:
            return _remove(text, list(_spans(text, node)), index, is_flow=is_flow)
    return None


def _edit_sequence(text: str, node: yaml.SequenceNode, wanted: list[Plain]) -> _Edit | None:
    """Entries that are equal at both ends stay; between them one is changed, added or removed."""
    old = [plain_of(item) for item in node.value]
    most = min(len(old), len(wanted))
    before = next((at for at in range(most) if old[at] != wanted[at]), most)
    after = next((at for at in range(most - before) if old[-1 - at] != wanted[-1 - at]), most - before)
    if before + after == most and len(old) < len(wanted):
        return _add_entry(text, node, before, wanted[before])
    if before + after == most and len(old) > len(wanted):
        return _remove(text, list(_spans(text, node)), before, is_flow=bool(node.flow_style))
    item = node.value[before]
    start = item.start_mark.index
    gap = start if node.flow_style else text.rindex("-", 0, start + (start == _end(text, item))) + 1
    place = _Place(item, gap, node.start_mark.column, bool(node.flow_style), is_entry=True)
    return _next_edit(text, place, wanted[before])


def _add_key(text: str, node: yaml.MappingNode, name: str, new: Plain) -> _Edit:
    """Add a key behind the last one."""
    end = list(_spans(text, node))[-1][1]
    if node.flow_style:
        return _Edit(end, end, f", {inline(name)}: {inline(new)}")
    column = node.start_mark.column
    laid_out = block(new, column, _newline(text))
    gap = "" if laid_out.startswith(("\n", "\r")) else " "
    return _new_line(text, end, f"{' ' * column}{inline(name)}:{gap}{laid_out}")


def _add_entry(text: str, node: yaml.SequenceNode, index: int, new: Plain) -> _Edit:
    """Add an entry before the one that has its index now."""
    spans = list(_spans(text, node))
    if node.flow_style and index:
        return _Edit(spans[index - 1][1], spans[index - 1][1], f", {inline(new)}")
    if node.flow_style:
        return _Edit(spans[0][0], spans[0][0], f"{inline(new)}, ")
    column, newline = node.start_mark.column, _newline(text)
    line = f"{' ' * column}- {entry(new, column, newline)}"
    if index:
        return _new_line(text, spans[index - 1][1], line)
    first = _line_start(text, spans[0][0])
    return _Edit(first, first, line + newline)


def _remove(text: str, spans: list[tuple[int, int]], index: int, *, is_flow: bool) -> _Edit:
    """Remove one of several spans that follow each other, in block style with its lines."""
    start, end = spans[index]
    if is_flow:
        return _Edit(spans[index - 1][1], end, "") if index else _Edit(start, spans[1][0], "")
    line = _line_start(text, start)
    if text[line:start].strip():  # the first key stands beside its dash: the next one moves there
        return _Edit(start, spans[index + 1][0], "")
    return _Edit(line, _line_end(text, end), "")


def _spans(text: str, node: yaml.MappingNode | yaml.SequenceNode) -> Iterator[tuple[int, int]]:
    """Yield where each entry begins and ends; in block style a list's entries begin with their dash."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key.start_mark.index, max(key.end_mark.index, _end(text, value))
        return
    for item in node.value:
        start, end = item.start_mark.index, _end(text, item)
        yield start if node.flow_style else text.rindex("-", 0, start + (start == end)), end


def _end(text: str, node: yaml.Node) -> int:
    """Return where a value's own text ends: the parser's mark of a block lies behind the comments that follow it."""
    start: int = node.start_mark.index
    end: int = node.end_mark.index
    match node:
        case yaml.ScalarNode(style="|" | ">"):
            return start + len(text[start:end].rstrip())
        case yaml.MappingNode(flow_style=False | None, value=[*_, (key, value)]):
            return max(int(key.end_mark.index), _end(text, value))
        case yaml.SequenceNode(flow_style=False | None, value=[*_, item]):
            return _end(text, item)
        case _:
            return end


def _new_line(text: str, after: int, line: str) -> _Edit:
    """Insert a line behind the one in which something ends."""
    end = _line_end(text, after)
    newline = _newline(text)
    if end == len(text) and not text.endswith("\n"):
        return _Edit(end, end, newline + line)
    return _Edit(end, end, line + newline)


def _line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1


def _line_end(text: str, index: int) -> int:
    """Return where the next line begins."""
    end = text.find("\n", index)
    return len(text) if end < 0 else end + 1


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
