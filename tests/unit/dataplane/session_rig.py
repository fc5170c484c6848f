"""What the tests of a CPE's session share: a worker between scripted LAN hosts, converter and server."""

import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from plane_rig import HAG, LINES, SERVER, Peer, Server, tcp_pair, turn_for, until

from hagw.convert.message import Message, decode, encode
from hagw.convert.tlv import Connect, ExtendedTcpHeader
from hagw.dataplane.cpe import CpeWorker
from hagw.dataplane.loop import Loop
from hagw.dataplane.mptcp_socket import IPPROTO_MPTCP
from hagw.dataplane.pool import Pool
from hagw.dataplane.session import CpeSession
from hagw.lab import netns
from hagw.model.flow import FlowKey
from hagw.model.intent import FlowLimits, PoolIntent
from hagw.model.snapshot import CpeSnapshot, GatewayView, UplinkView

GRANTED = encode((ExtendedTcpHeader(b"\x02\x04\x05\xb4"),))


DATA = random.Random(3).randbytes(400_000)


PRELUDE_BYTES = 4 + 32


REQUEST_BYTES = 20


class NoSubflows:
    """A path manager that is never needed: every uplink is the loopback, on whose connections one subflow will do."""

    def sf_create(self, *_: object) -> None: ...
    def sf_destroy(self, *_: object) -> None: ...
    def break_off(self, *_: object) -> None: ...
    def announce(self, *_: object) -> None: ...
    def remove(self, *_: object) -> None: ...
    def set_backup(self, *_: object) -> None: ...


class Rig:
    """A CPE worker on its loop, a converter and a server that do as the test says."""

    def __init__(self, network: str) -> None:
        self.network = network
        self.loop = Loop()
        self.reported: list[dict[str, Any]] = []
        self.worker = CpeWorker(self.loop, NoSubflows(), self.reported.append)
        self.converter = Server(HAG, protocol=IPPROTO_MPTCP)
        self.server = Server()
        self.clients: list[Peer] = []
        self.snapshot = CpeSnapshot(
            generation=1,
            uplinks=tuple(
                UplinkView(slot, f"line{slot}", "lo", 1, address, None, "up") for slot, address in enumerate(LINES, 1)
            ),
            gateways=(GatewayView("hag", (HAG,), self.converter.port, "home", "11" * 32, "up"),),
            rules=(),
            pool=PoolIntent(size_min=1),
            limits=FlowLimits(),
            congestion_control="cubic",
        )
        self.worker.apply(self.snapshot)

    def apply(self, **changes: Any) -> None:
        self.worker.apply(replace(self.snapshot, **changes))

    def open(self, said: bytes = b"", *, then: Callable[[Peer], object] = lambda client: None) -> Peer:
        """Let a LAN host connect to the server; `said` and `then` happen before the session starts."""
        client, near = tcp_pair()
        peer = Peer(client)
        self.clients.append(peer)
        if said:
            client.send(said)
        then(peer)
        worker = self.worker
        assert worker.policy is not None
        key = FlowKey("192.168.77.11", 40_000, SERVER, self.server.port)
        session = CpeSession(worker, len(self.clients), near, key, worker.policy.decide(key))
        worker.sessions[session.id] = session
        session.start()
        return peer

    def warm(self) -> Peer:
        """Have a warm connection ready; return the converter's end of it, its prelude read."""
        self.pool().refill()
        until(self.loop, lambda: self.pool().ready() == 1)
        conversation = self.converter.accept(self.loop)
        until(self.loop, lambda: conversation.poll() or len(conversation.received) == PRELUDE_BYTES)
        return conversation

    def pool(self) -> Pool:
        assert self.worker.policy is not None
        decision = self.worker.policy.steered()[-1]
        assert decision.gateway is not None
        return self.worker.pools.of(decision.gateway, decision.uplinks, decision.plan)

    def fresh(self) -> None:
        self.worker.heard("hag", time.monotonic())

    def asked(self, conversation: Peer, early: bytes = b"") -> Message:
        """Wait for the request and exactly this early data; return the request."""

        def complete() -> bool:
            conversation.poll()
            return len(conversation.received) >= PRELUDE_BYTES + REQUEST_BYTES + len(early)

        until(self.loop, complete)
        size = conversation.received[1] * 4
        assert bytes(conversation.received[size:]) == early
        return decode(bytes(conversation.received[:size]))

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.reported if event["event"] == kind]

    def flow(self) -> dict[str, Any]:
        """The record of the last flow that ended."""
        flow: dict[str, Any] = self.worker.flows(60)[-1]
        return flow

    @contextmanager
    def swallowed(self, port: int) -> Iterator[None]:
        """Drop what is sent to a port, in silence."""
        netns.nft(
            self.network,
            f"table inet hole {{ chain in {{ type filter hook input priority 0; tcp dport {port} drop; }}; }}",
        )
        try:
            yield
        finally:
            netns.nft(self.network, "delete table inet hole")

    def close(self) -> None:
        self.worker.close()
        self.worker.stop_listening()
        self.loop.turn(0.0)
        self.converter.close()
        self.server.close()
        for client in self.clients:
            client.sock.close()


def more_than_fits(rig: Rig) -> tuple[Peer, Peer]:
    """Have a flow granted whose early data fills the send buffer; return the converter's end and the client."""
    rig.converter.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    with small_send_buffers():
        conversation = rig.warm()
    rig.fresh()
    client = rig.open(DATA[:40_000])
    turn_for(rig.loop, 0.05)
    until(rig.loop, lambda: conversation.poll() or len(conversation.received) >= PRELUDE_BYTES + REQUEST_BYTES)
    conversation.send_all(rig.loop, GRANTED)
    return conversation, client


FAILURES: dict[str, Callable[[Peer], object]] = {
    "closes": lambda conversation: conversation.sock.close(),
    "ends": lambda conversation: conversation.sock.shutdown(socket.SHUT_WR),
    "resets": lambda conversation: conversation.reset(),
    "talks HTTP": lambda conversation: conversation.sock.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "sends zeros": lambda conversation: conversation.sock.send(bytes(100)),
    "sends a request": lambda conversation: conversation.sock.send(encode((Connect(1, ip_address(SERVER)),))),
}


def second_line_is_better(rig: Rig) -> None:
    floors = (50.0, 10.0)
    rig.apply(
        uplinks=tuple(
            replace(uplink, rtt_floor_ms=floor) for uplink, floor in zip(rig.snapshot.uplinks, floors, strict=True)
        )
    )


@contextmanager
def small_send_buffers() -> Iterator[None]:
    """Let sockets opened meanwhile take little at once."""
    limits = Path("/proc/sys/net/ipv4/tcp_wmem")
    before = limits.read_text(encoding="ascii")
    limits.write_text("4096 4608 4608", encoding="ascii")
    try:
        yield
    finally:
        limits.write_text(before, encoding="ascii")
