"""The lab's network as data: which nodes there are, what joins them, what runs in them.

Topologies and line presets are YAML files in `data/`; own ones can be given by path.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_interface, ip_network
from pathlib import Path
from typing import Any, Final

from hagw.lab.link import BadLinkParameter, LinkState, changed
from hagw.lab.place import Place, mapping_of, read_yaml

DATA: Final = Path(__file__).parent / "data"
SERVICES: Final = ("web", "iperf3", "echo")
_NODE_NAME_MAX: Final = 32
_INTERFACE_NAME_MAX: Final = 15

IPInterface = IPv4Interface | IPv6Interface
Port = tuple[str, str]  # node, interface


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface of a node; `bridge` names the ports of a bridge the node makes, empty for a cable's end."""

    name: str
    addresses: tuple[IPInterface, ...] = ()
    bridge: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StaticRoute:
    """A route as `ip route` takes it: `to` is a prefix or `default`."""

    to: str
    via: str
    dev: str | None = None
    metric: int | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """A network namespace. `hagw` is the node's hagw configuration with `${key}` for the shared key."""

    name: str
    interfaces: tuple[Interface, ...] = ()
    routes: tuple[StaticRoute, ...] = ()
    forward: bool = False
    hidden: bool = False
    sysctls: tuple[tuple[str, str], ...] = ()
    nft: str = ""
    services: tuple[str, ...] = ()
    hagw: Mapping[str, Any] | None = None

    @property
    def addresses(self) -> tuple[IPInterface, ...]:
        """All addresses of the node."""
        return tuple(address for interface in self.interfaces for address in interface.addresses)


@dataclass(frozen=True, slots=True)
class LinkEnds:
    """An emulated link: `up` is from near to far; `state` is what it starts with."""

    name: str
    near: Port
    far: Port
    state: LinkState


@dataclass(frozen=True, slots=True)
class Topology:
    """A whole lab. `wires` are plain cables between two ports."""

    nodes: Mapping[str, Node]
    wires: tuple[tuple[Port, Port], ...]
    links: Mapping[str, LinkEnds]

    def visible(self) -> tuple[Node, ...]:
        """Return the nodes a person is shown, in order."""
        return tuple(node for node in self.nodes.values() if not node.hidden)


def load_topology(topology: Path | None = None, preset: str = "demo") -> Topology:
    """Read a topology (default: the built-in one) with a preset's line parameters. Raise ConfigError."""
    file = topology_file(topology, preset)
    place = Place(str(file))
    document = mapping_of(_read_whole(file), place, ("version", "nodes", "wires", "links"))
    if document.get("version") != 1:
        raise place.at("version").fault("must be 1")
    nodes = {
        str(name): _node(str(name), body, place.at("nodes").at(name))
        for name, body in mapping_of(document.get("nodes"), place.at("nodes")).items()
    }
    wires = tuple(_wire(pair, place.at("wires")) for pair in document.get("wires", ()))
    lines = load_preset(preset)
    links = {
        str(name): _link(str(name), body, lines.get(str(name), {}), place.at("links").at(name))
        for name, body in mapping_of(document.get("links"), place.at("links")).items()
    }
    found = Topology(nodes, wires, links)
    _check_ports(found, place)
    return found


def topology_file(topology: Path | None, preset: str) -> Path:
    """Return the file of a topology: the given one, else the one of the preset's name, else the built-in one."""
    own = DATA / "topologies" / f"{preset}.yaml"
    return topology or (own if preset in preset_names() and own.exists() else DATA / "topologies" / "default.yaml")


def load_preset(preset: str) -> dict[str, dict[str, object]]:
    """Return the link settings of a preset, by link. Raise ConfigError if there is none of that name."""
    file = DATA / "presets" / f"{preset}.yaml"
    if preset not in preset_names():
        raise Place(preset).fault(f"no such preset; there are: {', '.join(preset_names())}")
    place = Place(str(file))
    return {
        str(link): dict(mapping_of(settings, place.at(link)))
        for link, settings in mapping_of(read_yaml(file), place).items()
    }


def preset_names() -> tuple[str, ...]:
    """Return the names of the presets that ship with hagw."""
    return tuple(sorted(file.stem for file in (DATA / "presets").glob("*.yaml")))


def _read_whole(file: Path) -> Any:
    """Read a topology; with `base: NAME` it says only what it adds to the built-in one of that name."""
    document = read_yaml(file)
    if not isinstance(document, dict) or "base" not in document:
        return document
    added = dict(document)
    base = DATA / "topologies" / f"{added.pop('base')}.yaml"
    return _merged(read_yaml(base), {**added, "wires": read_yaml(base)["wires"] + added.get("wires", [])})


def _merged(base: Any, added: Any) -> Any:
    """Return mappings united at every depth; of anything else what was added."""
    if not isinstance(base, dict) or not isinstance(added, dict):
        return added
    return {**base, **{key: _merged(base.get(key), value) for key, value in added.items()}}


def _node(name: str, body: Any, place: Place) -> Node:
    allowed = ("interfaces", "routes", "forward", "hidden", "sysctls", "nft", "services", "hagw")
    fields = mapping_of(body, place, allowed)
    if not name.replace("-", "").isalnum() or len(name) > _NODE_NAME_MAX:
        raise place.fault(f"a node's name is made of letters, digits and '-', {_NODE_NAME_MAX} at most")
    services = tuple(fields.get("services", ()))
    for service in services:
        if service not in SERVICES:
            raise place.at("services").fault(f"unknown service {service!r}; there are {', '.join(SERVICES)}")
    return Node(
        name=name,
        interfaces=tuple(
            _interface(str(key), value, place.at("interfaces").at(key))
            for key, value in mapping_of(fields.get("interfaces", {}), place.at("interfaces")).items()
        ),
        routes=tuple(_route(route, place.at("routes")) for route in fields.get("routes", ())),
        forward=bool(fields.get("forward", False)),
        hidden=bool(fields.get("hidden", False)),
        sysctls=tuple((str(key), str(value)) for key, value in fields.get("sysctls", {}).items()),
        nft=str(fields.get("nft", "")),
        services=services,
        hagw=fields.get("hagw"),
    )


def _interface(name: str, body: Any, place: Place) -> Interface:
    fields = mapping_of(body, place, ("addresses", "bridge"))
    if len(name) > _INTERFACE_NAME_MAX:
        raise place.fault(f"an interface's name has {_INTERFACE_NAME_MAX} letters at most")
    try:
        addresses = tuple(ip_interface(text) for text in fields.get("addresses", ()))
    except ValueError as error:
        raise place.at("addresses").fault(str(error)) from error
    return Interface(name, addresses, tuple(str(port) for port in fields.get("bridge", ())))


def _route(body: Any, place: Place) -> StaticRoute:
    fields = mapping_of(body, place, ("to", "via", "dev", "metric"))
    try:
        if fields["to"] != "default":
            ip_network(fields["to"])
        ip_interface(fields["via"])
    except (KeyError, ValueError) as error:
        raise place.fault(f"needs `to` (a prefix or default) and `via` (an address): {error}") from error
    metric = fields.get("metric")
    return StaticRoute(
        str(fields["to"]), str(fields["via"]), fields.get("dev"), None if metric is None else int(metric)
    )


def _port(text: Any, place: Place) -> Port:
    node, slash, interface = str(text).partition("/")
    if not slash:
        raise place.fault(f"{text!r} is not NODE/INTERFACE")
    return node, interface


def _wire(pair: Any, place: Place) -> tuple[Port, Port]:
    if not isinstance(pair, list) or len(pair) != 2:
        raise place.fault("a wire is a list of two ports, NODE/INTERFACE")
    return _port(pair[0], place), _port(pair[1], place)


def _link(name: str, body: Any, preset: Mapping[str, object], place: Place) -> LinkEnds:
    fields = dict(mapping_of(body, place))
    try:
        near, far = _port(fields.pop("near"), place.at("near")), _port(fields.pop("far"), place.at("far"))
    except KeyError as missing:
        raise place.fault(f"needs {missing.args[0]!r}, a port NODE/INTERFACE") from missing
    try:
        state = changed(changed(LinkState(), preset), fields)
    except BadLinkParameter as error:
        raise place.fault(str(error)) from error
    return LinkEnds(name, near, far, state)


def _check_ports(topology: Topology, place: Place) -> None:
    """Every port belongs to a node and hangs on one cable; every address belongs to an interface that exists."""
    ports = [port for wire in topology.wires for port in wire]
    ports += [port for link in topology.links.values() for port in (link.near, link.far)]
    for node, interface in ports:
        if node not in topology.nodes:
            raise place.fault(f"{node}/{interface}: there is no node {node!r}")
        if ports.count((node, interface)) > 1:
            raise place.fault(f"{node}/{interface} is used twice")
    for node_name, body in topology.nodes.items():
        for described in body.interfaces:
            ends = described.bridge or (described.name,)
            missing = [end for end in ends if (node_name, end) not in ports]
            if missing:
                raise place.fault(f"{node_name}/{missing[0]} has no cable: add it to wires or links")
