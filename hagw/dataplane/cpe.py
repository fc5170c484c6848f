"""One CPE worker's shared state: snapshot, policy, pools, sessions, and the periodic looks at all of them."""

import math
import os
import socket
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Final

from hagw.dataplane import arrival
from hagw.dataplane.flows import ClosedFlows
from hagw.dataplane.gateway import Blame, GatewayConnection, Pool
from hagw.dataplane.journal import Log
from hagw.dataplane.loop import ACCEPT_PAUSE_S, EPOLLIN, Loop
from hagw.dataplane.mptcp_probe import look_at_lines
from hagw.dataplane.mptcp_socket import SO_RCVBUFFORCE, SubflowReader
from hagw.dataplane.naming import SERVER_FIRST_PORTS, NameWait, peek
from hagw.dataplane.notices import Notices
from hagw.dataplane.paths import Paths
from hagw.dataplane.ports import LineCounters, SubflowControl, SubflowNews
from hagw.dataplane.relay import BUFFER_BYTES, abort
from hagw.dataplane.session import CpeSession
from hagw.dataplane.steering import Steering
from hagw.dataplane.subflow_watch import SubflowWatch
from hagw.dataplane.trial import Trial
from hagw.dataplane.upkeep import Upkeep
from hagw.dataplane.uplink_table import UplinkTable
from hagw.health.capacity import CapacityBook
from hagw.health.noharm import Withheld, known_to_harm
from hagw.health.stripping import MptcpBook, MptcpVerdict
from hagw.model.flow import FlowKey, by_dns
from hagw.model.ids import PORT_TPROXY, PORT_TRIAL, TRIAL_WAYS
from hagw.model.intent import FlowLimits, PoolIntent
from hagw.model.snapshot import CpeSnapshot, GatewayView
from hagw.policy.decide import Policy, Rules
from hagw.policy.first_bytes import OTHER, Named, read
from hagw.policy.modes.plan import SteerPlan
from hagw.policy.names import Learnt, NameBook

log = Log()
Report = Callable[[dict[str, Any]], None]

IP_TRANSPARENT: Final = 19
IPV6_TRANSPARENT: Final = 75
LAN_WINDOW_BYTES: Final = 512 * 1024  # doubled by the kernel: 1 Gbit/s at 4 ms
ACCEPTS_AN_EVENT: Final = 64
BACKLOG: Final = 4096
FRESH_S: Final = 1.2
TROUBLE_RETRY_S: Final = 3.0
ANSWERED_EVERY_S: Final = 1.0
SPARED_MIN_S: Final = 1.0
SPARED_MAX_S: Final = 60.0  # whatever a gateway asks for
GATEWAYS_A_FLOW: Final = 3  # tried one after the other, each for OPEN_TIMEOUT_S at most
TICK_S: Final = 0.2
BULK_A_TICK: Final = 64
TEND_S: Final = 2.0
SWEEP_S: Final = 5.0
URGENT_SESSIONS: Final = 64


class CpeWorker:
    """Accepts intercepted connections and owns what they share. Single-threaded: everything runs in `loop`."""

    def __init__(
        self,
        loop: Loop,
        control: SubflowControl,
        report: Report,
        news: SubflowNews | None = None,
        counters: LineCounters | None = None,
    ) -> None:
        self.loop = loop
        self.subflows = SubflowWatch(loop, news)
        self.control = control
        self.report = report
        self.reader = SubflowReader()
        self.view = memoryview(bytearray(BUFFER_BYTES))
        self.uplinks = UplinkTable()
        self.snapshot: CpeSnapshot | None = None
        self.policy: Policy | None = None
        self._rules = Rules()
        self._names = NameBook()
        self._waiting: set[NameWait] = set()
        self.pool_intent = PoolIntent()
        self.limits = FlowLimits()
        self.congestion_control = "cubic"
        self.capacities = CapacityBook()
        self.mptcp = MptcpBook()
        self.upkeep = Upkeep()
        self.steering = Steering(self, counters)
        self.closed = ClosedFlows()
        self.sessions: dict[int, CpeSession] = {}
        self.counts = {
            "flows_total": 0, "direct_total": 0, "reset_total": 0, "accept_errors": 0, "refused": 0, "malformed": 0,
        }  # fmt: skip
        self.bytes_down = 0
        self.bytes_up = 0
        self._pools: dict[tuple[str, SteerPlan], Pool] = {}
        self._heard: dict[str, float] = {}
        self._answered: dict[str, float] = {}
        self._trouble: dict[str, tuple[float, str]] = {}
        self._spared: dict[str, float] = {}  # gateways that asked to be left alone, and until when
        self._violations = Notices(
            lambda **fields: log.warning("gateway broke the protocol", **fields),
            lambda **fields: log.warning("gateways broke the protocol more often", **fields),
        )
        self._listeners: dict[str, socket.socket] = {}
        self.inherited: dict[str, socket.socket] = {}
        self._retired = False
        self._next_id = (os.getpid() << 32) + 1
        for delay, look in ((TICK_S, self._tick), (TEND_S, self._tend), (SWEEP_S, self._sweep)):
            loop.call_in(delay, look)

    # --- what the daemon says

    def apply(self, snapshot: CpeSnapshot) -> None:
        """Work by a new snapshot; open the listeners with the first one."""
        changed = self.snapshot is None or self.snapshot.uplinks != snapshot.uplinks
        before_that = () if self.snapshot is None else self.snapshot.gateways
        was_shut = {gateway.name for gateway in before_that if gateway.blocked or gateway.draining}
        self.snapshot = snapshot
        among = sum(gateway.weight > 0 for gateway in snapshot.gateways)
        self.pool_intent = replace(snapshot.pool, size_min=-(-snapshot.pool.size_min // max(among, 1)))
        self.limits = snapshot.limits
        self.congestion_control = snapshot.congestion_control
        before, self.uplinks = self.uplinks, UplinkTable(snapshot.uplinks)
        for uplink in snapshot.uplinks:
            known = before.by_slot.get(uplink.slot, uplink)
            if (known.ifindex, known.address4) != (uplink.ifindex, uplink.address4):
                self.mptcp.forget(uplink.slot)
            else:
                self.mptcp.adopt(uplink.slot, MptcpVerdict(uplink.mptcp, uplink.mptcp_reason, uplink.mptcp_at))
            self.capacities.hint(uplink.name, "down", uplink.rate_down_bps)
            self.capacities.hint(uplink.name, "up", uplink.rate_up_bps)
        for learned in snapshot.learned:
            self.capacities.adopt(learned)
        for gateway in snapshot.gateways:
            if gateway.heard_at is not None:
                self._heard[gateway.name] = max(gateway.heard_at, self._heard.get(gateway.name, 0.0))
            if gateway.reach == "up":
                self._trouble.pop(gateway.name, None)
            if gateway.name in was_shut and not gateway.blocked and not gateway.draining:
                self._spared.pop(gateway.name, None)  # that is what it was about
        self._rebuild_policy()
        if changed:
            self._reconcile_paths()
        if not self._listeners and not self._retired:
            self._listen()

    def heard(self, gateway: str, at: float) -> None:
        """Note a proof of life of a gateway at monotonic time `at`."""
        if at > self._heard.get(gateway, 0.0):
            self._heard[gateway] = at
        trouble = self._trouble.get(gateway)
        if trouble is not None and at > trouble[0]:
            del self._trouble[gateway]
            self._rebuild_policy()

    def learn(self, learnt: Iterable[Learnt]) -> None:
        """Take names of servers: they stand in where a connection's first bytes tell none."""
        for each in learnt:
            self._names.adopt(each, self.loop.now)

    def stop_listening(self) -> None:
        """Accept nothing more; new connections of the LAN then go past us."""
        for sock in self._listeners.values():
            self.loop.close(sock)
        self._listeners.clear()

    def listeners(self) -> dict[str, socket.socket]:
        """Return the listening sockets by name, for a successor to take over."""
        return dict(self._listeners)

    def retire(self) -> None:
        """A successor listens: only finish what there is."""
        self._retired = True
        self.stop_listening()
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()

    def is_idle(self) -> bool:
        """Whether nothing is left to finish."""
        return not self.sessions and not self._waiting

    def close(self) -> None:
        """Reset whatever is left."""
        for waiting in self._waiting:
            waiting.give_up()
        self._waiting.clear()
        for session in list(self.sessions.values()):
            session.give_up("the gateway is stopping")
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()

    def stats(self) -> dict[str, Any]:
        """Return the counters of the control protocol's pong."""
        pools: dict[str, int] = {}
        for (gateway, _), pool in self._pools.items():
            pools[gateway] = pools.get(gateway, 0) + pool.ready()
        live = [session.bytes() for session in self.sessions.values()]
        return {
            **self.counts,
            "flows_active": len(self.sessions),
            "bytes_down": self.bytes_down + sum(down for down, _ in live),
            "bytes_up": self.bytes_up + sum(up for _, up in live),
            "pool": pools,
            "listening": bool(self._listeners),
            "learned": [asdict(view) for view in self.capacities.learned()],
            "kept_off_bytes": {self.uplinks.name(slot): size for slot, size in self.steering.kept_off.items()},
            "overflow": self.steering.document(),
            "upkeep_bytes": {self.uplinks.name(slot): size for slot, size in self.upkeep.by_slot.items()},
            "mptcp": {self.uplinks.name(slot): self.mptcp.document(slot) for slot in self.uplinks.by_slot},
        }

    def flows(self, recent_s: float) -> list[dict[str, Any]]:
        """Return live flows and those that ended in the last `recent_s` seconds."""
        now = time.monotonic()
        live = [session.document(now) for session in self.sessions.values()]
        return [*live, *self.closed.recent(now, recent_s)]

    def flow(self, flow_id: str) -> dict[str, Any] | None:
        """Return a live or recent flow with the timeline of its subflows, None where it is not ours."""
        session = self.sessions.get(int(flow_id)) if flow_id.isdecimal() else None
        if session is not None:
            return {**session.document(time.monotonic()), "timeline": session.timeline()}
        return self.closed.record(flow_id)

    # --- what sessions ask

    def pool(self, gateway: GatewayView, uplinks: tuple[int, ...], plan: SteerPlan) -> Pool:
        """Return the pool of warm connections to a gateway over a set of uplinks, best first, as a mode wants them."""
        key = (gateway.name, plan)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = Pool(self, gateway, uplinks, plan)
        pool.uplinks = uplinks
        return pool

    def presumed_harmful(self, allowed: Collection[int], paths: Paths) -> tuple[Withheld, ...]:
        """Return the lines that a new connection had better begin without."""
        usable = [self.uplinks.name(slot) for slot in sorted(allowed) if paths.local(slot, self.uplinks) is not None]
        return known_to_harm(self.capacities, usable, self.loop.now)

    def is_fresh(self, gateway: str) -> bool:
        """Whether the gateway proved to be alive so recently that early data may be sent unasked."""
        return self.loop.now - self._heard.get(gateway, 0.0) < FRESH_S

    def heard_since(self, gateway: str, since: float) -> bool:
        """Whether the gateway was heard of after monotonic time `since`."""
        return self._heard.get(gateway, 0.0) > since

    def may_open(self, gateway: GatewayView) -> bool:
        """Whether opening connections to the gateway makes sense now."""
        return gateway.name not in self._trouble and gateway.name not in self._spared

    def gateway_answered(self, gateway: str) -> None:
        """A gateway accepted a connection or a request: the daemon hears of it once a second at most."""
        now = time.monotonic()
        if now - self._answered.get(gateway, 0.0) >= ANSWERED_EVERY_S:
            self._answered[gateway] = now
            self.report({"event": "gateway-answered", "gateway": gateway, "rtt_ms": None})

    def blame(self, connection: GatewayConnection, reason: str, blame: Blame) -> None:
        """Judge a connection that ended before a flow had it: is it the gateway's fault?"""
        silent = blame == "unclear" and not self.heard_since(connection.gateway.name, connection.opened_at)
        if blame == "gateway" or silent:
            self.gateway_trouble(connection.gateway.name, reason)

    def gateway_trouble(self, gateway: str, reason: str) -> None:
        """A gateway failed us: new flows go elsewhere until it is heard of, or for a few seconds."""
        now = time.monotonic()
        if gateway not in self._trouble:
            self._trouble[gateway] = (now, reason)
            self._rebuild_policy()
            self.loop.call_in(TROUBLE_RETRY_S, lambda: self._retry(gateway, now))
        self.report({"event": "gateway-failed", "gateway": gateway, "reason": reason})

    def address_unproven(self, gateway: str) -> None:
        """A gateway does not know yet that we are where our cookie comes from: the daemon shows it; nobody's fault."""
        self.report({"event": "address-unproven", "gateway": gateway})

    def gateway_overloaded(self, gateway: str, retry_after_s: float) -> None:
        """A gateway takes nothing more for a while: new flows go elsewhere; it is not at fault."""
        until = time.monotonic() + min(max(retry_after_s, SPARED_MIN_S), SPARED_MAX_S)
        is_news = gateway not in self._spared
        self._spared[gateway] = max(until, self._spared.get(gateway, 0.0))
        self.loop.call_at(until, lambda: self._spare_no_more(gateway))
        if is_news:
            self._rebuild_policy()

    def another_gateway(self, session: CpeSession, tried: Collection[str]) -> GatewayView | None:
        """Return where a flow goes that the gateways `tried` did not take, None = direct."""
        if self.policy is None or len(tried) >= GATEWAYS_A_FLOW:
            return None
        return self.policy.pool.another(session.key.client, session.key.server, tried)

    def protocol_broken(self, connection: GatewayConnection, reason: str) -> None:
        """What answers at a gateway's address does not speak Convert: count it and have the log tell of it."""
        self.counts["malformed"] += 1
        self._violations.note(connection.remote, "malformed", f"{connection.gateway.name}: {reason}", self.loop.now)

    def destination_refused(self, address: str, port: int, reason: str) -> None:
        """A server refused or is silent: for a while its clients shall see that for themselves."""
        self.counts["refused"] += 1
        self.report({"event": "destination-refused", "address": address, "port": port, "reason": reason})

    def ended(self, session: CpeSession) -> None:
        """Forget a session and keep its record."""
        if self.sessions.pop(session.id, None) is not None:
            down, up = session.bytes()
            self.bytes_down += down
            self.bytes_up += up
            now = time.monotonic()
            self.closed.add(now, session.document(now), session.timeline())
            self.steering.ended(session.id)

    def try_gateway(self, done: Callable[[str], None]) -> None:
        """Open a connection to the gateway like a flow without a rule would; say why it failed, "" = it did not."""
        decision = None if self.policy is None else self.policy.steered()[-1]
        if decision is None or decision.gateway is None:
            done("no gateway is to be tried" if decision is None else decision.why)
            return
        try:
            Trial(self, decision.gateway, decision.uplinks).done = done
        except OSError as why:
            done(f"cannot connect: {why.strerror}")

    # --- the listeners

    def _listen(self) -> None:
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            sock = self.inherited.pop(address, None) or _listening(family, address)
            self.loop.add(sock.fileno(), EPOLLIN, partial(self._accept, sock))
            self._listeners[address] = sock
        self._ask_arrivals()

    def _ask_arrivals(self) -> None:
        for listener in self._listeners.values():
            arrival.ask(listener, self._rules.index.needs_packet, self._rules.index.needs_interface)

    def _accept(self, listener: socket.socket, _mask: int) -> None:
        for _ in range(ACCEPTS_AN_EVENT):
            try:
                client, peer = listener.accept()
            except BlockingIOError:
                return
            except OSError:
                self.counts["accept_errors"] += 1  # out of descriptors, or gone before we came
                self.loop.pause(listener.fileno(), ACCEPT_PAUSE_S)
                return
            client.setblocking(False)
            server = client.getsockname()
            if server[1] == PORT_TRIAL and (peer[0], server[0]) in TRIAL_WAYS:
                self._answer_trial(client)
                continue
            busy = len(self.sessions) + len(self._waiting)
            if busy >= self.limits.flows_max or self.policy is None:
                self.counts["accept_errors"] += 1
                abort(client)
                client.close()
                continue
            self._take(self.policy, client, (peer[0], peer[1]), (server[0], server[1]))

    def _answer_trial(self, client: socket.socket) -> None:
        """The daemon came the LAN's way: tell whether a connection without a rule would be converted, and close."""

        def tell(failure: str) -> None:
            try:
                client.send((failure or "converted").encode())
            except OSError:
                pass  # it has given up
            client.close()

        self.try_gateway(tell)

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
            NameWait(self.loop, client, self.limits.first_bytes_s, partial(self._named, client, key)),
        )

    def _named(self, client: socket.socket, key: FlowKey, wait: NameWait, found: Named | None) -> None:
        self._waiting.discard(wait)
        self._begin(client, self.with_name(key, found))

    def with_name(self, key: FlowKey, found: Named | None) -> FlowKey:
        """Return a flow with the name its first bytes told, else with those that DNS told of its server."""
        if found is not None:
            return replace(key, domain=found.domain, domain_source=found.source)
        return by_dns(key, self._names.names(key.server, self.loop.now))

    def _begin(self, client: socket.socket, key: FlowKey) -> None:
        assert self.policy is not None
        session = CpeSession(self, self._next_id, client, key, self.policy.decide(key))
        self._next_id += 1
        self.counts["flows_total"] += 1
        self.sessions[session.id] = session
        session.start()

    # --- periodic looks

    def _tick(self) -> None:
        """Look at the connections that carry bulk: their bytes by uplink, and whether a line harms them."""
        self.loop.call_in(TICK_S, self._tick)
        busy = sorted(((s.progress(), s) for s in self.sessions.values()), key=lambda pair: pair[0], reverse=True)
        now = self.loop.now
        for progress, session in busy[:BULK_A_TICK]:
            if not progress:
                break
            session.look(now)

    def _tend(self) -> None:
        """Tend the pools; make the one for plain flows exist before a flow asks."""
        self.loop.call_in(TEND_S, self._tend)
        if self._retired:
            return
        look_at_lines(self)
        if self.policy is not None:
            wanted = {(d.uplinks, d.plan) for d in self.policy.steered() if d.gateway is not None and d.uplinks}
            for uplinks, plan in wanted:
                for gateway in self.policy.pool.all:
                    self.pool(gateway, uplinks, plan)
        for key, pool in list(self._pools.items()):
            if self.loop.now - pool.used_at > self.pool_intent.idle_s and not self._steers_to(key):
                pool.close()
                del self._pools[key]
            else:
                pool.tend()

    def _steers_to(self, key: tuple[str, SteerPlan]) -> bool:
        policy = self.policy
        return (
            policy is not None
            and any(gateway.name == key[0] for gateway in policy.pool.all)
            and any(d.gateway is not None and d.plan == key[1] for d in policy.steered())
        )

    def _sweep(self) -> None:
        """End what idles too long, and look at the subflows of what lives."""
        self.loop.call_in(SWEEP_S, self._sweep)
        now = time.monotonic()
        for session in list(self.sessions.values()):
            session.sweep(now)
        self._violations.summarise(now)

    def _reconcile_paths(self) -> None:
        """Uplinks changed: first the connections that carry most, then the rest bit by bit, then the pools."""
        sessions = sorted(self.sessions.values(), key=lambda s: s.recent, reverse=True)
        for session in sessions[:URGENT_SESSIONS]:
            session.reconcile()
        for session in sessions[URGENT_SESSIONS:]:
            self.loop.defer(session.reconcile)
        for pool in self._pools.values():
            for connection in pool.connections():
                self.loop.defer(connection.reconcile)

    def _retry(self, gateway: str, since: float) -> None:
        trouble = self._trouble.get(gateway)
        if trouble is not None and trouble[0] == since:
            del self._trouble[gateway]
            self._rebuild_policy()

    def _spare_no_more(self, gateway: str) -> None:
        if self._spared.get(gateway, math.inf) <= time.monotonic():
            del self._spared[gateway]
            self._rebuild_policy()

    def _seen(self, gateway: GatewayView) -> GatewayView:
        """Return a gateway as the snapshot has it and as our own connections met it."""
        if gateway.name in self._trouble:
            return replace(gateway, reach="down", reason=self._trouble[gateway.name][1])
        return replace(gateway, overloaded=True) if gateway.name in self._spared else gateway

    def _rebuild_policy(self) -> None:
        snapshot = self.snapshot
        if snapshot is None:
            return
        gateways = tuple(self._seen(gateway) for gateway in snapshot.gateways)
        rules = self._rules.of(snapshot)
        rules_changed = rules is not self._rules
        if rules_changed:
            self._rules = rules
            self._ask_arrivals()
        self.policy = Policy(replace(snapshot, gateways=gateways), rules)
        if rules_changed:
            for session in list(self.sessions.values()):
                self.loop.defer(session.resteer)
        by_name = {gateway.name: gateway for gateway in snapshot.gateways}
        for (name, plan), pool in list(self._pools.items()):
            if name in by_name and _is_same_service(pool.gateway, by_name[name]):
                pool.gateway = by_name[name]
            else:  # warm connections to what is not configured any more are good for nothing
                pool.close()
                del self._pools[name, plan]
        if self._listeners:
            self._tend_soon()

    def _tend_soon(self) -> None:
        for pool in self._pools.values():
            self.loop.defer(pool.refill)


def _listening(family: socket.AddressFamily, address: str) -> socket.socket:
    """Return a socket that intercepted connections come to. Raise OSError."""
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
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
    return sock


def _is_same_service(one: GatewayView, other: GatewayView) -> bool:
    """Say whether connections to the one are as good as connections to the other."""
    return (one.addresses, one.port, one.customer, one.key) == (other.addresses, other.port, other.customer, other.key)
