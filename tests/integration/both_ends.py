"""Both ends of a lab as a failed test left them: a few lines that tell most, and everything."""

import json
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from hagw.lab import gateway
from hagw.lab.lab import Lab

FLOWS: Final = 5
FLOWS_A_LINE: Final = 3
EVENTS: Final = 15
EVENTS_A_LINE: Final = 4
PATIENCE_S: Final = 5.0
_STAMP: Final = re.compile(r"timestamp=(\S+) level=(\w+) event=(.*)")
_NEVER_COUNTED: Final = re.compile(r"\tcounter \w+ \{\n\t\tpackets 0 bytes 0\n\t\}\n\n?")


# --- in short


def in_short(lab: Lab) -> list[str]:
    """Return 8 lines at most: of the CPE its state, lines, gateways, flows and latest events, and the gateways' own."""
    cpes, hags = (_of_role(lab, role) for role in ("cpe", "hag"))
    now = time.time()
    lines = []
    for node in cpes[:1]:
        lines += of_status(node, _document(lab, node, "status"))
        lines += of_flows(_document(lab, node, "flows"))
    gates = (f"{node} {_standing(_document(lab, node, 'status'))}" for node in hags)
    lines.append(f"gateways themselves: {'; '.join(gates)}")
    for node in cpes[:1]:
        lines += of_events(_log_of(lab, node), now)
    return lines


def of_status(node: str, status: dict[str, Any]) -> Iterator[str]:
    yield f"{node} {_standing(status)}"
    for title, kind in (("lines", "uplinks"), ("gateways as it sees them", "gateways")):
        if kind in status:
            yield f"{title}: {'; '.join(_standing(each, each['name']) for each in status[kind])}"


def of_flows(document: dict[str, Any]) -> Iterator[str]:
    alive = [flow for flow in document.get("flows", ()) if flow["state"] != "closed"]
    told = [_flow(flow) for flow in alive[:FLOWS]] or ["none"]
    for start in range(0, len(told), FLOWS_A_LINE):
        yield f"{f'{len(alive)} flows: ' if start == 0 else ''}{' | '.join(told[start : start + FLOWS_A_LINE])}"


def _flow(flow: dict[str, Any]) -> str:
    carried = " ".join(f"{line}:{each['down']}/{each['up']}" for line, each in flow["by_uplink"].items())
    return f":{flow['client_port']}>:{flow['server_port']} {flow['path']} {flow['state']} [{carried}] {flow['why']}"


def of_events(log: Sequence[str], now: float) -> Iterator[str]:
    """Yield the latest events with their age, newest first; a line that is none is a traceback's."""
    told = []
    for line in log[-EVENTS:]:
        if found := _STAMP.fullmatch(line):
            age_s = now - datetime.fromisoformat(found[1]).timestamp()
            told.append(f"{-age_s:+.1f}s {'' if found[2] == 'info' else f'{found[2]} '}{found[3]}")
        else:
            told.append(line.strip())
    latest = told[::-1]
    for start in range(0, len(latest), EVENTS_A_LINE):
        yield " | ".join(latest[start : start + EVENTS_A_LINE])


def _standing(told: dict[str, Any], name: str = "") -> str:
    why = f" ({told['reason']})" if told.get("reason") else ""
    return f"{name} {told['state']}{why}".strip()


def _document(lab: Lab, node: str, verb: str) -> dict[str, Any]:
    """Return a verb's document, or one that says what it said instead."""
    shown = _said(lab, node, ["hagw", verb, "--json"])
    try:
        document: dict[str, Any] = json.loads(shown)
    except ValueError:
        return {"state": "silent", "reason": shown.strip()}
    return document


def _of_role(lab: Lab, role: str) -> list[str]:
    return [node.name for node in lab.topology.nodes.values() if node.hagw is not None and node.hagw["role"] == role]


def _log_of(lab: Lab, node: str) -> list[str]:
    return _lines_of(gateway.node_directory(lab.directory, node) / "daemon.log")


# --- at length


def at_length(lab: Lab) -> str:
    """Return all there is to see of both ends; counters that counted nothing are left out."""
    parts = []
    for node in (*_of_role(lab, "cpe"), *_of_role(lab, "hag")):
        for argv in (
            ["hagw", "status"],
            ["hagw", "flows", "--json"],
            ["nft", "list", "table", "inet", "hagw"],
            ["ip", "rule"],
            ["ip", "route", "show", "table", "all"],
            ["ss", "-Mani"],
            ["ss", "-tan"],
            ["nstat", "-as"],
        ):
            parts.append(f"--- {node}: {' '.join(argv)}\n{counted(_said(lab, node, argv))}")
        directory = gateway.node_directory(lab.directory, node)
        for log in sorted([*directory.glob("*.log"), *directory.glob("run/*.log")]):
            parts.append(f"--- {log}\n" + "\n".join(_lines_of(log)[-200:]))
    return "\n".join(parts)


def counted(table: str) -> str:
    """Return an nft table as text without the named counters that counted nothing."""
    return _NEVER_COUNTED.sub("", table)


def _said(lab: Lab, node: str, argv: list[str]) -> str:
    try:
        shown = lab.run(node, argv, capture_output=True, text=True, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        return f"no answer within {PATIENCE_S:g} s"
    return f"{shown.stdout}{shown.stderr}"


def _lines_of(file: Path) -> list[str]:
    if not file.exists():
        return []
    return file.read_text(encoding="utf-8", errors="replace").splitlines()
