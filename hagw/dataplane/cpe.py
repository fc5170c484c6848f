"""One CPE worker's shared state: snapshot, policy, pools, sessions, and the periodic looks at all of them."""

import os
import socket
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any, Final

from hagw.dataplane.allowance import Allowance
from hagw.dataplane.busiest import Busiest
from hagw.dataplane.flows import ClosedFlows
from hagw.dataplane.gateway_book import GatewayBook
from hagw.dataplane.intake import Intake
from hagw.dataplane.loop import Loop
from hagw.dataplane.mptcp_probe import look_at_lines
from hagw.dataplane.mptcp_socket import SubflowReader
from hagw.dataplane.paths import Paths
from hagw.dataplane.pool import Pools
from hagw.dataplane.ports import LineCounters, SubflowControl, SubflowNews
from hagw.dataplane.relay import BUFFER_BYTES
from hagw.dataplane.session import CpeSession
from hagw.dataplane.steering import Steering
from hagw.dataplane.subflow_watch import SubflowWatch
from hagw.dataplane.trial import Trial
from hagw.dataplane.upkeep import Upkeep
from hagw.dataplane.uplink_table import UplinkTable
from hagw.health.capacity import CapacityBook
from hagw.health.noharm import Withheld, known_to_harm
from hagw.health.stripping import MptcpBook, MptcpVerdict
from hagw.model.flow import FlowKey
from hagw.model.intent import FlowLimits
from hagw.model.snapshot import CpeSnapshot, GatewayView
from hagw.policy.decide import Policy, Rules
from hagw.policy.names import Learnt

Report = Callable[[dict[str, Any]], None]

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
        self.limits = FlowLimits()
        self.congestion_control = "cubic"
        self.capacities = CapacityBook()
        self.mptcp = MptcpBook()
        self.upkeep = Upkeep()
        self.steering = Steering(self, counters)
        self.closed = ClosedFlows()
        self.allowance = Allowance()
        self.sessions: dict[int, CpeSession] = {}
        self.counts = {"flows_total": 0, "direct_total": 0, "reset_total": 0, "refused": 0}
        self.bytes_down = 0
        self._busiest = Busiest()
        self.bytes_up = 0
        self.gateways = GatewayBook(loop, report, self._rebuild_policy)
        self.pools = Pools(self)
        self.intake = Intake(self, self._begin)
        self.inherited: dict[str, socket.socket] = {}
        self._retired = False
        self._next_id = (os.getpid() << 32) + 1
        for delay, look in ((TICK_S, self._tick), (TEND_S, self._tend), (SWEEP_S, self._sweep)):
            loop.call_in(delay, look)

    # --- what the daemon says

    def apply(self, snapshot: CpeSnapshot) -> None:
        """Work by a new snapshot; open the listeners with the first one."""
        changed = self.snapshot is None or self.snapshot.uplinks != snapshot.uplinks
        self.gateways.adopt(() if self.snapshot is None else self.snapshot.gateways, snapshot.gateways)
        self.snapshot = snapshot
        self.pools.follow(snapshot.pool, snapshot.gateways)
        self.limits = snapshot.limits
        self.allowance.apply(snapshot)
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
        self._rebuild_policy()
        if changed:
            self._reconcile_paths()
        if not self._retired:
            self.intake.open(self.inherited)

    def take_elsewhere(self, flows: Mapping[str, int]) -> None:
        """Take how many flows the other workers have through each gateway."""
        self.allowance.elsewhere = flows

    def learn(self, learnt: Iterable[Learnt]) -> None:
        """Take names of servers: they stand in where a connection's first bytes tell none."""
        for each in learnt:
            self.intake.names.adopt(each, self.loop.now)

    def heard(self, gateway: str, at: float) -> None:
        """Note a proof of life of a gateway at monotonic time `at`."""
        self.gateways.heard(gateway, at)

    def stop_listening(self) -> None:
        """Accept nothing more; new connections of the LAN then go past us."""
        self.intake.close()

    def listeners(self) -> dict[str, socket.socket]:
        """Return the listening sockets by name, for a successor to take over."""
        return self.intake.sockets()

    def retire(self) -> None:
        """A successor listens: only finish what there is."""
        self._retired = True
        self.intake.close()
        self.pools.close()

    def is_idle(self) -> bool:
        """Whether nothing is left to finish."""
        return not self.sessions and not self.intake.waiting()

    def close(self) -> None:
        """Reset whatever is left."""
        self.intake.give_up_waiting()
        for session in list(self.sessions.values()):
            session.give_up("the gateway is stopping")
        self.pools.close()

    def stats(self) -> dict[str, Any]:
        """Return the counters of the control protocol's pong."""
        live = [session.bytes() for session in self.sessions.values()]
        return {
            **self.counts,
            "accept_errors": self.intake.accept_errors,
            "malformed": self.gateways.malformed,
            "flows_active": len(self.sessions),
            "bytes_down": self.bytes_down + sum(down for down, _ in live),
            "bytes_up": self.bytes_up + sum(up for _, up in live),
            "pool": self.pools.ready(),
            "through": {gateway: flows for gateway, flows in self.allowance.through.items() if flows},
            "listening": bool(self.intake.sockets()),
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

    def busiest(self, most: int) -> tuple[list[dict[str, Any]], int]:
        """Return the live flows that carry most, with rates since they were asked for last, and how many there are."""
        now = time.monotonic()
        chosen = self._busiest.choose({each.id: each.bytes() for each in self.sessions.values()}, most, now)
        told = [
            {**self.sessions[number].document(now), "down_bps": down, "up_bps": up}
            for number, (down, up) in chosen.items()
        ]
        return told, len(self.sessions)

    def flow(self, flow_id: str) -> dict[str, Any] | None:
        """Return a live or recent flow with the timeline of its subflows, None where it is not ours."""
        session = self.sessions.get(int(flow_id)) if flow_id.isdecimal() else None
        if session is not None:
            return {**session.document(time.monotonic()), **session.story()}
        return self.closed.record(flow_id)

    # --- what sessions ask

    def presumed_harmful(self, allowed: Collection[int], paths: Paths) -> tuple[Withheld, ...]:
        """Return the lines that a new connection had better begin without."""
        usable = [self.uplinks.name(slot) for slot in sorted(allowed) if paths.local(slot, self.uplinks) is not None]
        return known_to_harm(self.capacities, usable, self.loop.now)

    def another_gateway(self, session: CpeSession, tried: Collection[str]) -> GatewayView | None:
        """Return where a flow goes that the gateways `tried` did not take, None = direct."""
        if self.policy is None or len(tried) >= GATEWAYS_A_FLOW:
            return None
        return self.policy.pool.another(session.key.client, session.key.server, tried)

    def destination_refused(self, address: str, port: int, reason: str) -> None:
        """A server refused or is silent: for a while its clients shall see that for themselves."""
        self.counts["refused"] += 1
        self.report({"event": "destination-refused", "address": address, "port": port, "reason": reason})

    def ended(self, session: CpeSession) -> None:
        """Forget a session and keep its record."""
        if self.sessions.pop(session.id, None) is not None:
            self.allowance.left(session.id)
            down, up = session.bytes()
            self.bytes_down += down
            self.bytes_up += up
            now = time.monotonic()
            self.closed.add(now, session.document(now), session.story())
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
        """Tend the pools, and look at lines that no connection has shown to carry Multipath TCP."""
        self.loop.call_in(TEND_S, self._tend)
        if self._retired:
            return
        look_at_lines(self)
        self.pools.tend(self.policy)

    def _sweep(self) -> None:
        """End what idles too long, and look at the subflows of what lives."""
        self.loop.call_in(SWEEP_S, self._sweep)
        now = time.monotonic()
        for session in list(self.sessions.values()):
            session.sweep(now)
        self.gateways.summarise(now)

    def _reconcile_paths(self) -> None:
        """Uplinks changed: first the connections that carry most, then the rest bit by bit, then the pools."""
        sessions = sorted(self.sessions.values(), key=lambda s: s.recent, reverse=True)
        for session in sessions[:URGENT_SESSIONS]:
            session.reconcile()
        for session in sessions[URGENT_SESSIONS:]:
            self.loop.defer(session.reconcile)
        self.pools.reconcile_soon()

    def _rebuild_policy(self) -> None:
        snapshot = self.snapshot
        if snapshot is None:
            return
        gateways = tuple(self.gateways.seen(gateway) for gateway in snapshot.gateways)
        rules = self._rules.of(snapshot)
        rules_changed = rules is not self._rules
        if rules_changed:
            self._rules = rules
            self.intake.follow(rules)
        self.policy = Policy(replace(snapshot, gateways=gateways), rules)
        if rules_changed:
            for session in list(self.sessions.values()):
                self.loop.defer(session.resteer)
        self.pools.keep_only(snapshot.gateways)
        if self.intake.sockets():
            self.pools.refill_soon()
