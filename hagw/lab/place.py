"""Where in one of the lab's own files we are reading, so that a fault can be blamed on its place there."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hagw.errors import ConfigError, ConfigIssue


@dataclass(frozen=True, slots=True)
class Place:
    """A file, and a path of keys in it."""

    file: str
    path: str = ""

    def at(self, key: object) -> "Place":
        """Return the place of a key in this one."""
        return Place(self.file, f"{self.path}.{key}" if self.path else str(key))

    def fault(self, message: str) -> ConfigError:
        """Return the error that says what is wrong here."""
        return ConfigError((ConfigIssue(self.file, None, self.path, message),))


def read_yaml(file: Path) -> Any:
    """Return what a file says. Raise ConfigError if it cannot be read or is no YAML."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise Place(str(file)).fault(f"cannot be read: {error.strerror}") from error
    return parse_yaml(text, str(file))


def parse_yaml(text: str, file: str) -> Any:
    """Return what the text of a file says. Raise ConfigError with the line if it is no YAML."""
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise ConfigError((ConfigIssue(file, line, "", f"not valid YAML: {error.problem}"),)) from error


def mapping_of(value: Any, place: Place, allowed: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a value that is a mapping of allowed keys (of any, where none are named). Raise ConfigError."""
    if not isinstance(value, dict):
        raise place.fault("must be a mapping")
    for key in value:
        if allowed and key not in allowed:
            raise place.at(key).fault(f"unknown key; allowed are {', '.join(allowed)}")
    return value
