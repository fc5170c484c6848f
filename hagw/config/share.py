"""A configuration in the hands of who may change a part of it only, and who sees it without its secrets.

Such a text is never put in force itself: what may be different is taken out of it and put into the real one. Whatever
is wrong with how texts are compared, nothing else can change.
"""

import re
from typing import Final

from hagw.config.secrets import masked
from hagw.config.tree import Plain, parse
from hagw.config.write import remove_value, set_value
from hagw.errors import HagwError

RULES: Final = "rules"
UPLINKS: Final = "uplinks"
# Whether and how a line is used; what it is, is an admin's.
UPLINK_KEYS: Final = ("enabled", "cost", "metered")
OPERATORS_PATHS: Final = re.compile(rf"{RULES}([.\[].*)?|{UPLINKS}(\.|\[)[^.\[\]]+\]?\.({'|'.join(UPLINK_KEYS)})")
_MARK: Final = re.compile(r"<(key|path|secret) [0-9a-f]{8}>|://[^\s:/@]*:<password>")

Mapping = dict[str, Plain]


class NotYours(HagwError):
    """A change that takes the role admin; `path` says of what."""

    exit_code = 5

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(f"Changing {path} takes the role admin.")


def is_masked(text: str) -> bool:
    """Say whether a text is one that was shown without its secrets."""
    return _MARK.search(text) is not None


def meant(real: str, shown: str, file: str) -> str:
    """Return the `real` text with what an operator changed in the one that was `shown`: all rules, and uses of lines.

    Comments outside of what is changed stay the real one's. Raise NotYours, or ConfigError where a text is not YAML.
    """
    before, after = parse(masked(real), file).root, parse(shown, file).root
    for key in sorted((before.keys() | after.keys()) - {RULES, UPLINKS}):
        if before.get(key) != after.get(key):
            raise NotYours(key)
    text = real
    for path, value in _uses(before.get(UPLINKS), after.get(UPLINKS)):
        text = remove_value(text, path, file) if value is None else set_value(text, path, value, file)
    if before.get(RULES) == after.get(RULES):
        return text
    if RULES not in after:
        return remove_value(text, RULES, file)
    return set_value(text, RULES, after[RULES], file)


def meant_again(real: str, older: str, file: str) -> str:
    """Return the `real` text with an operator's share as it was in an `older` one. Raise as `meant` does."""
    return meant(real, masked(older), file)


def _uses(before: Plain, after: Plain) -> list[tuple[str, Plain]]:
    """Return where uses of lines differ, as paths and values; None = it is taken out. Raise NotYours."""
    if before == after:
        return []
    if not isinstance(before, list) or not isinstance(after, list) or len(before) != len(after):
        raise NotYours(UPLINKS)
    found = []
    for index, (was, now) in enumerate(zip(before, after, strict=True)):
        if not isinstance(was, dict) or not isinstance(now, dict) or _fixed(was) != _fixed(now):
            raise NotYours(f"{UPLINKS}[{index}]")
        changed = [key for key in UPLINK_KEYS if was.get(key) != now.get(key)]
        found += [(f"{UPLINKS}[{index}].{key}", now.get(key)) for key in changed]
    return found


def _fixed(line: Mapping) -> Mapping:
    return {key: value for key, value in line.items() if key not in UPLINK_KEYS}
