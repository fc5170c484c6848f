"""Plain values to YAML text, as an owner would write them."""

import re
from typing import Final

from hagw.config.tree import NULLS, Plain

# Means the same to every reader of YAML, inside brackets too. Words that some take for a truth value are not.
_BARE: Final = re.compile(r"[A-Za-z0-9/_][A-Za-z0-9/_.+\-]*(?: [A-Za-z0-9/_.+\-]+)*", re.ASCII)
_TRUTHS: Final = {"yes", "no", "on", "off", "y", "n"}
_ESCAPES: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def inline(value: Plain, style: str | None = None) -> str:
    """Return a value on one line, collections in brackets. `style` = the quotes a scalar had so far."""
    match value:
        case None:
            return "null"
        case str():
            return _scalar(value, style)
        case list():
            return f"[{', '.join(inline(each) for each in value)}]"
        case dict():
            return "{" + ", ".join(f"{inline(key)}: {inline(each)}" for key, each in value.items()) + "}"


def block(value: Plain, column: int, newline: str) -> str:
    """Return what follows the colon of a key at `column`: a mapping's lines two columns further in, each on its own.

    So are lists of mappings; other values are on the key's line.
    """
    indent = newline + " " * (column + 2)
    if isinstance(value, dict) and value:
        return "".join(
            f"{indent}{inline(key)}:{_gap(laid_out)}{laid_out}"
            for key, each in value.items()
            for laid_out in [block(each, column + 2, newline)]
        )
    if isinstance(value, list) and any(isinstance(each, dict) for each in value):
        return "".join(f"{indent}- {entry(each, column + 2, newline)}" for each in value)
    return inline(value)


def entry(value: Plain, column: int, newline: str) -> str:
    """Return what follows a dash at `column`: a mapping's first key beside it, the others below."""
    return block(value, column, newline).lstrip() if isinstance(value, dict) and value else inline(value)


def _gap(laid_out: str) -> str:
    return "" if laid_out[:1] in ("\n", "\r") else " "


def _scalar(text: str, style: str | None) -> str:
    if style == '"':
        return _quoted(text)
    if style == "'" and text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    is_bare = _BARE.fullmatch(text) and text.lower() not in _TRUTHS and text not in NULLS
    return text if is_bare else _quoted(text)


def _quoted(text: str) -> str:
    return '"' + "".join(_ESCAPES.get(each) or _visible(each) for each in text) + '"'


def _visible(character: str) -> str:
    return character if character.isprintable() else f"\\U{ord(character):08x}"
