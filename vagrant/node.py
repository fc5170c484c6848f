"""Make a virtual machine the nodes of the lab that it is: names, addresses, routes, and lines' rates by tc netem.

Reads a description that the Vagrantfile made of the lab's topology. Runs at every boot; what is there already is made
anew. Only the standard library: the machine has nothing else yet.
"""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

MTU_BYTES = 1500
UNLIMITED_QUEUE = 10_000  # packets
CARDS_TIMEOUT_S = 30
UNITS = {"": 1, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9, "ms": 1e-3, "s": 1.0}


def number(text):
    """Return a rate in bit/s or a time in seconds, as topologies write them."""
    found = re.fullmatch(r"([0-9.]+)\s*([a-z]*)", str(text))
    return float(found[1]) * UNITS[found[2]]


def shaped(link, direction):
    """Return netem's arguments for one direction of a link, none if it is a plain cable there."""
    rate = link.get(f"rate_{direction}")
    delay_s = number(link.get("delay", "0ms"))
    words = []
    if delay_s:
        words += ["delay", f"{delay_s * 1000:g}ms"]
    if rate is not None:
        queue_s = number(link.get("queue", "100ms"))
        packets = int(number(rate) * (delay_s + queue_s) / (MTU_BYTES * 8)) + 1  # what is under way waits there, too
        words += ["rate", f"{number(rate) / 1000:g}kbit", "limit", str(packets)]
    elif words:
        words += ["limit", str(UNLIMITED_QUEUE)]
    return words


def lines(described):
    """Yield (node, interface, netem's arguments) for the ends on this machine.

    Down is what leaves the far end. Up is what leaves the near one, unless that is a CPE, which is to be as hagw finds
    any: then it is what the provider's router passes on.
    """
    nodes = described["nodes"]
    for link in described["links"].values():
        near, near_port = link["near"].split("/")
        far, far_port = link["far"].split("/")
        if far in nodes:
            yield far, far_port, shaped(link, "down")
        if near in nodes and near != "cpe":
            yield near, near_port, shaped(link, "up")
        if near == "cpe" and far in nodes:
            onward = next(name for name in nodes[far]["interfaces"] if name != far_port)
            yield far, onward, shaped(link, "up")


def beside(described, devices):
    """Return the description with other names for interfaces that are called like a card of the machine's own.

    Vagrant's card is `eth0`, and so are those of the lab's hosts. Network namespaces have names of their own.
    """
    if len(described["nodes"]) > 1:
        return described
    macs = {card["mac"] for card in described["cards"]}
    names = {name: f"lab-{name}" for mac, name in devices.items() if mac not in macs}
    ((own, node),) = described["nodes"].items()
    interfaces = {names.get(name, name): interface for name, interface in node["interfaces"].items()}
    routes = [
        {**each, "dev": names.get(each["dev"], each["dev"])} if "dev" in each else each
        for each in node.get("routes", [])
    ]
    cards = [{**card, "interface": names.get(card["interface"], card["interface"])} for card in described["cards"]]
    return {**described, "nodes": {own: {**node, "interfaces": interfaces, "routes": routes}}, "cards": cards}


def commands(described, devices):
    """Yield the commands that make the nodes; `devices` are the machine's interfaces by MAC address.

    A machine that is one node is that node itself; of several, each is a network namespace.
    """
    described = beside(described, devices)
    nodes = described["nodes"]
    spaces = {name: name if len(nodes) > 1 else None for name in nodes}
    for space in filter(None, spaces.values()):
        yield ["ip", "netns", "add", space]
    for card in described["cards"]:
        device, space = devices[card["mac"]], spaces[card["node"]]
        yield ["ip", "link", "set", "dev", device, "down"]
        if space is not None:
            yield ["ip", "link", "set", "dev", device, "netns", space]
        if device != card["interface"]:
            yield [*ip(space), "link", "set", "dev", device, "name", card["interface"]]
    for one, other in described["wires"]:
        (near, near_port), (far, far_port) = one.split("/"), other.split("/")
        pair = ["type", "veth", "peer", "name", far_port, "netns", spaces[far]]
        yield [*ip(spaces[near]), "link", "add", near_port, *pair]
    for name, node in nodes.items():
        yield from configured(node, spaces[name], {card["interface"] for card in described["cards"]})
    for name, interface, words in lines(described):
        if words:
            yield [*within(spaces[name]), "tc", "qdisc", "replace", "dev", interface, "root", "netem", *words]


def configured(node, space, ports):
    """Yield what one node needs within its namespace."""
    link = [*ip(space), "link", "set", "dev"]
    yield [*link, "lo", "up"]
    if node.get("forward"):
        yield [*within(space), "sysctl", "-q", "-w", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]
    for key, value in node.get("sysctls", {}).items():
        yield [*within(space), "sysctl", "-q", "-w", f"{key}={value}"]
    for name, interface in node["interfaces"].items():
        if "bridge" in interface:
            yield [*ip(space), "link", "add", name, "type", "bridge"]
            for port in (port for port in interface["bridge"] if port in ports):
                yield [*link, port, "master", name]
                yield [*link, port, "up"]
        yield [*link, name, "up"]
        for address in interface.get("addresses", []):
            yield [*ip(space), "address", "replace", address, "dev", name, *(["nodad"] if ":" in address else [])]
    for route in node.get("routes", []):
        words = ["via", route["via"]]
        words += ["dev", route["dev"]] if "dev" in route else []
        words += ["metric", str(route["metric"])] if "metric" in route else []
        yield [*ip(space), *(["-6"] if ":" in route["via"] else []), "route", "replace", route["to"], *words]


def ip(space):
    """Return the beginning of an `ip` command in a namespace, or on the machine itself."""
    return ["ip"] if space is None else ["ip", "-n", space]


def within(space):
    """Return what comes before a command to have it run there."""
    return [] if space is None else ["ip", "netns", "exec", space]


def devices():
    """Return the machine's interfaces by MAC address."""
    found = (path for path in Path("/sys/class/net").iterdir() if (path / "device").exists())
    return {(path / "address").read_text().strip(): path.name for path in found}


def all_devices(wanted):
    """Return the interfaces by MAC address once all the wanted ones are there: those of a namespace come back later."""
    until = time.monotonic() + CARDS_TIMEOUT_S
    while not wanted <= (found := devices()).keys():
        if time.monotonic() > until:
            sys.exit(f"cards are missing: {', '.join(sorted(wanted - found.keys()))}")
        time.sleep(0.1)
    return found


def main():
    """Make the nodes anew."""
    described = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    for name in described["nodes"] if len(described["nodes"]) > 1 else ():
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
    for name, node in described["nodes"].items():
        for interface, made in node["interfaces"].items():
            if "bridge" in made:
                subprocess.run(["ip", "link", "delete", interface], capture_output=True, check=False)
        del name
    for command in commands(described, all_devices({card["mac"] for card in described["cards"]})):
        subprocess.run(command, check=True)
    for name, node in described["nodes"].items():
        if node.get("nft"):
            text = re.sub(r"^(table \S+ \S+) \{", r"\1\ndelete \1\n\1 {", node["nft"], flags=re.MULTILINE)
            space = name if len(described["nodes"]) > 1 else None
            subprocess.run([*within(space), "nft", "-f", "-"], input=text, text=True, check=True)


if __name__ == "__main__":
    main()
