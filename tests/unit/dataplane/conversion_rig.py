"""What the tests of a HAG's session share: a worker between scripted clients and servers."""

import random
import socket
import time
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from plane_rig import HAG, SERVER, Peer, Server, until

from hagw.convert import cookie
from hagw.convert.message import HEADER_SIZE, Message, decode, encode
from hagw.convert.tlv import (
    Connect,
    Cookie,
    Error,
    Tlv,
)
from hagw.dataplane.hag import HagWorker
from hagw.dataplane.loop import Loop
from hagw.model.intent import FlowLimits
from hagw.model.snapshot import CustomerView, HagSnapshot

KEY = bytes(range(32))


PORT = 5124


SNAPSHOT = HagSnapshot(
    generation=1,
    listen=(HAG,),
    port=PORT,
    probe_port=PORT,
    customers=(CustomerView("home", KEY.hex()), CustomerView("office", KEY.hex(), ("192.0.2.0/24",))),
    allow=(),
    deny=("203.0.113.66/32",),
    own_addresses=(HAG,),
    server_mptcp="off",
    server_mptcp_prefixes=(),
    limits=FlowLimits(),
    congestion_control="cubic",
    ipv6_egress=True,
)


DATA = random.Random(2).randbytes(300_000)


class Rig:
    """A HAG worker on its loop; it is reconfigured by `apply`."""

    def __init__(self, network: str) -> None:
        self.network = network
        self.loop = Loop()
        self.reported: list[dict[str, Any]] = []
        self.worker = HagWorker(self.loop, self.reported.append)
        self.worker.apply(SNAPSHOT)
        self._clients: list[Peer] = []
        self._servers: list[Server] = []

    def limit(self, **limits: Any) -> None:
        self.worker.apply(replace(SNAPSHOT, limits=replace(FlowLimits(), **limits)))

    def client(self, protocol: int = socket.IPPROTO_TCP) -> Peer:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
        sock.connect((HAG, PORT))
        sock.setblocking(False)
        self._clients.append(Peer(sock))
        return self._clients[-1]

    def server(self, address: str = SERVER, backlog: int = 128) -> Server:
        self._servers.append(Server(address, backlog))
        return self._servers[-1]

    def ask(self, data: bytes) -> Peer:
        client = self.client()
        client.send_all(self.loop, data)
        return client

    def reply(self, client: Peer) -> tuple[Message, bytes]:
        """Return the reply of the HAG and what user data came behind it."""

        def complete() -> bool:
            client.poll()
            received = client.received
            return len(received) >= HEADER_SIZE and len(received) >= received[1] * 4

        until(self.loop, complete)
        size = client.received[1] * 4
        return decode(bytes(client.received[:size])), bytes(client.received[size:])

    def error(self, client: Peer) -> Error:
        """Return the error the HAG answers with, and check that its end comes behind it without a reset."""
        message, rest = self.reply(client)
        until(self.loop, lambda: client.saw("eof"))
        assert not rest
        (error,) = message.tlvs
        assert isinstance(error, Error)
        return error

    def nothing_left(self) -> bool:
        worker = self.worker
        return not worker.sessions and not worker.pending and not worker.strangers

    def close(self) -> None:
        self.worker.close()
        self.worker.stop_listening()
        self.loop.turn(0.0)
        for client in self._clients:
            client.sock.close()
        for server in self._servers:
            server.close()


def mint(customer: str = "home", *, key: bytes = KEY, age_s: float = 0.0) -> Cookie:
    return Cookie(cookie.mint(key, customer, time.time() - age_s))


def message(*tlvs: Tlv) -> bytes:
    return encode(tlvs)


def connect_to(server: Server, *others: Tlv) -> bytes:
    return message(Connect(server.port, ip_address(server.address)), *(others or (mint(),)))


def fill_backlog(server: Server) -> list[socket.socket]:
    """Make a server of backlog 0 silent: the kernel drops further SYNs."""
    fillers = []
    for _ in range(2):
        filler = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        filler.setblocking(False)
        filler.connect_ex((server.address, server.port))
        fillers.append(filler)
    return fillers


def make_room(server: Server, fillers: list[socket.socket]) -> None:
    """Let a server that was silent accept connections again."""
    for filler in fillers:
        filler.close()
    while not server.has_nobody():
        pass
