"""TCP connections ended at once, with what they have still to send (NETLINK_SOCK_DIAG, SOCK_DESTROY).

A subflow that is closed goes on sending to the last byte what it holds already, though all of it is sent again over the
others: a megabyte keeps a slow line full for ten seconds, and whoever is on it waits.
"""

import errno
import socket
import struct
from typing import Final

from hagw.kernel.netlink import NLM_F_ACK, NetlinkSocket
from hagw.model.intent import IPAddress

Endpoint = tuple[IPAddress, int]  # address and port

_NETLINK_SOCK_DIAG: Final = 4
_DESTROY: Final = 21
_EVERY_STATE: Final = 0xFFFFFFFF
_NO_COOKIE: Final = b"\xff" * 8
_REQUEST: Final = struct.Struct("=BBBxI")  # struct inet_diag_req_v2 up to its id: family, protocol, extensions, states
_ENDS: Final = struct.Struct(">HH16s16s")  # struct inet_diag_sockid up to its interface: ports, addresses
_INTERFACE: Final = struct.Struct("=I")


class Breaker:
    """Resets connections of this namespace. Not shared between threads."""

    def __init__(self) -> None:
        self._netlink: NetlinkSocket | None = NetlinkSocket(_NETLINK_SOCK_DIAG)

    def end(self, local: Endpoint, remote: Endpoint, ifindex: int = 0) -> None:
        """Reset the connection between two ends, bound to an interface if to any, where there is one.

        Does nothing where the kernel cannot (CONFIG_INET_DIAG_DESTROY).
        """
        if self._netlink is None:
            return
        family = socket.AF_INET if local[0].version == 4 else socket.AF_INET6
        request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, _EVERY_STATE)
        ends = _ENDS.pack(local[1], remote[1], local[0].packed, remote[0].packed)
        try:
            self._netlink.request(_DESTROY, request + ends + _INTERFACE.pack(ifindex) + _NO_COOKIE, NLM_F_ACK)
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                self.close()

    def close(self) -> None:
        """Close the socket; harmless when it is closed already."""
        if self._netlink is not None:
            self._netlink.close()
        self._netlink = None
