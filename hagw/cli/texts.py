"""Configuration texts as verbs take them from files."""

from pathlib import Path

from hagw.errors import ConfigError, ConfigIssue


def read_config(file: Path) -> str:
    """Return the file's text. Raise ConfigError where it cannot be read."""
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError((ConfigIssue(str(file), None, "", f"not UTF-8 text (byte {error.start})"),)) from None
    except OSError as error:
        raise ConfigError((ConfigIssue(str(file), None, "", f"cannot be read: {error.strerror}"),)) from None
