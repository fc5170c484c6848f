"""The words that rules of the nftables table are made of, as libnftables-json(5) writes them."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from typing import Any, Final

from hagw.model.flow import PROTOCOLS
from hagw.model.ids import MARK_MASK
from hagw.model.intent import IPNetwork

Expression = dict[str, Any]
Rule = list[Expression]

ACCEPT: Final[Expression] = {"accept": None}
RETURN: Final[Expression] = {"return": None}
META_MARK: Final[Expression] = {"meta": {"key": "mark"}}
CT_MARK: Final[Expression] = {"ct": {"key": "mark"}}

_KEEP_BITS: Final = 0xFFFFFFFF ^ MARK_MASK


def reset() -> Expression:
    """Answer a TCP packet with a reset."""
    return {"reject": {"type": "tcp reset"}}


def segment_size(value: Any) -> Expression:
    """Lower the announced segment size."""
    return {"mangle": {"key": {"tcp option": {"name": "maxseg", "field": "size"}}, "value": value}}


def syn() -> Expression:
    """Match packets that announce a segment size."""
    return equal({"&": [payload("tcp", "flags"), ["syn", "rst"]]}, "syn")


def tcp_flags() -> Expression:
    """Name the flags that tell a new connection from the rest."""
    return {"&": [payload("tcp", "flags"), ["fin", "syn", "rst", "ack"]]}


def destination_port(protocol: str) -> Expression:
    """Name destination address and TCP port together."""
    return {"concat": [payload(protocol, "daddr"), payload("tcp", "dport")]}


def interfaces(names: Iterable[str], key: str = "iifname") -> Expression:
    """Match any of these interfaces."""
    found = sorted(names)
    return equal(meta(key), found[0] if len(found) == 1 else {"set": found})


def marked(where: Expression, mark: int) -> Expression:
    """Match our bits of a mark, and no others."""
    return equal({"&": [where, MARK_MASK]}, mark)


def set_mark(where: Expression, mark: int) -> Expression:
    """Write our bits of a mark, and no others."""
    return {"mangle": {"key": where, "value": {"|": [{"&": [where, _KEEP_BITS]}, mark]}}}


def count(name: str) -> Expression:
    """Count the packet with a named counter."""
    return {"counter": name}


def meta(key: str) -> Expression:
    """Name a fact about the packet."""
    return {"meta": {"key": key}}


def carries(protocol: str, which: int = 0) -> Expression:
    """Match a protocol of IP by its number: nft looks names up in /etc/protocols, which a minimal Debian has not."""
    return equal(meta("l4proto"), PROTOCOLS[protocol][which])


def ct(key: str) -> Expression:
    """Name a fact about its connection."""
    return {"ct": {"key": key}}


def payload(protocol: str, field: str) -> Expression:
    """Name a header field."""
    return {"payload": {"protocol": protocol, "field": field}}


def equal(left: Expression, right: Any) -> Expression:
    """Match a value, or one out of a set."""
    return {"match": {"op": "==", "left": left, "right": right}}


def differ(left: Expression, right: Any) -> Expression:
    """Match anything but a value."""
    return {"match": {"op": "!=", "left": left, "right": right}}


def within(left: Expression, right: Any) -> Expression:
    """Match any of some flags."""
    return {"match": {"op": "in", "left": left, "right": right}}


def chain(name: str, rules: list[Rule]) -> dict[str, Any]:
    """Return a chain that is jumped to."""
    return {"name": name, "rules": rules}


def hooked(name: str, kind: str, hook: str, priority: int, rules: list[Rule]) -> dict[str, Any]:
    """Return a chain that the kernel calls."""
    return {"name": name, "type": kind, "hook": hook, "prio": priority, "policy": "accept", "rules": rules}


def prefix_sets(name: str, prefixes: Iterable[IPNetwork]) -> list[dict[str, Any]]:
    """Return a set of prefixes for each family."""
    every = list(prefixes)
    four = collapse_addresses([prefix for prefix in every if isinstance(prefix, IPv4Network)])
    six = collapse_addresses([prefix for prefix in every if isinstance(prefix, IPv6Network)])
    return [
        {"name": f"{name}4", "type": "ipv4_addr", "flags": ["interval"], "elem": [element(prefix) for prefix in four]},
        {"name": f"{name}6", "type": "ipv6_addr", "flags": ["interval"], "elem": [element(prefix) for prefix in six]},
    ]


def element(prefix: IPNetwork) -> Any:
    """Return a prefix, or a single address, as an element."""
    if prefix.prefixlen == prefix.max_prefixlen:
        return str(prefix.network_address)
    return {"prefix": {"addr": str(prefix.network_address), "len": prefix.prefixlen}}
