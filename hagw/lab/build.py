"""Turn a topology into namespaces, cables, addresses and routes. Everything here goes away with the namespaces."""

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Final

from hagw.lab import netns
from hagw.lab.netns import CommandFailed
from hagw.lab.processes import ProcessTable, is_running
from hagw.lab.topology import Node, Topology

EMULATOR: Final = "emulator"
_EMULATOR_TIMEOUT_S: Final = 10.0

# No duplicate-address detection: addresses are usable at once. No router advertisements: the lab is static.
_SYSCTLS: Final = {
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    "net.ipv6.conf.all.accept_dad": "0",
    "net.ipv6.conf.default.accept_dad": "0",
    "net.ipv6.conf.all.accept_ra": "0",
    "net.ipv6.conf.default.accept_ra": "0",
}


def namespace(lab: str, node: str) -> str:
    """Return the name of a node's network namespace."""
    return f"hagw-{lab}-{node}"


def build(lab: str, topology: Topology, processes: ProcessTable, directory: Path) -> None:
    """Make the whole network of a lab; `directory` gets the emulator's socket and log."""
    for node in topology.nodes.values():
        netns.create(namespace(lab, node.name))
        set_sysctls(namespace(lab, node.name), {**_SYSCTLS, **_forwarding(node), **dict(node.sysctls)})
    # Ends with the same ifindex in their namespaces would wait for their carrier for up to a second, because
    # the kernel takes such an end for a device of its own (linkwatch_urgent_event): so every index is different.
    for index, ((node_a, interface_a), (node_b, interface_b)) in enumerate(topology.wires):
        far = f"peer name {interface_b} index {101 + 2 * index} netns {namespace(lab, node_b)}"
        near = f"link add {interface_a} index {100 + 2 * index} type veth {far}"
        netns.ip_batch(namespace(lab, node_a), [near])
    start_emulator(lab, topology, processes, directory)
    for node in topology.nodes.values():
        netns.ip_batch(namespace(lab, node.name), interface_commands(node))
        if node.nft:
            netns.nft(namespace(lab, node.name), node.nft)


def remove(lab: str, topology_nodes: tuple[str, ...]) -> None:
    """Remove the lab's namespaces; the processes in them must have ended."""
    for node in topology_nodes:
        netns.remove(namespace(lab, node))


def set_sysctls(namespace_name: str, values: dict[str, str]) -> None:
    """Write network sysctls (dotted names) inside a namespace."""
    with netns.entered(namespace_name):
        for key, value in values.items():
            Path("/proc/sys", *key.split(".")).write_text(value, encoding="ascii")


def interface_commands(node: Node) -> list[str]:
    """Return the `ip` commands that bring up a node's interfaces, addresses and routes."""
    commands = ["link set lo up"]
    for interface in node.interfaces:
        if interface.bridge:
            commands.append(f"link add {interface.name} type bridge forward_delay 0 mcast_snooping 0")
            commands += [f"link set {port} master {interface.name} up" for port in interface.bridge]
        commands += [
            f"address add {address} dev {interface.name}" + (" nodad" if address.version == 6 else "")
            for address in interface.addresses
        ]
        commands.append(f"link set {interface.name} up")
    for route in node.routes:
        device = f" dev {route.dev}" if route.dev else ""
        metric = f" metric {route.metric}" if route.metric is not None else ""
        commands.append(f"route add {route.to} via {route.via}{device}{metric}")
    return commands


def emulator_socket(directory: Path) -> Path:
    """Return where the emulator of a lab listens for requests."""
    return directory / "links.sock"


def start_emulator(lab: str, topology: Topology, processes: ProcessTable, directory: Path) -> None:
    """Start the process that carries the emulated links, and wait until their devices exist."""
    described = [
        {
            "name": link.name,
            "near": (namespace(lab, link.near[0]), link.near[1]),
            "far": (namespace(lab, link.far[0]), link.far[1]),
            "state": asdict(link.state),
        }
        for link in topology.links.values()
    ]
    links, control, log = directory / "links.json", emulator_socket(directory), directory / "emulator.log"
    links.write_text(json.dumps(described), encoding="utf-8")
    # It lives in one of the lab's namespaces, so that it is found there even if it was never recorded.
    home = netns.inside(namespace(lab, next(iter(topology.nodes))))
    argv = [*home, sys.executable, "-P", "-m", "hagw.lab.emulator", str(links), str(control)]
    emulator = processes.start("", EMULATOR, argv, log=log, env=python_environment())
    deadline = time.monotonic() + _EMULATOR_TIMEOUT_S
    while not control.exists():
        if not is_running(emulator) or time.monotonic() > deadline:
            raise CommandFailed(f"the link emulator did not start: {log.read_text(encoding='utf-8').strip()}")
        time.sleep(0.01)


def python_environment() -> dict[str, str]:
    """Return an environment in which our interpreter imports this very hagw."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def _forwarding(node: Node) -> dict[str, str]:
    if not node.forward:
        return {}
    return {"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"}
