"""What both ends look like when the demo fails: kernel state, hagw's own words, the end of the logs."""

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from hagw.lab import gateway
from hagw.lab.lab import Lab

_LOG_LINES: Final = 50
_TIMEOUT_S: Final = 10.0
# Asked while a transfer runs, as connections are gone afterwards.
CONNECTIONS: Final = (("ss", "-Mani"), ("ss", "-tani"))
_COMMANDS: Final = (
    ("nft", "list", "table", "inet", "hagw"),
    ("ip", "rule"),
    ("ip", "-6", "rule"),
    ("ip", "route", "show", "table", "all"),
    ("ip", "-6", "route", "show", "table", "all"),
    ("ip", "mptcp", "limits"),
    ("ip", "-s", "link"),
    *CONNECTIONS,
    ("nstat", "-asz", "MPTcp*", "TcpRetransSegs", "TcpExtTCPTimeouts"),
    ("hagw", "status", "--json"),
    ("hagw", "flows", "--json", "--recent", "300"),
)


def hagw_nodes(lab: Lab) -> list[str]:
    """Return the nodes that hagw may run in."""
    return [node.name for node in lab.topology.nodes.values() if node.hagw is not None]


def connections(lab: Lab) -> str:
    """Return what the kernels of both ends say of their connections now."""
    return "".join(section for node in hagw_nodes(lab) for section in _sections(lab, node, CONNECTIONS))


def ends_state(lab: Lab) -> str:
    """Return both ends' state as text."""
    sections = []
    for node in hagw_nodes(lab):
        sections += [*_sections(lab, node, _COMMANDS), *_logs(gateway.node_directory(lab.directory, node))]
    return "".join(sections)


def _sections(lab: Lab, node: str, commands: Sequence[Sequence[str]]) -> Iterator[str]:
    for command in commands:
        heading = f"\n=== {node}: {' '.join(command)}\n"
        try:
            done = lab.run(
                node, command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=_TIMEOUT_S
            )
        except subprocess.TimeoutExpired:
            yield f"{heading}no answer within {_TIMEOUT_S:.0f} s\n"
        else:
            yield heading + done.stdout


def _logs(directory: Path) -> Iterator[str]:
    for log in sorted(directory.rglob("*.log")):
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
        yield f"\n=== {log}\n" + "".join(f"{line}\n" for line in lines)
