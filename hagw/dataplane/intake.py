"""How intercepted connections come in: a CPE worker's listeners, and the wait for the name in the first bytes."""

import socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from hagw.dataplane import arrival
from hagw.dataplane.loop import ACCEPT_PAUSE_S, EPOLLIN
from hagw.dataplane.mptcp_socket import SO_RCVBUFFORCE
from hagw.dataplane.naming import SERVER_FIRST_PORTS, NameWait, peek
from hagw.dataplane.relay import abort
from hagw.model.flow import FlowKey, by_dns
from hagw.model.ids import PORT_TPROXY, PORT_TRIAL, TRIAL_WAYS
from hagw.policy.decide import Policy, Rules
from hagw.policy.first_bytes import OTHER, Named, read
from hagw.policy.names import NameBook

if TYPE_CHECKING:
    from hagw.dataplane.cpe import CpeWorker

IP_TRANSPARENT: Final = 19
IPV6_TRANSPARENT: Final = 75
LAN_WINDOW_BYTES: Final = 512 * 1024  # doubled by the kernel: 1 Gbit/s at 4 ms
ACCEPTS_AN_EVENT: Final = 64
BACKLOG: Final = 4096


class Intake:
    """Accepts and hands over each connection with what is known of it: `begin(client, key)`."""

    def __init__(self, worker: "CpeWorker", begin: Callable[[socket.socket, FlowKey], None]) -> None:
        self._worker = worker
        self._begin = begin
        self.names = NameBook()
        self.accept_errors = 0
        self._rules = Rules()
        self._listeners: dict[str, socket.socket] = {}
        self._waiting: set[NameWait] = set()

    def open(self, inherited: dict[str, socket.socket]) -> None:
        """Listen where we do not yet, on the sockets that a predecessor left where there are any. Raise OSError."""
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            if address in self._listeners:
                continue
            sock = inherited.pop(address, None) or _listening(family, address)
            self._worker.loop.add(sock.fileno(), EPOLLIN, partial(self._accept, sock))
            self._listeners[address] = sock
        self._ask_arrivals()

    def close(self) -> None:
        """Accept nothing more; new connections of the LAN then go past us."""
        for sock in self._listeners.values():
            self._worker.loop.close(sock)
        self._listeners.clear()

    def sockets(self) -> dict[str, socket.socket]:
        """Return the listening sockets by address, for a successor to take over; empty = not listening."""
        return dict(self._listeners)

    def waiting(self) -> int:
        """Return how many connections wait for their first bytes."""
        return len(self._waiting)

    def give_up_waiting(self) -> None:
        """Reset the connections that wait for their first bytes."""
        for waiting in self._waiting:
            waiting.give_up()
        self._waiting.clear()

    def follow(self, rules: Rules) -> None:
        """Learn of each connection what these rules ask."""
        self._rules = rules
        self._ask_arrivals()

    def with_name(self, key: FlowKey, found: Named | None) -> FlowKey:
        """Return a flow with the name its first bytes told, else with those that DNS told of its server."""
        if found is not None:
            return replace(key, domain=found.domain, domain_source=found.source)
        return by_dns(key, self.names.names(key.server, self._worker.loop.now))

    def _ask_arrivals(self) -> None:
        for listener in self._listeners.values():
            arrival.ask(listener, self._rules.index.needs_packet, self._rules.index.needs_interface)

    def _accept(self, listener: socket.socket, _mask: int) -> None:
        worker = self._worker
        for _ in range(ACCEPTS_AN_EVENT):
            try:
                client, peer = listener.accept()
            except BlockingIOError:
                return
            except OSError:
                self.accept_errors += 1  # out of descriptors, or gone before we came
                worker.loop.pause(listener.fileno(), ACCEPT_PAUSE_S)
                return
            client.setblocking(False)
            server = client.getsockname()
            if server[1] == PORT_TRIAL and (peer[0], server[0]) in TRIAL_WAYS:
                self._answer_trial(client)
                continue
            busy = len(worker.sessions) + len(self._waiting)
            if busy >= worker.limits.flows_max or worker.policy is None:
                self.accept_errors += 1
                abort(client)
                client.close()
                continue
            self._take(worker.policy, client, (peer[0], peer[1]), (server[0], server[1]))

    def _answer_trial(self, client: socket.socket) -> None:
        """The daemon came the LAN's way: tell whether a connection without a rule would be converted, and close."""

        def tell(failure: str) -> None:
            try:
                client.send((failure or "converted").encode())
            except OSError:
                pass  # it has given up
            client.close()

        self._worker.try_gateway(tell)

    def _take(self, policy: Policy, client: socket.socket, peer: tuple[str, int], server: tuple[str, int]) -> None:
        """Begin with a connection: at once, or when its first bytes have told a name that a rule depends on."""
        index = self._rules.index
        came = arrival.UNKNOWN
        if index.needs_packet or index.needs_interface:
            came = arrival.read(client, index.needs_packet, index.needs_interface)
        key = FlowKey(*peer, *server, dscp=came.dscp, interface=came.interface, mac=came.mac)
        if not policy.depends_on_name(key):
            self._begin(client, key)
            return
        found = read(peek(client) or b"")
        if isinstance(found, Named) or found == OTHER or server[1] in SERVER_FIRST_PORTS:
            self._begin(client, self.with_name(key, found if isinstance(found, Named) else None))
            return
        self._waiting.add(
            NameWait(self._worker.loop, client, self._worker.limits.first_bytes_s, partial(self._named, client, key)),
        )

    def _named(self, client: socket.socket, key: FlowKey, wait: NameWait, found: Named | None) -> None:
        self._waiting.discard(wait)
        self._begin(client, self.with_name(key, found))


def _listening(family: socket.AddressFamily, address: str) -> socket.socket:
    """Return a socket that intercepted connections come to. Raise OSError."""
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # What a LAN host may have under way to us; more would only wait here for the slower lines.
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, LAN_WINDOW_BYTES)
        sock.bind((address, PORT_TPROXY))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock
