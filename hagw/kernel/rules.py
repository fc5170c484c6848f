"""Routing rules as they are, whoever made them: what is consulted before ours decides before we do."""

import socket
import struct
from dataclasses import dataclass
from typing import Final

from hagw.kernel.netlink import NLM_F_DUMP, NetlinkSocket, attributes

_NETLINK_ROUTE: Final = 0
_RTM_GETRULE: Final = 34
_HEADER: Final = struct.Struct("=8BI")  # struct fib_rule_hdr
_U32: Final = struct.Struct("=I")
_DST, _SRC, _IIF, _PRIORITY, _FWMARK, _TABLE, _FWMASK, _OIF, _PROTOCOL = 1, 2, 3, 6, 10, 15, 16, 17, 21
_SUPPRESS_PREFIXLEN: Final = 14
_ALL_BITS: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class SeenRule:
    """One routing rule. `selector` is what it matches, in the words of ip-rule(8), "" = everything."""

    family: int  # 4 or 6
    priority: int
    protocol: int
    selector: str
    table: int
    suppresses_default: bool

    def __str__(self) -> str:
        return f"{self.priority}: {self.selector or 'all'} lookup {self.table}"


def read_rules() -> tuple[SeenRule, ...]:
    """Return all rules of this namespace, both families. Raises OSError."""
    found: list[SeenRule] = []
    with NetlinkSocket(_NETLINK_ROUTE) as netlink:
        for version, family in ((4, socket.AF_INET), (6, socket.AF_INET6)):
            try:
                answers = netlink.request(_RTM_GETRULE, _HEADER.pack(family, *[0] * 8), NLM_F_DUMP)
            except OSError:
                if version == 4:
                    raise
                answers = []  # a kernel without IPv6
            found += [_parse(answer, version) for answer in answers]
    return tuple(found)


def _parse(message: bytes, version: int) -> SeenRule:
    _, dst_len, src_len, _tos, table, *_ = _HEADER.unpack_from(message)
    found = dict(attributes(message[_HEADER.size :]))
    parts: list[str] = []
    for word, kind, length in (("from", _SRC, src_len), ("to", _DST, dst_len)):
        if kind in found:
            family = socket.AF_INET if version == 4 else socket.AF_INET6
            parts.append(f"{word} {socket.inet_ntop(family, found[kind])}/{length}")
    if _FWMARK in found:
        mask = _u32(found, _FWMASK, _ALL_BITS)
        parts.append(f"fwmark {_u32(found, _FWMARK, 0):#x}" + ("" if mask == _ALL_BITS else f"/{mask:#x}"))
    for word, kind in (("iif", _IIF), ("oif", _OIF)):
        if kind in found:
            parts.append(f"{word} {found[kind].rstrip(bytes(1)).decode(errors='replace')}")
    return SeenRule(
        family=version,
        priority=_u32(found, _PRIORITY, 0),
        protocol=found.get(_PROTOCOL, b"\0")[0],
        selector=" ".join(parts),
        table=_u32(found, _TABLE, table),
        suppresses_default=_u32(found, _SUPPRESS_PREFIXLEN, _ALL_BITS) != _ALL_BITS,
    )


def _u32(found: dict[int, bytes], kind: int, default: int) -> int:
    value: int = _U32.unpack(found[kind])[0] if kind in found else default
    return value
