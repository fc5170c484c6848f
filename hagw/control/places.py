"""Where things are: the environment decides, so that several gateways can share one file system."""

import os
from pathlib import Path


def config_file() -> Path:
    """Return the configuration file's path (HAGW_CONFIG)."""
    return Path(os.environ.get("HAGW_CONFIG") or "/etc/hagw/hagw.yaml")


def runtime_dir() -> Path:
    """Return the directory of sockets and locks (HAGW_RUNTIME_DIR)."""
    return Path(os.environ.get("HAGW_RUNTIME_DIR") or "/run/hagw")


def state_dir() -> Path:
    """Return the directory of what survives a reboot (HAGW_STATE_DIR)."""
    return Path(os.environ.get("HAGW_STATE_DIR") or "/var/lib/hagw")


def api_socket() -> Path:
    """Return the path of the daemon's API socket."""
    return runtime_dir() / "hagw.sock"
