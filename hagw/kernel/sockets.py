"""Connections that have ended: the kernel keeps their sockets for a minute, and takes a host's next SYN for theirs.

A socket of an intercepted connection has the server's address. While it is in TIME_WAIT, early demultiplexing hands it
every packet with its addresses and ports, and IPv4 and IPv6 never forward a packet that has a socket.
"""

import errno
import socket
import struct
from ipaddress import IPv6Address, ip_address
from typing import Final

from hagw.kernel.netlink import NLM_F_ACK, NLM_F_DUMP, NetlinkSocket
from hagw.kernel.rtnl import Rtnl
from hagw.model.intent import IPAddress

_NETLINK_SOCK_DIAG: Final = 4
_DUMP: Final = 20  # SOCK_DIAG_BY_FAMILY
_DESTROY: Final = 21
_TIME_WAIT: Final = 1 << 6
_REQUEST: Final = struct.Struct("=BBBxI")  # struct inet_diag_req_v2 up to its id: family, protocol, extensions, states
_ID_AT: Final = 4  # in struct inet_diag_msg
_ID: Final = struct.Struct(">HH16s16s12x")  # struct inet_diag_sockid: ports, addresses, interface and cookie
_ABLE: Final = (
    "This kernel cannot forget ended connections: a port that a host used for one is not forwarded for a minute."
)


def forget_ended() -> str | None:
    """Have the kernel forget ended connections with addresses that are not its own; None, or why it cannot.

    Raises OSError.
    """
    own = _own_addresses()
    with NetlinkSocket(_NETLINK_SOCK_DIAG) as netlink:
        for family in (socket.AF_INET, socket.AF_INET6):
            for identity in _ended(netlink, family):
                if _local_address(family, identity) in own:
                    continue
                try:
                    request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, _TIME_WAIT)
                    netlink.request(_DESTROY, request + identity, NLM_F_ACK)
                except OSError as error:
                    if error.errno == errno.EOPNOTSUPP:
                        return _ABLE
                    if error.errno != errno.ENOENT:  # its minute is over
                        raise
    return None


def _ended(netlink: NetlinkSocket, family: int) -> list[bytes]:
    """Return the identities (struct inet_diag_sockid) of a family's sockets in TIME_WAIT; none without tcp_diag."""
    wanted = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, _TIME_WAIT) + bytes(_ID.size)
    try:
        answers = netlink.request(_DUMP, wanted, NLM_F_DUMP)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EAFNOSUPPORT):
            return []
        raise
    return [answer[_ID_AT : _ID_AT + _ID.size] for answer in answers if len(answer) >= _ID_AT + _ID.size]


def _local_address(family: int, identity: bytes) -> IPAddress:
    source: bytes = _ID.unpack(identity)[2]
    address = ip_address(source[:4] if family == socket.AF_INET else source)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _own_addresses() -> frozenset[IPAddress]:
    netlink = Rtnl()
    try:
        found = [message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS") for message in netlink.dump("addr")]
    finally:
        netlink.close()
    return frozenset(ip_address(address) for address in found if address)
