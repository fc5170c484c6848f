"""rtnetlink messages of a dump, as the kernel lays them out in linux/if_link.h, if_addr.h, rtnetlink.h and fib_rules.h.

Fields and attributes have the names they have there; only those that hagw asks for are known.
"""

import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hagw.kernel.netlink import attributes

_U8: Final = struct.Struct("=B")
_U32: Final = struct.Struct("=I")
_NEXT_HOP: Final = struct.Struct("=HBBi")  # struct rtnexthop: length, flags, hops, interface


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")


def _number(value: bytes) -> int:
    number: int = (_U32 if len(value) >= _U32.size else _U8).unpack_from(value)[0]
    return number


def _address(value: bytes) -> str | None:
    families = {4: socket.AF_INET, 16: socket.AF_INET6}
    return socket.inet_ntop(families[len(value)], value) if len(value) in families else None


def _mac(value: bytes) -> str:
    return value.hex(":")


def _next_hops(value: bytes) -> list["Message"]:
    found = []
    while len(value) >= _NEXT_HOP.size:
        size, _, _, index = _NEXT_HOP.unpack_from(value)
        if size < _NEXT_HOP.size:
            break
        found.append(Message(ROUTES, {"oif": index}, value[_NEXT_HOP.size : size]))
        value = value[(size + 3) & ~3 :]
    return found


Decode = Callable[[bytes], Any]


@dataclass(frozen=True, slots=True)
class Layout:
    """How messages of a kind look: the request's number, the fixed part with its field names, the attributes."""

    request: int
    fixed: struct.Struct
    fields: tuple[str, ...]
    known: Mapping[str, tuple[int, Decode]]


LINKS: Final = Layout(
    18,
    struct.Struct("=BxHiII"),
    ("family", "type", "index", "flags", "change"),
    {
        "IFLA_ADDRESS": (1, _mac),
        "IFLA_IFNAME": (3, _text),
        "IFLA_MTU": (4, _number),
        "IFLA_CARRIER": (33, _number),
        "IFLA_MIN_MTU": (50, _number),
        "IFLA_MAX_MTU": (51, _number),
        "IFLA_PERM_ADDRESS": (54, _mac),
    },
)
ADDRESSES: Final = Layout(
    22,
    struct.Struct("=BBBBI"),
    ("family", "prefixlen", "flags", "scope", "index"),
    {
        "IFA_ADDRESS": (1, _address),
        "IFA_LOCAL": (2, _address),
        "IFA_FLAGS": (8, _number),
        "IFA_PROTO": (11, _number),
    },
)
ROUTES: Final = Layout(
    26,
    struct.Struct("=BBBBBBBBI"),
    ("family", "dst_len", "src_len", "tos", "table", "proto", "scope", "type", "flags"),
    {
        "RTA_DST": (1, _address),
        "RTA_OIF": (4, _number),
        "RTA_GATEWAY": (5, _address),
        "RTA_PRIORITY": (6, _number),
        "RTA_MULTIPATH": (9, _next_hops),
        "RTA_TABLE": (15, _number),
    },
)
RULES: Final = Layout(
    34,
    struct.Struct("=BBBBBBBBI"),
    ("family", "dst_len", "src_len", "tos", "table", "res1", "res2", "action", "flags"),
    {
        "FRA_SRC": (2, _address),
        "FRA_IIFNAME": (3, _text),
        "FRA_PRIORITY": (6, _number),
        "FRA_FWMARK": (10, _number),
        "FRA_SUPPRESS_PREFIXLEN": (14, _number),
        "FRA_TABLE": (15, _number),
        "FRA_PROTOCOL": (21, _number),
    },
)


class Message:
    """One message: fixed fields by subscript, attributes by `get_attr`, decoded when asked for."""

    __slots__ = ("_attributes", "_fields", "_layout")

    def __init__(self, layout: Layout, fields: Mapping[str, int], rest: bytes) -> None:
        self._layout = layout
        self._fields = fields
        self._attributes = dict(attributes(rest))

    def __getitem__(self, field: str) -> int:
        return self._fields[field]

    def get_attr(self, name: str) -> Any:
        """Return an attribute's value, None where the message has none."""
        number, decode = self._layout.known[name]
        value = self._attributes.get(number)
        return None if value is None else decode(value)


def message_of(layout: Layout, body: bytes) -> Message | None:
    """Decode a message's body, None when it is too short for its kind."""
    if len(body) < layout.fixed.size:
        return None
    fields = dict(zip(layout.fields, layout.fixed.unpack_from(body), strict=True))
    return Message(layout, fields, body[layout.fixed.size :])
