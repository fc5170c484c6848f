"""One intercepted LAN connection on the CPE, from accept to its end.

The life: decided -> opening (no warm connection was ready) -> asking (a `Request` is under way) -> relaying; or
dialing (direct) -> relaying. A request that failed is repeated elsewhere or direct only while nothing of it can have
been passed on. Otherwise the client gets a reset, never a request done twice.
"""

import socket
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal

from hagw.dataplane.bonding import Bonding
from hagw.dataplane.direct import DirectDial
from hagw.dataplane.flows import FlowDocument, cpe_flow, timeline
from hagw.dataplane.gateway import Blame, GatewayConnection
from hagw.dataplane.loop import EPOLLIN, EPOLLOUT
from hagw.dataplane.race import Race
from hagw.dataplane.relay import Relay, abort
from hagw.dataplane.request import Request
from hagw.model.flow import FlowKey
from hagw.model.snapshot import GatewayView
from hagw.policy.decide import Decision

if TYPE_CHECKING:
    from hagw.dataplane.cpe import CpeWorker

EARLY_MAX_BYTES: Final = 32 * 1024
KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 300), (socket.TCP_KEEPINTVL, 30), (socket.TCP_KEEPCNT, 4))

State = Literal["opening", "asking", "dialing", "relaying", "closed"]


class CpeSession:
    """One flow. Created by the accept loop, which then calls `start`."""

    __slots__ = (
        "_bonding", "_connection", "_counted", "_dial", "_early", "_eof", "_idle_since", "_relay", "_request",
        "_started", "_tried", "_watched", "_worker",
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
        self._request: Request | Race | None = None
        self._relay: Relay | None = None
        self._bonding: Bonding | None = None
        self._dial: DirectDial | None = None
        self._tried: tuple[str, ...] = ()
        self._early = bytearray()
        self._eof = False
        self._watched = False
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
        hindrance = self._worker.allowance.hindrance(gateway.name, self._worker.loop.now)
        if hindrance:
            self._go_elsewhere(hindrance)
            return
        pools = [self._worker.pools.of(gateway, uplinks, plan) for uplinks, plan in self.decision.ways]
        warm = [connection for pool in pools if (connection := pool.take()) is not None]
        if len(warm) > 1:
            self._race(gateway, warm)
            return
        if warm:
            self._connection = warm[0]
            self._ask(warm[0])
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
        self._worker.allowance.took(self.id, connection.gateway.name)
        fresh = self._worker.gateways.is_fresh(connection.gateway.name)
        if fresh and not self._watched:
            self._read_at_once()
        request = self._request = Request(self._worker, connection, self.key, self)
        if request.send(bytes(self._early)):
            self._watch_client(EPOLLIN if fresh and not self._eof and not request.unsent else 0)
            request.watch(fresh)

    def _race(self, gateway: GatewayView, connections: list[GatewayConnection]) -> None:
        """Ask over all of them; what the client says waits for the first answer."""
        self.state = "asking"
        race = self._request = Race(self._worker, connections, self.key, self)
        if race.start(self._worker.gateways.is_fresh(gateway.name)):
            self._watch_client(0 if self._eof else EPOLLIN)

    def _read_at_once(self) -> None:
        try:
            data = self.client.recv(EARLY_MAX_BYTES)
        except OSError:
            return  # nothing yet; an error shows again when the socket is watched
        self._eof = not data
        self._early += data

    def acknowledged(self) -> None:
        """The gateway has the Connect: let the client talk."""
        self._watch_client(EPOLLIN)

    def granted(self, connection: GatewayConnection, unsent: bytes, first: bytes) -> None:
        """The server answered: relay."""
        if isinstance(self._request, Race):
            self._connection, unsent = connection, bytes(self._early)
            self.decision = replace(self.decision, plan=connection.plan)
            self.why = f"{self.why}; {self._worker.uplinks.name(connection.initial)} was first"
        self._worker.gateways.heard(connection.gateway.name, self._worker.loop.now)
        self._worker.gateways.answered(connection.gateway.name)
        for option, value in KEEPALIVE:
            connection.sock.setsockopt(socket.IPPROTO_TCP, option, value)
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._bonding = Bonding(
            self._worker, self.id, connection, self.moved, lambda: self.decision if self.state == "relaying" else None
        )
        self._bonding.look_early()
        self._relay_with(connection.sock, EPOLLIN, to_far=unsent, to_near=first)

    def refused(self, why: str) -> None:
        """The client gets what it would have got without us."""
        self._refuse(why)

    def lost(self, connection: GatewayConnection, why: str, may_have_arrived: bool) -> None:
        """Go elsewhere if the client's data cannot have been passed on, else tell the client by a reset."""
        connection.close()
        self._connection = self._request = None
        if may_have_arrived:
            self._refuse(f"{connection.gateway.name}: {why}; its data may have arrived")
        else:
            self._go_elsewhere(f"{connection.gateway.name}: {why}")

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
            if self._request is not None:
                self._request.send_more(data)
                if self.state == "closed":
                    return  # it could not be sent on
        unsent = self._request is not None and self._request.unsent
        if self._eof or unsent or len(self._early) >= EARLY_MAX_BYTES:
            self._watch_client(0)

    # --- direct

    def _go_direct(self, why: str) -> None:
        """Connect to the server over the best uplink, with the client's data not yet passed on."""
        self.why = why if self.decision.path == "direct" else f"{self.decision.why}, but {why}"
        self.path = "direct"
        self.state = "dialing"
        self._worker.allowance.left(self.id)
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
        self._request = None
        self.state = "relaying"
        self._watch_client(0)
        self.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._counted = (len(to_near), len(self._early))
        relay = Relay(self._worker.loop, self._worker.view, self, self.client, far)
        self._relay = relay
        relay.start(near_watched=0, far_watched=far_watched, to_near=to_near, to_far=to_far, near_eof=self._eof)
        self._early = bytearray()

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
        if self._request is not None:
            self._request.cancel()
        if self._connection is not None:
            self._connection.on_dead = None
            self._connection.close()
        if self._dial is not None:
            self._dial.close()
        abort(self.client)
        self._worker.loop.close(self.client)
        self._worker.counts["reset_total"] += 1
        self._worker.ended(self)

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
            self._bonding.look(now)

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

    def story(self) -> FlowDocument:
        """Return what happened to the flow's subflows, and how it arrived, for who judges it anew."""
        paths = None if self._connection is None else self._connection.paths
        return {
            "timeline": [] if paths is None else timeline(paths, self._worker.uplinks, self._started),
            "arrived": {"dscp": self.key.dscp, "interface": self.key.interface, "mac": self.key.mac},
        }
