"""One intercepted LAN connection on the CPE, from accept to its end.

The life: decided -> opening (no warm connection was ready) -> asking (Connect sent, reply awaited) -> relaying; or
dialing (direct) -> relaying. The rule on early data (what the client sends before the converter's reply): it
goes out with the Connect only while the gateway is known to be alive; otherwise it waits for the Connect's
acknowledgement. It is sent direct only while the gateway cannot have passed it on: if none was sent, or if the
gateway said so with an Error TLV. Otherwise the client gets a reset, never a request done twice.
"""

import socket
import time
from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, Literal

from hagw.convert.errors import ErrorCode
from hagw.convert.events import Connected, Data, ProtocolViolation, Rejected
from hagw.dataplane.bonding import Bonding
from hagw.dataplane.direct import DirectDial
from hagw.dataplane.flows import FlowDocument, cpe_flow, timeline
from hagw.dataplane.gateway import BROKE_PROTOCOL, Blame, GatewayConnection
from hagw.dataplane.loop import EPOLLIN, EPOLLOUT, Timer
from hagw.dataplane.relay import Relay, abort
from hagw.model.flow import FlowKey
from hagw.model.snapshot import GatewayView
from hagw.policy.decide import Decision

if TYPE_CHECKING:
    from hagw.dataplane.cpe import CpeWorker

EARLY_MAX_BYTES: Final = 32 * 1024
ACK_POLL_S: Final = 0.001
ACK_WAIT_S: Final = 0.35
ACK_WAIT_MAX_S: Final = 3.0
CROSSED_SHARE: Final = 0.8  # of the shortest round trip seen; the rest is for shorter ones not seen yet
HEARD_LATELY_S: Final = 0.5  # two echoes of a gateway in use
KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 300), (socket.TCP_KEEPINTVL, 30), (socket.TCP_KEEPCNT, 4))

State = Literal["opening", "asking", "dialing", "relaying", "closed"]


class CpeSession:
    """One flow. Created by the accept loop, which then calls `start`."""

    __slots__ = (
        "_asked_at", "_bonding", "_connection", "_counted", "_dial", "_early", "_early_passed", "_early_sent", "_eof",
        "_idle_since", "_relay", "_started", "_timer", "_tried", "_unsent", "_watched", "_worker",
        "client", "decision", "id", "key", "path", "state", "why",
    )  # fmt: skip

    def __init__(
        self, worker: "CpeWorker", session_id: int, client: socket.socket, key: FlowKey, decision: Decision
    ) -> None:
        self._worker = worker
        self.id = session_id
        self.client = client
        self.key = key
        self.decision = decision
        self.path = decision.path
        self.why = decision.why
        self.state: State = "opening"
        self._started = worker.loop.now
        self._idle_since = worker.loop.now
        self._connection: GatewayConnection | None = None
        self._relay: Relay | None = None
        self._bonding: Bonding | None = None
        self._dial: DirectDial | None = None
        self._tried: tuple[str, ...] = ()
        self._early = bytearray()
        self._unsent = b""
        self._early_sent = False
        self._early_passed = 0
        self._eof = False
        self._watched = False
        self._asked_at = 0.0
        self._timer: Timer | None = None
        self._counted = (0, 0)

    def start(self) -> None:
        """Carry out the decision."""
        if self.decision.path == "converted" and self.decision.gateway is not None and self.decision.uplinks:
            self._convert(self.decision.gateway)
        elif self.decision.path == "blocked":
            self._refuse("blocked")
        else:
            self._go_direct(self.decision.why)

    def give_up(self, why: str) -> None:
        """Reset both sides."""
        self._refuse(why)

    # --- through the gateway

    def _convert(self, gateway: GatewayView) -> None:
        self._tried = (*self._tried, gateway.name)
        connection = self._worker.pools.of(gateway, self.decision.uplinks, self.decision.plan).take()
        if connection is not None:
            self._connection = connection
            self._ask(connection)
            return
        try:
            connection = GatewayConnection(self._worker, gateway, self.decision.uplinks, self.decision.plan)
        except OSError as why:
            self._go_elsewhere(f"cannot open a connection to {gateway.name}: {why.strerror}")
            return
        self._connection = connection
        connection.on_ready = self._opened
        connection.on_dead = self._not_opened
        self._watch_client(0)

    def _opened(self, connection: GatewayConnection) -> None:
        connection.take()
        self._ask(connection)

    def _not_opened(self, connection: GatewayConnection, reason: str, blame: Blame) -> None:
        self._worker.gateways.blame(connection, reason, blame)
        self._connection = None
        self._go_elsewhere(f"{connection.gateway.name}: {reason}")

    def _go_elsewhere(self, why: str) -> None:
        """Take the next gateway that takes flows, the direct way if there is none. Nothing has reached the server."""
        gateway = self._worker.another_gateway(self, self._tried)
        if gateway is None:
            self._go_direct(why)
            return
        self.decision = replace(self.decision, gateway=gateway, why=f"{self.decision.why}, but {why}")
        self.why = self.decision.why
        self.state = "opening"
        self._convert(gateway)

    def _ask(self, connection: GatewayConnection) -> None:
        """Send the Connect TLV, with what the client has said so far if the gateway is known to be alive."""
        self.state = "asking"
        worker = self._worker
        self._asked_at = time.monotonic()
        request = connection.machine.connect(ip_address(self.key.server), self.key.server_port)
        fresh = worker.gateways.is_fresh(connection.gateway.name)
        if fresh and not self._watched:
            self._read_at_once()
        try:
            sent = connection.sock.send(request + self._early if self._early else request)
        except OSError as why:
            self._gateway_lost(f"lost before the request was sent: {why.strerror}")
            return
        if sent < len(request):
            self._gateway_lost("no room for the request")
            return
        connection.paths.not_payload(up=len(request))
        self._early_sent = bool(self._early)
        self._early_passed = sent - len(request)
        self._unsent = bytes(self._early[self._early_passed :])
        worker.loop.set_handler(connection.sock.fileno(), self._on_gateway)
        if fresh:
            self._watch_client(0 if self._eof or self._unsent else EPOLLIN)
            self._timer = worker.loop.call_in(ACK_WAIT_S, self._check_acknowledged)
        else:
            self._watch_client(0)
            self._timer = worker.loop.call_in(ACK_POLL_S, self._await_acknowledgement)

    def _read_at_once(self) -> None:
        try:
            data = self.client.recv(EARLY_MAX_BYTES)
        except OSError:
            return  # nothing yet; an error shows again when the socket is watched
        self._eof = not data
        self._early += data

    def _await_acknowledgement(self) -> None:
        """The gateway was silent for a while: let the client's data go once it has acknowledged the Connect."""
        connection = self._connection
        if connection is None or self.state != "asking":
            return
        now = self._worker.loop.now
        if connection.unacknowledged() == 0:
            self._worker.gateways.heard(connection.gateway.name, now)
            self._watch_client(EPOLLIN)
            self._timer = self._worker.loop.call_in(ACK_WAIT_S, self._check_acknowledged)
        elif now - self._asked_at < ACK_WAIT_S:
            self._timer = self._worker.loop.call_in(ACK_POLL_S, self._await_acknowledgement)
        else:
            self._blame_gateway(connection)
            self._gateway_lost("it did not acknowledge the request")

    def _check_acknowledged(self) -> None:
        """Some time after the request: is the gateway there at all? Then the server may take its time."""
        connection = self._connection
        if connection is None or self.state != "asking":
            return
        now = self._worker.loop.now
        waited = now - self._asked_at
        lately = max(self._asked_at, now - HEARD_LATELY_S)
        if 0 <= connection.unacknowledged() <= self._early_passed:  # the request is; what followed may be under way
            if waited > self._worker.limits.connect_s + 2.0:
                self._refuse("the gateway does not answer")
                return
            self._timer = self._worker.loop.call_in(1.0, self._check_acknowledged)
        elif waited < ACK_WAIT_MAX_S and self._worker.gateways.heard_since(connection.gateway.name, lately):
            # The gateway lives, the line does not: its subflow is being withdrawn, the kernel repeats elsewhere.
            self._timer = self._worker.loop.call_in(ACK_WAIT_S, self._check_acknowledged)
        elif waited < ACK_WAIT_S * 1.6 and self._early_sent:
            self._timer = self._worker.loop.call_in(ACK_WAIT_S / 2, self._check_acknowledged)
        else:
            self._blame_gateway(connection)
            self._gateway_lost("it did not acknowledge the request")

    def _blame_gateway(self, connection: GatewayConnection) -> None:
        if not self._worker.gateways.heard_since(connection.gateway.name, self._asked_at):
            self._worker.gateways.trouble(connection.gateway.name, "it does not acknowledge requests")

    def _on_gateway(self, _mask: int) -> None:
        connection = self._connection
        assert connection is not None
        try:
            data = connection.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError as why:
            self._gateway_ended(connection, f"reset: {why.strerror}")
            return
        if not data:
            self._gateway_ended(connection, "closed before it answered")
            return
        events = connection.machine.receive(data)
        if not events:
            return
        match events[0]:
            case Connected():
                rest = events[1].data if len(events) > 1 and isinstance(events[1], Data) else b""
                connection.paths.not_payload(down=len(data) - len(rest))
                self._connected(connection, bytes(rest))
            case Rejected() as rejected:
                self._rejected(connection, rejected)
            case other:
                reason = other.reason if isinstance(other, ProtocolViolation) else f"unexpected {type(other).__name__}"
                self._worker.gateways.protocol_broken(connection, reason)
                self._worker.gateways.trouble(connection.gateway.name, BROKE_PROTOCOL)
                self._gateway_lost(BROKE_PROTOCOL)

    def _connected(self, connection: GatewayConnection, first: bytes) -> None:
        self._worker.gateways.heard(connection.gateway.name, self._worker.loop.now)
        self._worker.gateways.answered(connection.gateway.name)
        for option, value in KEEPALIVE:
            connection.sock.setsockopt(socket.IPPROTO_TCP, option, value)
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._bonding = Bonding(self._worker, self.id, connection, self.moved)
        self._bonding.look_early(lambda: self.decision if self.state == "relaying" else None)
        self._relay_with(connection.sock, EPOLLIN, to_far=self._unsent, to_near=first)

    def _rejected(self, connection: GatewayConnection, rejected: Rejected) -> None:
        """An Error TLV means that nothing reached the server: the same TCP event for the client, or the direct way."""
        self._worker.gateways.heard(connection.gateway.name, self._worker.loop.now)
        key = self.key
        match rejected.code:
            case ErrorCode.CONNECTION_RESET:
                self._worker.destination_refused(key.server, key.server_port, "refused")
                self._refuse("the server refused the connection")
            case ErrorCode.DESTINATION_UNREACHABLE:
                self._worker.destination_refused(key.server, key.server_port, "unreachable")
                self._refuse("the server is unreachable")
            case _:
                if rejected.retry_after_s is not None:
                    self._worker.gateways.overloaded(connection.gateway.name, rejected.retry_after_s)
                if rejected.code == ErrorCode.MISSING_COOKIE:
                    self._worker.gateways.address_unproven(connection.gateway.name)
                self._early_sent = False
                self._gateway_lost(f"error {rejected.code}")

    def _gateway_ended(self, connection: GatewayConnection, reason: str) -> None:
        """It ended our connection. If that was under way before our request can have come, nothing was passed on.

        That the request is not acknowledged does not prove it: the end may come over a faster line than the
        acknowledgement.
        """
        waited_s = time.monotonic() - self._asked_at
        if has_crossed(waited_s, connection.paths.shortest_s()) and connection.unacknowledged() > self._early_passed:
            self._early_sent = False
        self._gateway_lost(reason)

    def _gateway_lost(self, reason: str) -> None:
        """Go direct if the client's data cannot have been passed on, else tell the client by a reset."""
        connection = self._connection
        assert connection is not None
        self._stop_timer()
        connection.close()
        self._connection = None
        if self._early_sent:
            self._refuse(f"{connection.gateway.name}: {reason}; its data may have arrived")
        else:
            self._go_elsewhere(f"{connection.gateway.name}: {reason}")

    # --- the client, before the relay

    def _watch_client(self, mask: int) -> None:
        loop = self._worker.loop
        if self._watched:
            loop.set_mask(self.client.fileno(), mask)
        else:
            loop.add(self.client.fileno(), mask, self._on_client)
            self._watched = True

    def _on_client(self, mask: int) -> None:
        if not mask & EPOLLIN:
            self._refuse("the client went away")
            return
        try:
            data = self.client.recv(EARLY_MAX_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._refuse("the client went away")
            return
        self._eof = not data
        if data:
            self._early += data
            self._send_early(data)
        if self._eof or self._unsent or len(self._early) >= EARLY_MAX_BYTES:
            self._watch_client(0)

    def _send_early(self, data: bytes) -> None:
        connection = self._connection
        if connection is None or self.state != "asking":
            return
        self._early_sent = True
        try:
            sent = connection.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as why:
            self._gateway_lost(f"reset: {why.strerror}")
            return
        self._early_passed += sent
        self._unsent = data[sent:]

    # --- direct

    def _go_direct(self, why: str) -> None:
        """Connect to the server over the best uplink, with the client's data not yet passed on."""
        self.why = why if self.decision.path == "direct" else f"{self.decision.why}, but {why}"
        self.path = "direct"
        self.state = "dialing"
        self._worker.counts["direct_total"] += 1
        if not self._watched:
            self._watch_client(0)
        server = (self.key.server, self.key.server_port)
        self._dial = DirectDial(self._worker, server, self.decision.uplinks, self._dialed, self._not_dialed)
        self._dial.start()

    def _dialed(self, server: socket.socket) -> None:
        self._relay_with(server, EPOLLOUT, to_far=bytes(self._early))

    def _not_dialed(self, reason: str | None) -> None:
        if reason is not None:
            self._worker.destination_refused(self.key.server, self.key.server_port, reason)
        self._refuse(reason or "no uplink is up")

    # --- relaying and the end

    def _relay_with(self, far: socket.socket, far_watched: int, to_far: bytes, to_near: bytes = b"") -> None:
        self._stop_timer()
        self.state = "relaying"
        self._watch_client(0)
        self.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._counted = (len(to_near), len(self._early))
        relay = Relay(self._worker.loop, self._worker.view, self, self.client, far)
        self._relay = relay
        relay.start(near_watched=0, far_watched=far_watched, to_near=to_near, to_far=to_far, near_eof=self._eof)
        self._early = bytearray()
        self._unsent = b""

    def relay_ended(self, relay: Relay, reset: bool) -> None:
        """Both directions are over: write the last figures down."""
        if self._connection is not None:
            self._connection.paths.settle(self._worker.loop.now)
            self._connection.state = "dead"
        if reset:
            self._worker.counts["reset_total"] += 1
        self.state = "closed"
        self._worker.ended(self)

    def _refuse(self, why: str) -> None:
        """End the flow with a reset to the client, and to whatever stands on the other side."""
        if self.state == "closed":
            return
        if self._relay is not None:
            self.why = f"{self.why}; {why}"
            self._relay.fail()
            return
        self.why = why
        self.state = "closed"
        self._stop_timer()
        if self._connection is not None:
            self._connection.on_dead = None
            self._connection.close()
        if self._dial is not None:
            self._dial.close()
        abort(self.client)
        self._worker.loop.close(self.client)
        self._worker.counts["reset_total"] += 1
        self._worker.ended(self)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- looked at from outside

    def bytes(self) -> tuple[int, int]:
        """Return payload bytes (towards the client, from the client)."""
        relay = self._relay
        if relay is None:
            return 0, len(self._early)
        return relay.near.sent, relay.near.received + self._counted[1]

    def moved(self) -> tuple[int, int]:
        """Return payload bytes received so far (from the server, from the client)."""
        relay = self._relay
        return (0, 0) if relay is None else (relay.far.received, relay.near.received)

    @property
    def recent(self) -> int:
        """Bytes carried between the last two looks."""
        return 0 if self._bonding is None else self._bonding.recent

    def progress(self) -> int:
        """Return the bytes carried since the last call, 0 if too few to matter."""
        return 0 if self._bonding is None or self._relay is None else self._bonding.progress(self._relay)

    def look(self, now: float) -> None:
        """Look at this connection's subflows, and at whether one of them holds the others back."""
        if self._bonding is not None:
            self._bonding.look(self.decision, now)

    def resteer(self) -> None:
        """Follow the rules of now, where they still have this connection converted."""
        bonding, policy = self._bonding, self._worker.policy
        if bonding is None or policy is None or self.state != "relaying":
            return
        decision = policy.decide(self.key)
        if decision.path == "converted":
            self.decision, self.why = replace(decision, gateway=bonding.connection.gateway), decision.why
            bonding.follow(decision.plan, decision.uplinks)

    def reconcile(self) -> None:
        """Bring the subflows to what the uplinks allow now."""
        if self._connection is not None and self.state != "closed":
            self._connection.reconcile()

    def sweep(self, now: float) -> None:
        """End the flow if it was idle, or half closed and idle, for too long; look at its subflows."""
        relay = self._relay
        if relay is None:
            return
        total = relay.near.received + relay.far.received
        if total != self._counted[0]:
            self._counted = (total, self._counted[1])
            self._idle_since = now
        limits = self._worker.limits
        idle = now - self._idle_since
        if idle > limits.idle_s or (relay.half_closed_at is not None and idle > limits.half_closed_s):
            self._refuse("idle for too long")
        elif self._connection is not None:
            self._connection.paths.observe(now)
            self._connection.reconcile()

    def document(self, now: float) -> FlowDocument:
        """Return the flow as the contract's `flows --json` entry."""
        gateway = self.decision.gateway
        return cpe_flow(
            identity={"id": str(self.id), "client": self.key.client, "client_port": self.key.client_port,
                      "server": self.key.server, "server_port": self.key.server_port,
                      "domain": self.key.domain, "domain_source": self.key.domain_source},
            path=self.path,
            gateway=gateway.name if self.path == "converted" and gateway is not None else None,
            rule=self.decision.rule,
            mode=self.decision.mode,
            why=self.why,
            state=self.state,
            transferred=self.bytes(),
            paths=None if self._connection is None else self._connection.paths,
            kept_off=self._worker.steering.kept(self.id),
            direct_slot=None if self._dial is None else self._dial.slot,
            uplinks=self._worker.uplinks,
            started=time.time() - (now - self._started),
        )  # fmt: skip

    def timeline(self) -> list[FlowDocument]:
        """Return what happened to the flow's subflows."""
        paths = None if self._connection is None else self._connection.paths
        return [] if paths is None else timeline(paths, self._worker.uplinks, self._started)


def has_crossed(waited_s: float, shortest_s: float | None) -> bool:
    """Say whether what came so long after a request was under way before the request can have arrived."""
    return shortest_s is not None and waited_s < CROSSED_SHARE * shortest_s
