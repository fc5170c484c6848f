"""Forget the connection-tracking entries of flows that must find another line."""

import errno
import socket
import struct
from collections.abc import Callable
from typing import Final

from hagw.kernel.netlink import NLM_F_ACK, NLM_F_DUMP, NetlinkSocket, attribute, attributes

_NETLINK_NETFILTER: Final = 12
_SUBSYSTEM_CTNETLINK: Final = 1 << 8
_GET: Final = _SUBSYSTEM_CTNETLINK | 1
_DELETE: Final = _SUBSYSTEM_CTNETLINK | 2
_CTA_TUPLE_ORIG: Final = 1
_CTA_STATUS: Final = 3
_CTA_MARK: Final = 8
_CTA_ID: Final = 12
_CTA_ZONE: Final = 18
_CTA_MARK_MASK: Final = 21
_CTA_TUPLE_PROTO: Final = 2
_CTA_PROTO_NUM: Final = 1
_CTA_PROTO_DST_PORT: Final = 3
_PORT_DNS: Final = struct.pack(">H", 53)
_NLA_F_NESTED: Final = 0x8000
_SEEN_REPLY: Final = 1 << 1
_HEADER: Final = struct.Struct("=BBH")  # struct nfgenmsg: family, version, resource id


def forget(mark: int, mask: int) -> int:
    """Delete the entries with this mark whose flows can go on over another line; return how many.

    The next packet of such a flow is new: it is pinned and masqueraded again. A TCP connection that was answered
    keeps its entry: another source address could not continue it, and its line may come back. Raises OSError.
    """
    return _forget(mark, mask, lambda entry: not _is_answered(entry) or not _is_tcp(entry))


def forget_doubtful(mark: int, mask: int) -> int:
    """Delete the entries with this mark that lose nothing by trying elsewhere: DNS, and what was never answered.

    For a line that is only suspected: a call or a game would lose its address for nothing. Raises OSError.
    """
    return _forget(mark, mask, lambda entry: not _is_answered(entry) or _is_dns(entry))


def forget_unpinned(mask: int) -> int:
    """Delete the unanswered entries without a mark of ours; return how many. Raises OSError.

    The next packet of such a flow is new: it is pinned and masqueraded like any other.
    """
    return _forget(0, mask, lambda entry: not _is_answered(entry))


def _forget(mark: int, mask: int, is_meant: Callable[[bytes], bool]) -> int:
    deleted = 0
    with NetlinkSocket(_NETLINK_NETFILTER) as netlink:
        # Both families at once: the kernel walks its whole table for each dump, 10 ms where it is large.
        wanted = _HEADER.pack(socket.AF_UNSPEC, 0, 0)
        wanted += attribute(_CTA_MARK, struct.pack(">I", mark)) + attribute(_CTA_MARK_MASK, struct.pack(">I", mask))
        for entry in netlink.request(_GET, wanted, NLM_F_DUMP):
            if is_meant(entry) and _is_marked(entry, mark, mask):
                deleted += _delete(netlink, entry)
    return deleted


def _is_answered(entry: bytes) -> bool:
    found = dict(attributes(entry[_HEADER.size :]))
    status = struct.unpack(">I", found[_CTA_STATUS])[0] if _CTA_STATUS in found else 0
    return bool(status & _SEEN_REPLY)


def _is_tcp(entry: bytes) -> bool:
    return _protocol(entry)[_CTA_PROTO_NUM][0] == socket.IPPROTO_TCP


def _is_dns(entry: bytes) -> bool:
    protocol = _protocol(entry)
    return protocol[_CTA_PROTO_NUM][0] == socket.IPPROTO_UDP and protocol[_CTA_PROTO_DST_PORT] == _PORT_DNS


def _protocol(entry: bytes) -> dict[int, bytes]:
    found = dict(attributes(entry[_HEADER.size :]))
    return dict(attributes(dict(attributes(found[_CTA_TUPLE_ORIG]))[_CTA_TUPLE_PROTO]))


def _is_marked(entry: bytes, mark: int, mask: int) -> bool:
    """Check again what the kernel was asked for: deleting the wrong flows would be worse than none."""
    found = dict(attributes(entry[_HEADER.size :]))
    return bool(struct.unpack(">I", found.get(_CTA_MARK, bytes(4)))[0] & mask == mark)


def _delete(netlink: NetlinkSocket, entry: bytes) -> int:
    found = dict(attributes(entry[_HEADER.size :]))
    wanted = _HEADER.pack(entry[0], 0, 0) + attribute(_CTA_TUPLE_ORIG | _NLA_F_NESTED, found[_CTA_TUPLE_ORIG])
    for kind in (_CTA_ID, _CTA_ZONE):
        if kind in found:
            wanted += attribute(kind, found[kind])
    try:
        netlink.request(_DELETE, wanted, NLM_F_ACK)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return 0  # ended by itself
        raise
    return 1
