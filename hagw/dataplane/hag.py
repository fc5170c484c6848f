"""One HAG worker's shared state: customers, destination rules, listeners, echo responder, sessions."""

import math
import os
import socket
import time
from collections.abc import Callable, Mapping
from ipaddress import ip_network
from typing import Any, Final

from hagw.dataplane.busiest import Busiest
from hagw.dataplane.conversion import BadPeer, ConverterSession
from hagw.dataplane.customers import RETRY_S, Customer, Customers, Hindrance, Reading
from hagw.dataplane.echoes import Echoes
from hagw.dataplane.flows import ClosedFlows
from hagw.dataplane.hag_sockets import HagSockets
from hagw.dataplane.journal import Log
from hagw.dataplane.loop import ACCEPT_PAUSE_S, Loop
from hagw.dataplane.mptcp_socket import SubflowReader, convertible
from hagw.dataplane.notices import Notices
from hagw.dataplane.proven import ProvenAddresses
from hagw.dataplane.relay import BUFFER_BYTES, abort
from hagw.dataplane.servers import ServerMemory
from hagw.dataplane.strangers import Strangers, source_of
from hagw.dataplane.synack import SynAcks
from hagw.model.intent import FlowLimits
from hagw.model.snapshot import HagSnapshot

log = Log()
Report = Callable[[dict[str, Any]], None]

ACCEPTS_AN_EVENT: Final = 64
TICK_S: Final = 0.2
SWEEP_S: Final = 5.0
LINGERING_MAX: Final = 1_000  # told why they are refused, until they close; more are reset
CUSTOMERS_SHARE: Final = 0.5  # of `limits.flows_max` for one customer at most, where there are others
ERRORS_A_SECOND: Final = 50
SHORT_S: Final = 3.0
FULL_SHARE: Final = 0.95


class HagWorker:
    """Accepts converter connections and owns what they share. Single-threaded: everything runs in `loop`."""

    def __init__(self, loop: Loop, report: Report, proven: ProvenAddresses | None = None) -> None:
        self.loop = loop
        self.report = report
        self.reader = SubflowReader()
        self.convertible = convertible()
        self.view = memoryview(bytearray(BUFFER_BYTES))
        self.snapshot: HagSnapshot | None = None
        self.customers = Customers(loop)
        self.limits = FlowLimits()
        self.servers = ServerMemory()
        self.syn_acks = SynAcks()
        self.closed = ClosedFlows()
        self.sessions: dict[int, ConverterSession] = {}
        self.flowing: dict[int, ConverterSession] = {}  # those with a flow: nobody walks over thousands of warm ones
        self.pending: dict[str, int] = {}
        self.strangers: Strangers[ConverterSession] = Strangers()
        self.lingering = 0
        self.counts = {
            "flows_total": 0, "direct_total": 0, "reset_total": 0, "accept_errors": 0, "refused": 0, "malformed": 0,
            "not_authorised": 0, "slow": 0, "crowded": 0, "shut_out": 0, "unproven": 0,
        }  # fmt: skip
        self.bytes_down = 0
        self._busiest = Busiest()
        self.bytes_up = 0
        self._proven = proven
        self._short_at = -math.inf
        self._errors: dict[str, int] = {}
        self._errors_second = 0
        self._bad_peers = Notices(
            lambda **fields: log.warning("peer turned away", **fields),
            lambda **fields: log.warning("more peers turned away", **fields),
        )
        self._idle_peers = Notices(
            lambda **fields: log.info("idle connection ended", **fields),
            lambda **fields: log.info("more idle connections ended", **fields),
        )
        self._echoes = Echoes(loop, proven)
        self._sockets = HagSockets(loop, self._accept, self._echoes.answer)
        self.inherited: dict[str, socket.socket] = {}
        self._retired = False
        self._next_id = (os.getpid() << 32) + 1
        loop.call_in(SWEEP_S, self._sweep)
        loop.call_in(TICK_S, self._tick)

    # --- what the daemon says

    def apply(self, snapshot: HagSnapshot) -> None:
        """Work by a new snapshot; open the listeners with the first one."""
        self.snapshot = snapshot
        self.limits = snapshot.limits
        self.customers.apply(snapshot)
        self.servers.configure(snapshot.server_mptcp, tuple(ip_network(p) for p in snapshot.server_mptcp_prefixes))
        self._echoes.configure(self.customers, snapshot)
        self.syn_acks.open()
        if not self._retired:
            self._sockets.open(snapshot, self.inherited)
        for session in list(self.sessions.values()):
            if session.customer is not None and not self.customers.knows(session.customer):
                session.give_up("the customer was revoked")
            else:
                session.hold_to_rates()
        if snapshot.draining:
            for session in list(self.sessions.values()):
                session.dismiss("draining")

    def heard(self, gateway: str, at: float) -> None:
        """Nothing: a gateway has no gateway."""

    def take_elsewhere(self, flows: Mapping[str, int]) -> None:
        """Take how many connections customers with a limit have in other workers."""
        self.customers.take_elsewhere(flows)

    def stop_listening(self) -> None:
        """Accept nothing more. Subflows of living connections can then no longer join: only for the end."""
        self._sockets.close()

    def listeners(self) -> dict[str, socket.socket]:
        """Return the listening sockets by name, for a successor to take over."""
        return self._sockets.by_name()

    def retire(self) -> None:
        """A successor listens: only finish what there is. Warm connections stay: a request may be under way."""
        self._retired = True
        self.stop_listening()

    def is_idle(self) -> bool:
        """Whether nothing is left to finish."""
        return not self.sessions

    def close(self) -> None:
        """Reset whatever is left."""
        for session in list(self.sessions.values()):
            session.give_up("the gateway is stopping")
        self.syn_acks.close()

    def stats(self) -> dict[str, Any]:
        """Return the counters of the control protocol's pong."""
        live = [session.bytes() for session in self.flowing.values()]
        return {
            **self.counts,
            "flows_active": len(self.flowing),
            "warm": len(self.sessions) - len(self.flowing),
            "bytes_down": self.bytes_down + sum(down for down, _ in live),
            "bytes_up": self.bytes_up + sum(up for _, up in live),
            "strangers": len(self.strangers),
            "pending": sum(self.pending.values()),
            "pool": {},
            "listening": bool(self._sockets.by_name()),
        }

    def busiest(self, most: int) -> tuple[list[dict[str, Any]], int]:
        """Return the live flows that carry most, with rates since they were asked for last, and how many there are."""
        now = time.monotonic()
        chosen = self._busiest.choose({each.id: each.bytes() for each in self.flowing.values()}, most, now)
        told = [
            {**self.flowing[number].document(now), "down_bps": down, "up_bps": up}
            for number, (down, up) in chosen.items()
        ]
        return told, len(self.flowing)

    def flow(self, flow_id: str) -> dict[str, Any] | None:
        """Return a live or recent flow, None where it is not ours."""
        return next((flow for flow in self.flows(math.inf) if flow["id"] == flow_id), None)

    def flows(self, recent_s: float) -> list[dict[str, Any]]:
        """Return live flows and those that ended in the last `recent_s` seconds."""
        now = time.monotonic()
        live = [session.document(now) for session in self.flowing.values()]
        return [*live, *self.closed.recent(now, recent_s)]

    # --- what sessions ask

    def customer_of(self, value: bytes, source: str) -> Customer | None:
        """Return the customer whose valid cookie this is and who may come from `source`, else None."""
        return self.customers.of_cookie(value, source, time.time())

    @property
    def congestion_control(self) -> str:
        """The algorithm of the snapshot, for every socket we open or accept."""
        return self.snapshot.congestion_control if self.snapshot is not None else "cubic"

    def is_foreign(self, customer: Customer, address: str) -> bool:
        """Whether a customer that proves where it is was never seen at this address, and that counts here."""
        snapshot, proven = self.snapshot, self._proven
        if snapshot is None or proven is None:
            return False
        now = self.loop.now
        counts = snapshot.bind_cookies or (snapshot.bind_renewing and proven.is_bound(customer.name, now))
        return counts and proven.is_foreign(customer.name, address, now)

    @property
    def egress_families(self) -> tuple[int, ...]:
        """In which families customers leave from blocks of ports."""
        return () if self.snapshot is None else self.snapshot.egress_families

    @property
    def draining(self) -> bool:
        """Whether new flows are to go through another gateway."""
        return self.snapshot is not None and self.snapshot.draining

    def fell_short(self) -> None:
        """Note that we could not serve for want of something: customers hear of it with their next echoes."""
        self._short_at = self.loop.now

    def is_overloaded(self) -> bool:
        """Whether new flows had better go through another gateway, because of what we lack or soon will."""
        return self.loop.now - self._short_at < SHORT_S or len(self.sessions) >= FULL_SHARE * self.limits.flows_max

    def may_answer(self, source: str) -> bool:
        """Whether an error may still be answered to this source; a few a second, the rest is reset in silence."""
        second = int(self.loop.now)
        if second != self._errors_second:
            self._errors_second = second
            self._errors.clear()
        source = source_of(source)
        count = self._errors.get(source, 0) + 1
        self._errors[source] = count
        return count <= ERRORS_A_SECOND and self.may_linger()

    def may_linger(self) -> bool:
        """Whether one more may be told why it is refused, and kept until it closes."""
        return self.lingering < LINGERING_MAX

    def turned_away(self, source: str, kind: BadPeer, reason: str) -> None:
        """Have the log tell, sooner or later, of a peer that broke the protocol, has no right, or is too many."""
        if kind != "malformed":  # those are counted where they are found
            self.counts[kind.replace("-", "_")] += 1
        if kind != "crowded":
            self.strangers.failed(source, self.loop.now)
        self._bad_peers.note(source, kind, reason, self.loop.now)

    def ended_idle(self, source: str, reason: str) -> None:
        """Have the log tell, sooner or later, of a customer's connection that ended for want of use."""
        self._idle_peers.note(source, "idle", reason, self.loop.now)

    def admit(self, customer: Customer) -> Hindrance | None:
        """Count a new connection of a customer, to be opened; return why not, if so."""
        found = customer.hindrance(self.loop.now, self.limits.pending_per_customer)
        if found is None and self._holds_too_much(customer):
            customer.flows -= 1
            customer.pending -= 1
            found = Hindrance("it has its share of this gateway's connections", RETRY_S)
        if found is None:
            self.pending[customer.name] = customer.pending
        return found

    def _holds_too_much(self, customer: Customer) -> bool:
        return customer.flows > CUSTOMERS_SHARE * self.limits.flows_max and len(self.customers) > 1

    def settled(self, customer: Customer) -> None:
        """A pending server connection came to its end, one way or the other."""
        customer.pending -= 1
        if customer.pending:
            self.pending[customer.name] = customer.pending
        else:
            self.pending.pop(customer.name, None)

    def usage(self, acknowledged: str) -> dict[str, Any]:
        """Return what customers used since the reading before."""
        for session in self.flowing.values():
            session.account()
        return self.customers.usage(acknowledged, time.strftime("%Y-%m-%d", time.gmtime()))

    def last_readings(self) -> tuple[Reading, ...]:
        """Return what customers used that nobody has read; once all sessions are over."""
        return self.customers.last_reading(time.strftime("%Y-%m-%d", time.gmtime()))

    def ended(self, session: ConverterSession) -> None:
        """Forget a session and keep its record if it was a flow."""
        if self.sessions.pop(session.id, None) is None:
            return
        self.flowing.pop(session.id, None)
        if session.customer_flow and session.customer is not None:
            session.account()
            session.customer.flows -= 1
            down, up = session.bytes()
            self.bytes_down += down
            self.bytes_up += up
            now = time.monotonic()
            self.closed.add(now, session.document(now))

    # --- what comes, and what has to be done now and then

    def _accept(self, listener: socket.socket, _mask: int) -> None:
        for _ in range(ACCEPTS_AN_EVENT):
            try:
                client, peer = listener.accept()
            except BlockingIOError:
                return
            except OSError as why:
                self.counts["accept_errors"] += 1
                self.fell_short()
                self.turned_away("unknown", "crowded", f"cannot accept: {os.strerror(why.errno or 0)}")
                self.loop.pause(listener.fileno(), ACCEPT_PAUSE_S)
                return
            if len(self.sessions) >= self.limits.flows_max:
                self.counts["accept_errors"] += 1
                self.turned_away(peer[0], "crowded", "limits.flows_max reached")
                abort(client)
                client.close()
                continue
            if self.strangers.is_shut(peer[0], self.loop.now):
                self.counts["shut_out"] += 1
                abort(client)
                client.close()
                continue
            silent = self.strangers.surplus(peer[0])
            if silent is not None:
                self.counts["accept_errors"] += 1
                self.turned_away(silent.peer[0], "crowded", "made room for a newcomer")
                silent.give_up("made room for a newcomer")
            client.setblocking(False)
            session = ConverterSession(self, self._next_id, client, (peer[0], peer[1]))
            self._next_id += 1
            self.sessions[session.id] = session

    def _tick(self) -> None:
        """Look at the connections that carry bulk, and at what servers answered."""
        self.loop.call_in(TICK_S, self._tick)
        self.syn_acks.look()
        self._echoes.tell_overload(self.is_overloaded())
        for session in list(self.flowing.values()):
            session.look(self.loop.now)

    def _sweep(self) -> None:
        self.loop.call_in(SWEEP_S, self._sweep)
        self.convertible = convertible()
        now = time.monotonic()
        for session in list(self.flowing.values()):
            session.sweep(now)
        self.servers.forget_old(now)
        self._bad_peers.summarise(now)
        self._idle_peers.summarise(now)
