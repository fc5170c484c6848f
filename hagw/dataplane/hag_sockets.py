"""The sockets that a HAG's worker listens on: one for connections and one for echoes on each address.

They may come from a predecessor and go to a successor (`handover`); what happens on them is for others to say.
"""

import socket
from collections.abc import Callable
from functools import partial
from typing import Final

from hagw.dataplane.loop import EPOLLIN, Loop
from hagw.dataplane.mptcp_socket import IPPROTO_MPTCP, hold_receive_buffer, tune, tuned_maximum
from hagw.model.snapshot import HagSnapshot

BACKLOG: Final = 4096
IP_PKTINFO: Final = 8
IPV6_RECVPKTINFO: Final = 49

OnReady = Callable[[socket.socket, int], None]


class HagSockets:
    """All of one worker; `accept` and `echo` get a socket that is ready, and the mask."""

    def __init__(self, loop: Loop, accept: OnReady, echo: OnReady) -> None:
        self._loop = loop
        self._accept = accept
        self._echo = echo
        self._open: dict[tuple[str, str, int], socket.socket] = {}

    def open(self, snapshot: HagSnapshot, inherited: dict[str, socket.socket]) -> None:
        """Open what is not open yet and not `inherited`. Raise OSError for an address or port we cannot have.

        An address no longer wanted stays open while this worker lives: subflows of its connections join there.
        """
        for address in snapshot.listen:
            stream, datagram = ("convert", address, snapshot.port), ("echo", address, snapshot.probe_port)
            if stream not in self._open:
                sock = inherited.pop(_name_of(stream), None) or _listening(snapshot, address)
                self._loop.add(sock.fileno(), EPOLLIN, partial(self._accept, sock))
                self._open[stream] = sock
            if datagram not in self._open:
                echoes = inherited.pop(_name_of(datagram), None) or _answering(snapshot, address)
                self._loop.add(echoes.fileno(), EPOLLIN, partial(self._echo, echoes))
                self._open[datagram] = echoes

    def close(self) -> None:
        """Take nothing more. Subflows of living connections can then no longer join: only for the end."""
        for sock in self._open.values():
            self._loop.close(sock)
        self._open.clear()

    def by_name(self) -> dict[str, socket.socket]:
        """Return those that are open, for a successor to take over; empty = not listening."""
        return {_name_of(key): sock for key, sock in self._open.items()}


def _name_of(key: tuple[str, str, int]) -> str:
    return " ".join(map(str, key))


def _listening(snapshot: HagSnapshot, address: str) -> socket.socket:
    """Return a socket that CPEs connect to. Raise OSError."""
    sock = _bound(socket.SOCK_STREAM, IPPROTO_MPTCP, address, snapshot.port)
    tune(sock, snapshot.congestion_control)
    hold_receive_buffer(sock, tuned_maximum())
    sock.listen(BACKLOG)
    return sock


def _answering(snapshot: HagSnapshot, address: str) -> socket.socket:
    """Return a socket that echoes come to. Raise OSError."""
    sock = _bound(socket.SOCK_DGRAM, socket.IPPROTO_UDP, address, snapshot.probe_port)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    return sock


def _bound(kind: int, protocol: int, address: str, port: int) -> socket.socket:
    """Return a non-blocking socket on an address that the other workers listen on as well."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
    except OSError:
        sock.close()
        raise
    return sock
