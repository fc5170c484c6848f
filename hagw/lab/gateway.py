"""hagw as it runs in the lab's nodes: configuration, environment, start, stop, readiness."""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from hagw.errors import ConfigError, ConfigIssue, HagwError, Refused
from hagw.lab.processes import Process, end, started_ticks
from hagw.lab.topology import Topology

if TYPE_CHECKING:
    from hagw.lab.lab import Lab

READY_TIMEOUT_S: Final = 20.0
APPLY_TIMEOUT_S: Final = 60.0
_READY_STATES: Final = ("bonded",)


class HagwNotReady(HagwError):
    """hagw did not become ready on a node; the message carries its last words."""


def config_texts(topology: Topology, given: Mapping[str, Path]) -> dict[str, str]:
    """Return every node's hagw YAML: the given file's text, else the topology's with a fresh shared key."""
    able = [node.name for node in topology.nodes.values() if node.hagw is not None]
    for name, file in given.items():
        if name not in able:
            issue = ConfigIssue("--config", None, name, f"this node runs no hagw; these do: {', '.join(able)}")
            raise ConfigError((issue,))
        check_config(file)
    key = _key_of(given) or secrets.token_hex(32)
    texts = {}
    for node in topology.nodes.values():
        if node.name in given:
            texts[node.name] = given[node.name].read_text(encoding="utf-8")
        elif node.hagw is not None:
            text: str = yaml.safe_dump(node.hagw, sort_keys=False)
            texts[node.name] = text.replace("${key}", key)
    return texts


def node_directory(lab_directory: Path, node: str) -> Path:
    """Return where a node's files are."""
    return lab_directory / "nodes" / node


def environment(lab_directory: Path, node: str) -> dict[str, str]:
    """Return the variables that bind `hagw` to a node's daemon, and PATH with `hagw` first."""
    own = node_directory(lab_directory, node)
    return {
        "HAGW_CONFIG": str(own / "hagw.yaml"),
        "HAGW_RUNTIME_DIR": str(own / "run"),
        "HAGW_STATE_DIR": str(own / "state"),
        "HAGW_WEB_STATE_DIR": str(own / "web"),
        "PATH": f"{lab_directory / 'bin'}:{os.environ.get('PATH', '/usr/sbin:/usr/bin:/sbin:/bin')}",
    }


def write_commands(lab_directory: Path) -> None:
    """Write the `hagw` command that nodes find on their PATH: this very hagw, in this very interpreter."""
    command = lab_directory / "bin" / "hagw"
    command.parent.mkdir(exist_ok=True)
    home = Path(__file__).parents[2]
    command.write_text(f"#!/bin/sh\nPYTHONPATH='{home}' exec '{sys.executable}' -P -m hagw \"$@\"\n", encoding="utf-8")
    command.chmod(0o755)


def write_config(lab_directory: Path, node: str, text: str) -> None:
    """Put a node's hagw YAML in place, readable by root only because of the key."""
    own = node_directory(lab_directory, node)
    for directory in (own, own / "run", own / "state"):
        directory.mkdir(parents=True, exist_ok=True)
    fresh = own / "hagw.yaml.new"
    fresh.touch(mode=0o600)
    fresh.write_text(text, encoding="utf-8")
    fresh.rename(own / "hagw.yaml")


def read_config(lab_directory: Path, node: str) -> str:
    """Return a node's hagw YAML."""
    return (node_directory(lab_directory, node) / "hagw.yaml").read_text(encoding="utf-8")


def check_config(file: Path) -> None:
    """Check a hagw configuration as hagw itself does. Raise ConfigError."""
    from hagw.config.load import load_file  # here, because it takes longer to import than most verbs take to run

    load_file(file)


def start_daemon(lab: "Lab", node: str) -> None:
    """Start a node's daemon; it is not ready yet."""
    lab.spawn(node, "daemon", [sys.executable, "-P", "-m", "hagw", "daemon"])


def apply(lab: "Lab", node: str, file: Path, *, offline: bool) -> None:
    """Have a node's daemon, or offline its next one, work by another configuration. Raise Refused when it does not."""
    command = ["hagw", "apply", str(file.resolve()), *(["--offline"] if offline else [])]
    done = lab.run(node, command, capture_output=True, text=True, timeout=APPLY_TIMEOUT_S)
    if done.returncode != 0:
        raise Refused("\n".join(line.removeprefix("hagw: ") for line in done.stderr.strip().splitlines()))


def stop(lab: "Lab", node: str) -> None:
    """End a node's daemon, then have `hagw clear` take interception away and stop the workers."""
    _end_daemon(lab, node)
    done = lab.run(node, ["hagw", "clear"], capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise HagwNotReady(f"`hagw clear` failed on {node}: {done.stderr.strip()}")


def wait_ready(lab: "Lab", node: str, timeout_s: float = READY_TIMEOUT_S) -> None:
    """Wait until hagw on a node says bonded (a HAG: that it answers at all). Raise HagwNotReady."""
    deadline = time.monotonic() + timeout_s
    door = node_directory(lab.directory, node) / "run" / "hagw.sock"
    while True:
        # Asking costs as much as starting does, so ask only when somebody may answer.
        said, words = status(lab, node) if door.is_socket() else (None, "it does not listen yet")
        if said is not None and (said.get("role") == "hag" or said.get("state") in _READY_STATES):
            return
        # One just started is not in its namespace yet; one started by hand was never recorded.
        if not lab.processes.running(node, "daemon") and not lab.pids(node, "daemon"):
            raise HagwNotReady(f"hagw on {node} ended: {_last_words(lab, node)}")
        if time.monotonic() > deadline:
            state = words if said is None else f"{said.get('state')}: {said.get('reason')}"
            raise HagwNotReady(f"hagw on {node} is not ready after {timeout_s:g} s ({state})")
        time.sleep(0.1)


def status(lab: "Lab", node: str) -> tuple[dict[str, Any] | None, str]:
    """Return the document of a node's `hagw status`, or None and why there is none."""
    try:
        done = lab.run(node, ["hagw", "status", "--json"], capture_output=True, text=True, timeout=10)
    except subprocess.TimeoutExpired:
        return None, "`hagw status` does not answer"
    if done.returncode != 0:
        return None, done.stderr.strip()
    document: dict[str, Any] = json.loads(done.stdout)
    return document, ""


def pids(candidates: Iterable[int], role: str | None) -> list[int]:
    """Return those processes that are hagw's `role` (daemon, worker, web); with None all of them."""
    return [pid for pid in candidates if role is None or _hagw_verb(pid) == role]


def _hagw_verb(pid: int) -> str | None:
    """Return the verb of a `python -m hagw VERB …` process, `worker` of a `python -m hagw.worker …` one."""
    try:
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    for before, module, verb in zip(argv, argv[1:], argv[2:], strict=False):
        if before == b"-m" and module == b"hagw.worker":
            return "worker"
        if before == b"-m" and module == b"hagw":
            return verb.decode(errors="replace")
    return None


def _end_daemon(lab: "Lab", node: str) -> None:
    end(Process(node, "daemon", pid, started_ticks(pid) or 0) for pid in lab.pids(node, "daemon"))


def _last_words(lab: "Lab", node: str) -> str:
    log = node_directory(lab.directory, node) / "daemon.log"
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])


def _key_of(given: Mapping[str, Path]) -> str | None:
    """Return the shared key of a given configuration, so that the other end's generated one fits it."""
    for file in given.values():
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
        if isinstance(document, dict):
            for entry in (document.get("gateways") or []) + (document.get("customers") or []):
                if isinstance(entry, dict) and isinstance(entry.get("key"), str):
                    return str(entry["key"])
    return None
