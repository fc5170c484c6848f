"""Where to listen and as whom: what the daemon wrote for us (`web.json`), and the places of our own files."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hagw.model.web import PORT_WEB, WEB_FILE, WEB_SOCKET

SCHEMA: Final = 1


@dataclass(frozen=True, slots=True)
class Settings:
    """The configuration's `web` section as the daemon resolved it. `interfaces` are listened on besides loopback.

    With `addresses` those are listened on instead of interfaces. `certificate` and `key` are the owner's, "" = our own.
    """

    enabled: bool = True
    port: int = PORT_WEB
    interfaces: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    certificate: str = ""
    key: str = ""


class SettingsDamaged(Exception):
    """The file cannot be used; the message says why."""


def load_settings(path: Path) -> Settings | None:
    """Return what the daemon wrote last, None where it never did. Raises SettingsDamaged."""
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if document["schema"] != SCHEMA:
            raise SettingsDamaged(f"{path} was written by another version of hagw")
        return Settings(
            bool(document["enabled"]),
            int(document["port"]),
            tuple(map(str, document["interfaces"])),
            tuple(map(str, document["addresses"])),
            tuple(map(str, document["names"])),
            str(document["certificate"]),
            str(document["key"]),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as why:
        raise SettingsDamaged(f"{path} cannot be used: {why}") from why


def runtime_dir() -> Path:
    """Return where the daemon's sockets are (HAGW_RUNTIME_DIR)."""
    return Path(os.environ.get("HAGW_RUNTIME_DIR") or "/run/hagw")


def settings_file() -> Path:
    """Return the path of the daemon's file for us."""
    return runtime_dir() / WEB_FILE


def socket_file() -> Path:
    """Return the path of the daemon's socket for us."""
    return runtime_dir() / WEB_SOCKET


def web_state_dir() -> Path:
    """Return where our certificate is kept (HAGW_WEB_STATE_DIR, or what systemd gave us)."""
    given = os.environ.get("HAGW_WEB_STATE_DIR") or os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(given or "/var/lib/hagw-web")
