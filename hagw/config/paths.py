"""Paths as a person writes them, `uplinks.lte.metered` or `rules[0].steering`, to places in a configuration."""

import re
from typing import Final

from hagw.config.suggest import did_you_mean
from hagw.config.tree import Path, Plain, show
from hagw.errors import ConfigError, ConfigIssue

_KEY: Final = re.compile(r"\.?([^.\[\]]+)")
_INDEX: Final = re.compile(r"\[(\d{1,4})\]")


def resolve(root: Plain, text: str, file: str) -> Path:
    """Return the path that `text` means; keys at its end need not exist yet, nor one entry behind a list's last.

    Entries of a list are found by their `name` or by `[index]`. Raises ConfigError.
    """
    path: Path = ()
    value: Plain = root
    rest = text
    while rest or not path:
        if isinstance(value, list):
            part, rest = _entry(value, rest, path, file)
            value = value[part] if part < len(value) else None
            path = (*path, part)
            continue
        if isinstance(value, str):
            raise _wrong(file, path, f"is a single value, there is nothing called {rest.lstrip('.')!r} in it")
        found = _KEY.match(rest)
        if found is None:
            raise _wrong(file, path, f"{text!r} is not a path such as uplinks.lte.metered or rules[0].name")
        value = None if value is None else value.get(found[1])
        path, rest = (*path, found[1]), rest[found.end() :]
    return path


def lookup(root: Plain, path: Path, file: str) -> Plain:
    """Return the value at a path. Raises ConfigError where the file does not have it."""
    value = root
    for length, part in enumerate(path, start=1):
        match value, part:
            case dict(), str() if part in value:
                value = value[part]
            case list(), int() if part < len(value):
                value = value[part]
            case _:
                raise _wrong(file, path[:length], "is not in this file")
    return value


def _entry(entries: list[Plain], rest: str, path: Path, file: str) -> tuple[int, str]:
    index = _INDEX.match(rest)
    if index is not None:
        if int(index[1]) > len(entries):
            raise _wrong(file, path, f"has {len(entries)} entries, counted from 0")
        return int(index[1]), rest[index.end() :]
    wanted = rest.removeprefix(".")
    names = [entry.get("name") if isinstance(entry, dict) else None for entry in entries]
    # A name may have dots in it: the longest one that fits is meant.
    fitting = [
        name
        for name in names
        if isinstance(name, str) and (wanted == name or wanted.startswith((f"{name}.", f"{name}[")))
    ]
    if not fitting:
        known = [name for name in names if isinstance(name, str)]
        word = re.split(r"[.\[]", wanted)[0]
        there = f"; there are: {', '.join(known)}" if known else "; write its index: [0]"
        raise _wrong(file, path, f"no entry is called {word!r}{did_you_mean(word, known)}{there}")
    name = max(fitting, key=len)
    return names.index(name), wanted[len(name) :]


def _wrong(file: str, path: Path, message: str) -> ConfigError:
    return ConfigError((ConfigIssue(file, None, show(path), message),))
