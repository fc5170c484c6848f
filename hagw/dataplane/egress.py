"""Gives connections towards servers a customer's own address, and ports of its block.

The kernel finds a port that is free towards this very server as it connects (IP_LOCAL_PORT_RANGE, Linux 6.3), if the
block is within net.ipv4.ip_local_port_range; beyond that it would take any port. Else ports are tried in turn.
"""

import errno
import random
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hagw.model.snapshot import EgressView

IP_BIND_ADDRESS_NO_PORT: Final = 24
IP_LOCAL_PORT_RANGE: Final = 51
TRIES_MAX: Final = 64  # ports tried for one connection where the kernel does not choose: 1 ms at worst
_RANGE_FILE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")


class Exit:
    """One customer's address and ports in one family."""

    __slots__ = ("_kernel_chooses", "_next", "view")

    def __init__(self, view: EgressView) -> None:
        self.view = view
        self._next = random.randint(view.first, view.last)  # workers share the block
        self._kernel_chooses = _is_within_the_systems(view)

    def connect(self, make: Callable[[], socket.socket], server: tuple[str, int]) -> tuple[socket.socket, int]:
        """Begin to connect from here; return the socket and what `connect_ex` said.

        EADDRNOTAVAIL: no port is free towards this server. Raise OSError where there is no socket, or the address
        is none of this machine's.
        """
        if self._kernel_chooses:
            sock = make()
            try:
                if _keep_to(sock, self.view):
                    return sock, sock.connect_ex(server)
            except OSError:
                sock.close()
                raise
            sock.close()
            self._kernel_chooses = False
        return self._try_ports(make, server)

    def _try_ports(self, make: Callable[[], socket.socket], server: tuple[str, int]) -> tuple[socket.socket, int]:
        left = min(TRIES_MAX, self.view.last - self.view.first + 1)
        while True:
            left -= 1
            sock = make()
            try:
                code = self._bind_next(sock) or sock.connect_ex(server)
            except OSError:
                sock.close()
                raise
            if code != errno.EADDRNOTAVAIL or not left:
                return sock, code
            sock.close()

    def _bind_next(self, sock: socket.socket) -> int:
        """Bind to the next port, which others may have towards other servers."""
        port, self._next = self._next, self._next + 1 if self._next < self.view.last else self.view.first
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((self.view.address, port))
        except OSError as why:
            if why.errno != errno.EADDRINUSE:  # somebody listens there
                raise
            return errno.EADDRNOTAVAIL
        return 0


def _keep_to(sock: socket.socket, view: EgressView) -> bool:
    """Bind to the address, and have the kernel keep to the ports; False where it cannot. Raise OSError."""
    try:
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.setsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, struct.pack("=I", view.last << 16 | view.first))
    except OSError:
        return False
    sock.bind((view.address, 0))
    return True


def _is_within_the_systems(view: EgressView) -> bool:
    try:
        low, high = map(int, _RANGE_FILE.read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return False
    return low <= view.first and view.last <= high
