"""The way from one uplink to one gateway: the sockets questions go out by, and the answers that come back.

Several sockets, used in turn: the gateway's workers share its port, the kernel picks one by the source port, and one
worker that hangs must not make a good line look dead.
"""

import errno
import os
import socket
from collections import deque
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from hagw.model.facts import UplinkFacts
from hagw.model.intent import GatewayIntent, IPAddress, UplinkIntent
from hagw.pmf.asker import Asker, Question
from hagw.pmf.echo import SIZE

_SOCKETS: Final = 3
PROVING_MAX: Final = 4  # questions a second that only prove an address
_BUSY: Final = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.EPERM})


@dataclass(frozen=True, slots=True)
class Endpoints:
    """What a path's sockets are bound and connected to; another value needs other sockets."""

    interface: str
    ifindex: int
    source: IPAddress
    destination: IPAddress
    port: int
    line: int
    key: bytes
    convert_port: int

    @property
    def packet_bytes(self) -> int:
        """Size of one question or answer as an IP packet."""
        return SIZE + 8 + (20 if self.destination.version == 4 else 40)


def endpoints(uplink: UplinkIntent, facts: UplinkFacts, gateway: GatewayIntent) -> dict[int, Endpoints]:
    """Return where to ask from and to by each address family they have in common, IPv4 first."""
    found: dict[int, Endpoints] = {}
    if facts.ifindex is None:
        return found
    sources: tuple[IPv4Address | IPv6Address | None, ...] = (facts.address4, facts.address6)
    for source in sources:
        destination = next((d for d in gateway.addresses if source is not None and d.version == source.version), None)
        if source is not None and destination is not None:
            found[source.version] = Endpoints(
                interface=uplink.interface,
                ifindex=facts.ifindex,
                source=source,
                destination=destination,
                port=gateway.probe_port,
                line=uplink.slot,
                key=gateway.key,
                convert_port=gateway.port,
            )
    return found


class Path:
    """Sockets and outstanding questions of one uplink and gateway."""

    def __init__(self, ends: Endpoints) -> None:
        self.ends = ends
        self.asker = Asker(ends.key, ends.line, int.from_bytes(os.urandom(8)))
        self.sockets: list[socket.socket] = []
        self._next = 0
        self._proving: deque[float] = deque(maxlen=PROVING_MAX)

    def may_prove(self, now: float) -> bool:
        """Say whether another question is asked only to prove our address; so many a second."""
        if len(self._proving) == PROVING_MAX and now - self._proving[0] < 1.0:
            return False
        self._proving.append(now)
        return True

    def ask(self, now: float) -> Question:
        """Return the next question; `send` it at once, by the socket it is numbered for."""
        self._next = (self._next + 1) % _SOCKETS
        return self.asker.ask(now, stream=self._next)

    def open(self) -> list[socket.socket]:
        """Make the sockets; return those that are new. Raise OSError where device, address or route is missing."""
        if self.sockets:
            return []
        made: list[socket.socket] = []
        try:
            for _ in range(_SOCKETS):
                made.append(_connected(self.ends))
        except OSError:
            for sock in made:
                sock.close()
            raise
        self.sockets = made
        return made

    def close(self) -> None:
        """Close the sockets; `open` makes new ones."""
        for sock in self.sockets:
            sock.close()
        self.sockets = []
        self.asker.begin_anew()

    def send(self, question: Question) -> None:
        """Send the question just asked. A full queue loses it like any other; else raise OSError."""
        try:
            self.sockets[self._next].send(question.datagram)
        except OSError as error:
            if error.errno not in _BUSY:
                raise


def _connected(ends: Endpoints) -> socket.socket:
    family = socket.AF_INET if ends.source.version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, ends.interface.encode())
        sock.bind((str(ends.source), 0))
        sock.connect((str(ends.destination), ends.port))
    except OSError:
        sock.close()
        raise
    return sock
