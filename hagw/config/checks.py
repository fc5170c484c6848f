"""What the schema cannot say: names that must be unique or known, values that must fit together.

Works on the plain tree and shrugs at what the schema refuses anyway, so that one run reports everything.
"""

from collections.abc import Callable, Iterable, Iterator

from hagw.config.check_data_caps import check_data_caps
from hagw.config.check_uplinks import check_uplinks
from hagw.config.rule_checks import check_traffic
from hagw.config.suggest import did_you_mean
from hagw.config.tree import Path, Plain, Tree
from hagw.config.values import parse_address
from hagw.errors import ConfigIssue
from hagw.policy.modes.plan import TIERED

Normalise = Callable[[str], object]


def check_cpe(tree: Tree) -> Iterator[ConfigIssue]:
    """Yield what does not fit together in a CPE's file."""
    uplinks = list(_items(tree.root, "uplinks"))
    yield from _unique(tree, _texts(uplinks, "name"), "another uplink has this name")
    yield from _unique(tree, _texts(uplinks, "interface"), "another uplink has this interface")
    yield from _interfaces(tree, uplinks)
    yield from check_uplinks(tree, uplinks)
    gateways = list(_items(tree.root, "gateways"))
    yield from _unique(tree, _texts(gateways, "name"), "another gateway has this name")
    addresses = [found for path, section in gateways for found in _entries(path, section, "addresses")]
    yield from _unique(tree, addresses, "this address is given twice", _as_address)
    yield from _credentials(tree)
    rules = list(_items(tree.root, "rules"))
    yield from _unique(tree, _texts(rules, "name"), "another rule has this name")
    yield from _unique(tree, _texts(rules, "precedence"), "another rule has this precedence", _as_number)
    yield from _steering(tree, rules, [text for _, text in _texts(uplinks, "name")])
    yield from _firewall(tree, [text for _, text in _texts(uplinks, "name")])
    yield from check_traffic(tree)
    yield from check_data_caps(
        tree, list(_items(tree.root, "data_caps")), [text for _, text in _texts(uplinks, "name")]
    )
    yield from _unique(tree, _texts(_items(tree.root, "data_caps"), "name"), "another data cap has this name")
    yield from _pool(tree)
    yield from _web(tree)


def check_hag(tree: Tree) -> Iterator[ConfigIssue]:
    """Yield what does not fit together in a gateway's file."""
    customers = list(_items(tree.root, "customers"))
    yield from _unique(tree, _texts(customers, "name"), "another customer has this name")
    yield from _unique(
        tree, _texts(customers, "key"), "another customer has this key: they could not be told apart", str.lower
    )
    listen = tree.root.get("listen")
    if isinstance(listen, dict):
        addresses = list(_entries(("listen",), listen, "addresses"))
        yield from _unique(tree, addresses, "this address is given twice", _as_address)
        port, control = listen.get("port", "5124"), listen.get("control_port", "5125")
        if port == control:
            path = ("listen", "control_port" if "control_port" in listen else "port")
            yield tree.issue(path, "the converter and the control channel cannot share a TCP port")
    yield from _web(tree)


def _web(tree: Tree) -> Iterator[ConfigIssue]:
    alerts = tree.root.get("alerts")
    hooks = list(_items(alerts, "webhooks", ("alerts",))) if isinstance(alerts, dict) else []
    yield from _unique(tree, _texts(hooks, "name"), "another webhook has this name")
    web = tree.root.get("web")
    if isinstance(web, dict) and ("certificate" in web) != ("certificate_key" in web):
        both = ("certificate", "certificate_key")
        there, missing = both if "certificate" in web else both[::-1]
        yield tree.issue(("web", there), f"give {missing} too, or leave both out for a certificate of its own")


def _interfaces(tree: Tree, uplinks: list[tuple[Path, dict[str, Plain]]]) -> Iterator[ConfigIssue]:
    lan = tree.root.get("lan")
    if not isinstance(lan, dict):
        return
    inside = list(_entries(("lan",), lan, "interfaces"))
    yield from _unique(tree, inside, "this interface is given twice")
    names = {text for _, text in inside}
    for path, text in _texts(uplinks, "interface"):
        if text in names:
            yield tree.issue(path, f"{text} is a LAN interface already")


def _credentials(tree: Tree) -> Iterator[ConfigIssue]:
    for path, gateway in _items(tree.root, "gateways"):
        if ("customer" in gateway) != ("key" in gateway):
            there, missing = ("customer", "key") if "customer" in gateway else ("key", "customer")
            yield tree.issue((*path, there), f"give {missing} too, or leave both out and use `hagw enrol`")


def _steering(tree: Tree, rules: list[tuple[Path, dict[str, Plain]]], uplinks: list[str]) -> Iterator[ConfigIssue]:
    for path, rule in rules:
        steering = rule.get("steering")
        if not isinstance(steering, dict):
            continue
        below = (*path, "steering")
        wanted = list(_entries(below, steering, "uplinks"))
        if wanted and steering.get("mode") == "block":
            yield tree.issue((*below, "uplinks"), "a blocked flow uses no uplink; leave this out")
        yield from _lines(tree, below, steering, uplinks)
        mode = steering.get("mode")
        sending = steering.get("sending")
        if isinstance(sending, dict):
            yield from _lines(tree, (*below, "sending"), sending, uplinks)
            if mode in ("direct", "block"):
                yield tree.issue((*below, "sending"), f"{mode} converts no flow; leave this out")
        if "standby" in steering and mode != "active-standby":
            yield tree.issue((*below, "standby"), f"this is for active-standby, not for {mode}; leave it out")
        if "quic" in steering and mode == "block":
            yield tree.issue((*below, "quic"), "block refuses QUIC like everything else; leave this out")
        yield from _weights(tree, below, steering, len(wanted))


def _lines(tree: Tree, below: Path, steering: dict[str, Plain], uplinks: list[str]) -> Iterator[ConfigIssue]:
    """Yield what is wrong with the lines that a mode is to use."""
    wanted = list(_entries(below, steering, "uplinks"))
    yield from _unique(tree, wanted, "this uplink is given twice")
    for at, name in wanted:
        if name not in uplinks:
            yield tree.issue(
                at, f"no uplink is called {name!r}{did_you_mean(name, uplinks)}; there are: {', '.join(uplinks)}"
            )
    if "uplinks" in steering and steering["uplinks"] in ([], None):
        yield tree.issue((*below, "uplinks"), "name at least one uplink, or leave this out for all")
    mode = steering.get("mode")
    if mode in TIERED and len(wanted or uplinks) < 2:
        at = (*below, "uplinks" if wanted else "mode")
        yield tree.issue(at, f"{mode} prefers one line to another: it needs at least two")


def _weights(tree: Tree, below: Path, steering: dict[str, Plain], uplinks: int) -> Iterator[ConfigIssue]:
    weights = steering.get("weights")
    if not isinstance(weights, list):
        return
    at = (*below, "weights")
    if steering.get("mode") != "load-balancing":
        yield tree.issue(at, f"this is for load-balancing, not for {steering.get('mode')}; leave it out")
    elif len(weights) != uplinks or uplinks < 2:
        yield tree.issue(at, f"{len(weights)} weights for {uplinks} uplinks; name at least two, and a weight for each")
    elif all(isinstance(each, str) and _is_small(each) for each in weights):
        percents = [int(str(each)) for each in weights]
        if 0 in percents:
            yield tree.issue(at, "0 is no share: leave this line out of `uplinks`")
        elif sum(percents) != 100:
            yield tree.issue(at, f"these percentages are {sum(percents)} together, not 100")


def _firewall(tree: Tree, uplinks: list[str]) -> Iterator[ConfigIssue]:
    section = tree.root.get("firewall")
    allowed = list(_items(section, "allow", ("firewall",))) if isinstance(section, dict) else []
    yield from _unique(tree, _texts(allowed, "name"), "another entry has this name")
    for path, entry in allowed:
        protocol = entry.get("protocol")
        has_ports = bool(entry.get("destination_port"))
        if protocol in ("tcp", "udp") and not has_ports:
            yield tree.issue((*path, "protocol"), 'name the ports: `destination_port: ["22"]`, all: ["1-65535"]')
        elif protocol not in ("tcp", "udp", None) and has_ports:
            yield tree.issue((*path, "destination_port"), f"{protocol} has no ports; leave this out")
        for at, name in _entries(path, entry, "uplinks"):
            if name not in uplinks:
                hint = did_you_mean(name, uplinks)
                yield tree.issue(at, f"no uplink is called {name!r}{hint}; there are: {', '.join(uplinks)}")
        sources = {":" in text for _, text in _entries(path, entry, "source")}
        destinations = {":" in text for _, text in _entries(path, entry, "destination")}
        if sources and destinations and not sources & destinations:
            yield tree.issue((*path, "destination"), "source and destination have no address family in common")


def _pool(tree: Tree) -> Iterator[ConfigIssue]:
    pool = tree.root.get("pool")
    if not isinstance(pool, dict):
        return
    low, high = pool.get("size_min", "3"), pool.get("size_max", "32")
    if isinstance(low, str) and isinstance(high, str) and _is_small(low) and _is_small(high) and int(low) > int(high):
        path = ("pool", "size_min" if "size_min" in pool else "size_max")
        yield tree.issue(path, f"size_min ({low}) is larger than size_max ({high})")


def _items(root: dict[str, Plain], key: str, above: Path = ()) -> Iterator[tuple[Path, dict[str, Plain]]]:
    sections = root.get(key)
    if isinstance(sections, list):
        for index, section in enumerate(sections):
            if isinstance(section, dict):
                yield (*above, key, index), section


def _texts(sections: Iterable[tuple[Path, dict[str, Plain]]], key: str) -> list[tuple[Path, str]]:
    found = []
    for path, section in sections:
        value = section.get(key)
        if isinstance(value, str):
            found.append(((*path, key), value))
    return found


def _entries(path: Path, section: dict[str, Plain], key: str) -> Iterator[tuple[Path, str]]:
    values = section.get(key)
    if isinstance(values, list):
        for index, value in enumerate(values):
            if isinstance(value, str):
                yield (*path, key, index), value


def _unique(
    tree: Tree, values: list[tuple[Path, str]], message: str, normalise: Normalise = str
) -> Iterator[ConfigIssue]:
    seen: dict[object, Path] = {}
    for path, text in values:
        value = normalise(text)
        if value in seen:
            yield tree.issue(path, f"{message} (line {tree.lines[seen[value]]})")
        seen.setdefault(value, path)


def _as_address(text: str) -> object:
    try:
        return parse_address(text)
    except ValueError:
        return text


def _as_number(text: str) -> object:
    return int(text) if _is_small(text) else text


def _is_small(text: str) -> bool:
    return text.isdecimal() and len(text) < 10
