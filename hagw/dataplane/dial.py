"""One server being opened for a customer on the HAG: from which address, plain or by Multipath TCP, or both in a race.

Says once how it ended, and holds nothing any more by then; what that means for the connection from the CPE is
`hagw.dataplane.conversion`'s. What servers were found to speak is remembered for the next one (`servers`).
"""

import errno
import socket
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from hagw.dataplane.loop import EPOLLOUT
from hagw.dataplane.mptcp_socket import open_stream, token_of
from hagw.dataplane.relay import abort
from hagw.dataplane.servers import RACE_S
from hagw.model.intent import IPAddress

if TYPE_CHECKING:
    from hagw.dataplane.customers import Customer
    from hagw.dataplane.hag import HagWorker


@dataclass(frozen=True, slots=True)
class NoPort:
    """The customer has no address or port to leave from; nobody else is concerned."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unreachable:
    """The server did not answer, or the kernel did for it; `code` is an errno."""

    code: int


Failure = NoPort | Unreachable


class DialOwner(Protocol):
    """Who is told how it ended: the first socket that stands, or why none does."""

    def opened(self, server: socket.socket) -> None: ...

    def not_opened(self, failure: Failure) -> None: ...

    def give_up(self, why: str) -> None: ...


class Dial:
    """The attempts to reach one server."""

    __slots__ = ("_attempts", "_customer", "_owner", "_server", "_timer", "_worker")

    def __init__(
        self, worker: "HagWorker", customer: "Customer", server: tuple[IPAddress, int], owner: DialOwner
    ) -> None:
        self._worker = worker
        self._customer = customer
        self._server = server
        self._owner = owner
        self._attempts: list[socket.socket] = []
        self._timer = worker.loop.call_in(worker.limits.connect_s, self._too_slow)

    def begin(self, *, asked_for_mptcp: bool) -> None:
        """Try, by Multipath TCP where that was asked for or is worth it. It may have failed by the time we return."""
        address, port = self._server
        multipath = asked_for_mptcp or self._worker.servers.try_mptcp(address, port, self._worker.loop.now)
        if multipath:
            self._timer.cancel()
            self._timer = self._worker.loop.call_in(RACE_S, self._race)
        self._try(multipath)

    def give_up(self, why: str) -> None:
        """A fault of ours ends the connection that the server was for."""
        self._owner.give_up(why)

    def cancel(self) -> None:
        """Let go of whatever is under way."""
        self._timer.cancel()
        for sock in self._attempts:
            abort(sock)
            self._worker.loop.close(sock)
        self._attempts.clear()

    def _try(self, multipath: bool) -> None:
        address, port = self._server
        way = self._customer.exits.get(address.version)
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET

        def make() -> socket.socket:
            if multipath:
                return open_stream(family, self._worker.congestion_control)
            plain = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return plain

        if way is None and address.version in self._worker.egress_families:
            self._fell(NoPort("no port block is left for it"))
            return
        try:
            if way is None:
                sock = make()
                code = sock.connect_ex((str(address), port))
            else:
                sock, code = way.connect(make, (str(address), port))
        except OSError as why:
            if why.errno == errno.EADDRNOTAVAIL and way is not None:
                self._fell(NoPort(f"{way.view.address} is no address of this gateway"))
            else:
                self._fell(Unreachable(why.errno or errno.EMFILE))
            return
        if code not in (0, errno.EINPROGRESS):
            sock.close()
            if code == errno.EADDRNOTAVAIL and way is not None:
                self._fell(NoPort("all ports of its block are used"))
            else:
                self._fell(Unreachable(code))
            return
        self._attempts.append(sock)
        self._worker.loop.add(sock.fileno(), EPOLLOUT, partial(self._on_dialed, sock, multipath))

    def _race(self) -> None:
        """The MPTCP SYN is unanswered: try a plain one beside it, whichever comes first."""
        self._timer = self._worker.loop.call_in(self._worker.limits.connect_s, self._too_slow)
        self._try(multipath=False)

    def _on_dialed(self, sock: socket.socket, multipath: bool, _mask: int) -> None:
        self._attempts.remove(sock)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._worker.loop.close(sock)
            self._fell(Unreachable(code))
            return
        self._remember(sock, multipath)
        self.cancel()
        self._owner.opened(sock)

    def _remember(self, sock: socket.socket, multipath: bool) -> None:
        (address, port), now = self._server, self._worker.loop.now
        if multipath:
            self._worker.servers.learn(address, port, token_of(sock) is not None, now)
        elif self._attempts:
            self._worker.servers.learn_blocked(address, port, now)

    def _fell(self, failure: Failure) -> None:
        """One attempt has failed; the other one, where there is one under way, may still come through."""
        if not self._attempts:
            self._end(failure)

    def _too_slow(self) -> None:
        self._end(Unreachable(errno.ETIMEDOUT))

    def _end(self, failure: Failure) -> None:
        self.cancel()
        self._owner.not_opened(failure)
