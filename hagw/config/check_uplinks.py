"""What must fit together within an uplink, and what two uplinks cannot share."""

from collections.abc import Iterator
from ipaddress import IPv6Network
from typing import get_args

from hagw.config.tree import Path, Plain, Tree
from hagw.config.values import parse_mac, parse_own_address, parse_prefix6
from hagw.errors import ConfigIssue
from hagw.model.intent import IPInterface, UplinkKind
from hagw.uplinks.kinds import KINDS

Sections = list[tuple[Path, dict[str, Plain]]]


def check_uplinks(tree: Tree, uplinks: Sections) -> Iterator[ConfigIssue]:
    """Yield the issues of all uplinks."""
    matched: dict[object, Path] = {}
    addressed: dict[object, Path] = {}
    delegated: list[tuple[Path, IPv6Network]] = []
    for path, section in uplinks:
        yield from _identity(tree, path, section)
        match = section.get("match")
        if isinstance(match, dict):
            wanted = tuple(sorted((key, _folded(key, value)) for key, value in match.items()))
            if wanted and wanted in matched:
                line = tree.lines[matched[wanted]]
                yield tree.issue(
                    (*path, "match"), f"another uplink has this match (line {line}): one interface, two lines"
                )
            matched.setdefault(wanted, (*path, "match"))
        for at, address in _addresses(path, section):
            if address.ip in addressed:
                yield tree.issue(at, f"this address is given twice (line {tree.lines[addressed[address.ip]]})")
            addressed.setdefault(address.ip, at)
        yield from _addressing(tree, path, section)
        yield from _mtu(tree, path, section)
        for at, prefix in _prefix6(path, section):
            for other, taken in delegated:
                if prefix.overlaps(taken):
                    yield tree.issue(at, f"overlaps the prefix of another uplink (line {tree.lines[other]})")
            delegated.append((at, prefix))


def _identity(tree: Tree, path: Path, section: dict[str, Plain]) -> Iterator[ConfigIssue]:
    interface, match = section.get("interface"), section.get("match")
    if interface is not None and match is not None:
        yield tree.issue((*path, "match"), "either `interface` or `match` names the interface, not both")
    elif interface is None and match is None:
        yield tree.issue((*path, "interface"), "missing: network interface of the line, or `match` to know it by")
    if isinstance(match, dict) and all(value is None for value in match.values()):
        yield tree.issue((*path, "match"), "give at least one of name, mac, driver")


def _addressing(tree: Tree, path: Path, section: dict[str, Plain]) -> Iterator[ConfigIssue]:
    """Whoever sets the addresses must know them, and the routers that go with them."""
    way = section.get("address", "dhcp")
    given = list(_addresses(path, section))
    if way != "static":
        if section.get("addresses"):
            yield tree.issue((*path, "addresses"), "hagw sets addresses with `address: static` only")
        return
    if not section.get("addresses"):
        yield tree.issue((*path, "address"), "static needs `addresses`, such as [192.0.2.10/24]")
        return
    kind = section.get("kind")
    needs_router = kind not in get_args(UplinkKind) or not KINDS[str(kind)].is_point_to_point  # type: ignore[index]
    for version in (4, 6):
        mine = [(at, address) for at, address in given if address.version == version]
        key = f"gateway{version}"
        if len(mine) > 1:
            yield tree.issue(
                mine[1][0], f"one IPv{version} address a line; the first is in line {tree.lines[mine[0][0]]}"
            )
        if mine and key not in section and needs_router:
            yield tree.issue((*path, key), f"missing: the router that {mine[0][1].ip} is used with")
        if not mine and key in section and given:
            yield tree.issue((*path, key), f"a router without an IPv{version} address in `addresses`")
        if mine and section.get(key) == str(mine[0][1].ip):
            yield tree.issue((*path, key), "the line's own address cannot be its router")


def _mtu(tree: Tree, path: Path, section: dict[str, Plain]) -> Iterator[ConfigIssue]:
    mtu, kind = section.get("mtu"), section.get("kind")
    for known in KINDS.values():
        if known.name == kind and isinstance(mtu, str) and mtu.isdecimal() and known.mtu_max < int(mtu[:6]) <= 9216:
            yield tree.issue((*path, "mtu"), f"a {known.title} line carries {known.mtu_max} bytes at most")


def _prefix6(path: Path, section: dict[str, Plain]) -> Iterator[tuple[Path, IPv6Network]]:
    try:
        if "prefix6" in section:
            yield (*path, "prefix6"), parse_prefix6(str(section["prefix6"]))
    except ValueError:
        pass  # the schema says what is wrong with it


def _addresses(path: Path, section: dict[str, Plain]) -> Iterator[tuple[Path, IPInterface]]:
    values = section.get("addresses")
    for index, text in enumerate(values if isinstance(values, list) else ()):
        try:
            yield (*path, "addresses", index), parse_own_address(str(text))
        except ValueError:
            pass  # the schema says what is wrong with it


def _folded(key: str, value: Plain) -> str:
    try:
        return parse_mac(str(value)) if key == "mac" else str(value)
    except ValueError:
        return str(value)
