"""What is compared: each a way to carry a LAN's connections, set up in a lab for a while and taken away again."""

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from hagw.lab import netns
from hagw.lab.lab import Lab
from hagw.lab.topology import LinkEnds
from hagw.lab.traffic import preferring

GATEWAY: Final = "cpe"
HAG: Final = "hag"
SERVER: Final = "inet"
SERVER_ADDRESS: Final = "203.0.113.10"
SERVER_NETWORK: Final = "203.0.113.0/24"
PLAIN_PORT: Final = 5300
HAGW_PORT: Final = 5124
MPTCP_PORT: Final = 5301  # the same server under mptcpize
MPTCPIZE: Final = ("mptcpize", "run")
_TABLE: Final = 7001  # of the first line, where our own kernel set-up routes by source address
_SUBFLOWS: Final = 8


@dataclass(frozen=True, slots=True)
class Ready:
    """A system at work: where its client runs and how, which server it talks to, and proof's port.

    All bytes must pass over MPTCP connections from the gateway to `far_port`, which no other system uses.
    """

    client: str = "lan1"
    prefix: tuple[str, ...] = ()
    port: int = PLAIN_PORT
    far_port: int | None = None
    pids: Callable[[], Sequence[int]] = tuple  # the proxies of both ends, whose CPU time is counted


class System(Protocol):
    """A way to carry connections."""

    @property
    def name(self) -> str:
        """What it is called in tables."""

    def why_not(self) -> str | None:
        """Say why it cannot be measured on this machine; None if it can."""

    def working(self, lab: Lab) -> contextlib.AbstractContextManager[Ready]:
        """Set it up in a lab in which nothing runs, hold it, and take it away."""


class Hagw:
    """hagw itself, as the topology configures it."""

    name = "hagw"

    def why_not(self) -> str | None:
        """It always can."""
        return None

    @contextlib.contextmanager
    def working(self, lab: Lab) -> Iterator[Ready]:
        """Start both gateways, the one in the network first, and wait until they are bonded."""
        nodes = [node.name for node in lab.topology.nodes.values() if node.hagw is not None]
        started: list[str] = []
        try:
            for node in sorted(nodes, key=lambda name: name == GATEWAY):
                started.append(node)
                lab.hagw_start(node)
            pids = [pid for node in started for role in ("daemon", "worker") for pid in lab.pids(node, role)]
            yield Ready(far_port=HAGW_PORT, pids=lambda: pids)
        finally:
            for node in reversed(started):
                lab.hagw_stop(node)


class Direct:
    """No proxy: the gateway's own routing, which puts everything on the line with the lowest metric."""

    name = "direct"

    def why_not(self) -> str | None:
        """It always can."""
        return None

    @contextlib.contextmanager
    def working(self, lab: Lab) -> Iterator[Ready]:
        """Nothing is needed."""
        yield Ready()


class OneLine:
    """No proxy, and one line alone."""

    def __init__(self, link: str) -> None:
        self.name = f"line {link}"
        self._link = link

    def why_not(self) -> str | None:
        """It always can."""
        return None

    @contextlib.contextmanager
    def working(self, lab: Lab) -> Iterator[Ready]:
        """Have the gateway's routing prefer the line."""
        with preferring(lab, self._link, GATEWAY):
            yield Ready()


class Mptcpize:
    """No proxy: both ends' kernels speak Multipath TCP, the client on the gateway itself, unmodified under mptcpize."""

    name = "mptcpize"

    def why_not(self) -> str | None:
        """It needs Debian's mptcpize."""
        return None if shutil.which(MPTCPIZE[0]) else "the Debian package mptcpize is not installed"

    @contextlib.contextmanager
    def working(self, lab: Lab) -> Iterator[Ready]:
        """Have the kernel's own path manager use all lines."""
        with kernel_paths(lab, GATEWAY, SERVER):
            yield Ready(GATEWAY, MPTCPIZE, MPTCP_PORT, MPTCP_PORT)


def lines_of(lab: Lab) -> tuple[LinkEnds, ...]:
    """Return the gateway's lines."""
    return tuple(link for link in lab.topology.links.values() if link.near[0] == GATEWAY)


@contextlib.contextmanager
def kernel_paths(lab: Lab, near: str, far: str) -> Iterator[None]:
    """Have the kernel's path manager open a subflow over each of `near`'s lines, and `far` accept them."""
    commands, undo = _path_commands(lab, near)
    for node in (near, far):
        netns.ip_batch(lab.namespace(node), [f"mptcp limits set subflows {_SUBFLOWS} add_addr_accepted 0"])
    netns.ip_batch(lab.namespace(near), commands)
    try:
        yield
    finally:
        netns.ip_batch(lab.namespace(near), undo)
        for node in (near, far):
            netns.ip_batch(lab.namespace(node), ["mptcp limits set subflows 2 add_addr_accepted 0"])  # the kernel's own


def _path_commands(lab: Lab, node: str) -> tuple[list[str], list[str]]:
    """Return what makes and unmakes endpoints, and routes by source address, for each IPv4 line of a node."""
    commands, undo = [], ["mptcp endpoint flush"]
    body = lab.topology.nodes[node]
    interfaces = {interface.name: interface for interface in body.interfaces}
    for index, route in enumerate(
        r for r in body.routes if r.dev is not None and r.to == "default" and ":" not in r.via
    ):
        table, device = _TABLE + index, route.dev
        address = next(a.ip for a in interfaces[str(device)].addresses if a.version == 4)
        commands += [
            f"route add default via {route.via} dev {device} table {table}",
            f"rule add from {address} lookup {table} priority {table}",
            f"mptcp endpoint add {address} dev {device} subflow",
        ]
        undo += [f"rule del priority {table}", f"route flush table {table}"]
    return commands, undo
