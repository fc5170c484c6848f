"""Pretend traffic of a CPE's worker: flows begin, are decided by the real policy, share the lines, and end."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import pi, sin
from typing import Any, Final

from hagw.dataplane.busiest import Busiest
from hagw.dataplane.flows import ClosedFlows
from hagw.health.stripping import FAILURES, JOIN_STRIPPED
from hagw.model.flow import FlowKey
from hagw.model.snapshot import CpeSnapshot, UplinkView
from hagw.policy.decide import Decision, Policy
from hagw.policy.modes.plan import TIERED
from hagw.pretend.hosts import HABITS, HOSTS, WEIGHTS, Habit
from hagw.pretend.lines import kind_of, rates

OVERHEAD: Final = 1.045  # IP bytes for a byte of payload
JOIN_S: Final = 0.12
EVENTS_MAX: Final = 32
POOL_READY: Final = 4
SMALL_BPS: Final = 1_500_000  # what wants less is not put on a metered line while another one works


@dataclass(slots=True)
class Flow:
    """One flow: payload bytes by slot, and what happened to its subflows (seconds, slot, event, reason)."""

    id: int
    key: FlowKey
    habit: Habit
    decision: Decision
    began: float
    ends: float
    wants: float = 1.0
    carried: dict[int, list[float]] = field(default_factory=dict)
    events: list[tuple[float, int, str, str]] = field(default_factory=list)
    using: tuple[int, ...] = ()
    kept_off: dict[int, float] = field(default_factory=dict)


class Traffic:
    """All flows of one of `workers` workers that together have about `flows` of them; `stripped` are lines' names."""

    def __init__(self, index: int, workers: int, flows: int, stripped: frozenset[str], now: float, wall: float) -> None:
        self._stripped = stripped
        self._random = random.Random(index)
        self._workers = workers
        self._wanted = max(1, flows // workers)
        self._next_id = (index + 1) * 1_000_000
        self._now, self._wall_ahead = now, wall - now
        self._policy: Policy | None = None
        self._views: dict[int, UplinkView] = {}
        self._flows: dict[int, Flow] = {}
        self._closed = ClosedFlows()
        self._busiest = Busiest()
        self._carried: dict[str, list[float]] = {}  # IP bytes
        self._kept_off: dict[str, float] = {}
        self._total = 0
        self._bytes = [0.0, 0.0]

    def apply(self, snapshot: CpeSnapshot) -> None:
        """Decide by this snapshot from now on."""
        self._policy = Policy(snapshot, self._policy.rules if self._policy is not None else None)
        self._views = {view.slot: view for view in snapshot.uplinks}

    def tick(self, now: float) -> None:
        """Have time pass until `now`."""
        passed_s = min(1.0, now - self._now)
        self._now = now
        if self._policy is None:
            return
        wave = 0.85 + 0.15 * sin(2 * pi * now / 41.0)
        while len(self._flows) < self._wanted * wave:
            self._begin(now)
        self._carry(now, passed_s)
        for flow in [flow for flow in self._flows.values() if now >= flow.ends]:
            del self._flows[flow.id]
            self._closed.add(now, self._document(flow, "closed"), {"timeline": self._timeline(flow)})

    def flows(self, recent_s: float) -> list[dict[str, Any]]:
        """Return the flows' documents."""
        live = [self._document(flow, "relaying") for flow in self._flows.values()]
        return [*live, *self._closed.recent(self._now, recent_s)]

    def busiest(self, most: int) -> tuple[list[dict[str, Any]], int]:
        """Return the flows that carry most, with their rates, and how many there are."""
        carried = {number: _carried(flow) for number, flow in self._flows.items()}
        told = [
            {**self._document(self._flows[number], "relaying"), "down_bps": down, "up_bps": up}
            for number, (down, up) in self._busiest.choose(carried, most, self._now).items()
        ]
        return told, len(self._flows)

    def flow(self, flow_id: str) -> dict[str, Any] | None:
        """Return a flow with its timeline."""
        found = self._flows.get(int(flow_id)) if flow_id.isdecimal() else None
        if found is not None:
            return {**self._document(found, "relaying"), "timeline": self._timeline(found)}
        return self._closed.record(flow_id)

    def stats(self) -> dict[str, Any]:
        """Return the counters of the control protocol's pong."""
        gateways = () if self._policy is None else self._policy.gateways
        names = {view.name: view for view in self._views.values()}
        return {
            "accepted": self._total,
            "flows_active": len(self._flows),
            "flows_total": self._total,
            "bytes_down": round(self._bytes[0]),
            "bytes_up": round(self._bytes[1]),
            "pool": {gateway.name: POOL_READY if gateway.reach == "up" else 0 for gateway in gateways},
            "listening": self._policy is not None,
            "learned": [],
            "kept_off_bytes": {name: round(size) for name, size in self._kept_off.items()},
            "upkeep_bytes": {name: round(self._now) for name in names},
            "mptcp": {name: self._mptcp(name) for name, view in names.items() if view.state == "up"},
            "pretend_bytes": {name: [round(down), round(up)] for name, (down, up) in self._carried.items()},
        }

    def _mptcp(self, name: str) -> dict[str, Any]:
        made = {"at": self._now, "capable_ok": self._total, "capable_failed": 0, "joins_lost": 0}
        if name in self._stripped:
            return {**made, "state": "join-stripped", "reason": JOIN_STRIPPED, "joins_ok": 0, "joins_failed": FAILURES}
        return {**made, "state": "ok", "reason": "", "joins_ok": self._total, "joins_failed": 0}

    def _begin(self, now: float) -> None:
        assert self._policy is not None
        habit = self._random.choices(HABITS, WEIGHTS)[0]
        client, mac = self._random.choice(HOSTS)
        self._next_id += 1
        self._total += 1
        key = FlowKey(
            client=client,
            client_port=self._random.randrange(32768, 60999),
            server=habit.server,
            server_port=habit.port,
            mac=mac,
            domain=habit.domain or None,
            domain_source="sni" if habit.domain else "none",
        )
        decision = self._policy.decide(key)
        lasts_s = 0.0 if decision.path == "blocked" else habit.lasts_s * self._random.uniform(0.2, 1.4)
        flow = Flow(self._next_id, key, habit, decision, now, now + lasts_s, self._random.uniform(0.4, 1.2))
        self._flows[flow.id] = flow

    def _carry(self, now: float, passed_s: float) -> None:
        """Have every flow carry its share of the lines that it may use."""
        most = {slot: self._capacity(view, now) for slot, view in self._views.items() if view.state == "up"}
        asked = {slot: [0.0, 0.0] for slot in most}
        wishes: list[tuple[Flow, float, float, float]] = []
        for flow in self._flows.values():
            self._choose(flow, most, now)
            total = sum(most[slot][0] for slot in flow.using)
            if total > 0:
                down, up = flow.habit.down_bps * flow.wants, flow.habit.up_bps * flow.wants
                wishes.append((flow, down, up, total))
                for slot in flow.using:
                    share = most[slot][0] / total
                    asked[slot][0] += down * share
                    asked[slot][1] += up * share
        scale = {
            slot: tuple(min(1.0, room / want) if want else 1.0 for room, want in zip(most[slot], wants, strict=True))
            for slot, wants in asked.items()
        }
        for flow, down, up, total in wishes:
            for slot in flow.using:
                share = most[slot][0] / total * passed_s / 8
                self._add(flow, slot, down * share * scale[slot][0], up * share * scale[slot][1])

    def _add(self, flow: Flow, slot: int, down: float, up: float) -> None:
        sums = flow.carried.setdefault(slot, [0.0, 0.0])
        line = self._carried.setdefault(self._views[slot].name, [0.0, 0.0])
        for way, size in enumerate((down, up)):
            sums[way] += size
            line[way] += size * OVERHEAD
            self._bytes[way] += size
        for spared, view in self._views.items():
            if view.metered and spared in flow.decision.uplinks and spared not in flow.using:
                flow.kept_off[spared] = flow.kept_off.get(spared, 0.0) + down + up
                self._kept_off[view.name] = self._kept_off.get(view.name, 0.0) + down + up

    def _choose(self, flow: Flow, most: Mapping[int, Any], now: float) -> None:
        """Bring the lines of a flow to what its decision and the lines' state allow."""
        able = [slot for slot in flow.decision.uplinks if slot in most]
        if flow.decision.path == "direct":
            able = able[:1] or list(most)[:1]
        elif flow.decision.mode in TIERED or flow.decision.mode == "smallest-delay":
            able = able[:1]
        cheap = [slot for slot in able if not self._spared(slot, flow)]
        using = tuple(cheap or able)
        if using == flow.using:
            return
        for slot in flow.using:
            if slot not in using:
                view = self._views.get(slot)
                flow.events.append((now, slot, "withdrawn", "" if view is None else view.reason))
        for slot in using:
            if slot not in flow.using:
                flow.events += [(now, slot, "asked", ""), (now + JOIN_S, slot, "established", "")]
        del flow.events[:-EVENTS_MAX]
        flow.using = using

    def _spared(self, slot: int, flow: Flow) -> bool:
        """Say whether a line is left alone while another one can carry the flow."""
        view = self._views[slot]
        is_small = view.metered and flow.habit.down_bps + flow.habit.up_bps < SMALL_BPS
        return view.cap in ("standby", "throttle", "cut") or is_small

    def _capacity(self, view: UplinkView, now: float) -> tuple[float, float]:
        """Return this worker's share of what a line can carry as payload, in bit/s."""
        down, up = rates(kind_of(view), (view.rate_down_bps, view.rate_up_bps), now)
        return down / OVERHEAD / self._workers, up / OVERHEAD / self._workers

    def _document(self, flow: Flow, state: str) -> dict[str, Any]:
        decision = flow.decision
        views = {slot: view for slot, view in self._views.items() if slot in flow.carried}
        by_uplink = {views[s].name: _rounded(flow.carried[s]) for s in sorted(views)}
        return {
            "id": str(flow.id),
            "client": flow.key.client,
            "client_port": flow.key.client_port,
            "server": flow.key.server,
            "server_port": flow.key.server_port,
            "domain": flow.key.domain,
            "domain_source": flow.key.domain_source,
            "path": decision.path,
            "gateway": decision.gateway.name if decision.path == "converted" and decision.gateway else None,
            "rule": decision.rule,
            "mode": decision.mode,
            "why": decision.why,
            "state": state,
            "bytes_down": sum(way["down"] for way in by_uplink.values()),
            "bytes_up": sum(way["up"] for way in by_uplink.values()),
            "by_uplink": by_uplink,
            "costs": {view.name: {"cost": view.cost, "metered": view.metered} for view in views.values()},
            "kept_off": {self._views[s].name: round(size) for s, size in flow.kept_off.items() if s in self._views},
            "subflows": [] if decision.path != "converted" else [self._subflow(flow, slot) for slot in flow.using],
            "started_s": round(flow.began + self._wall_ahead, 3),
        }

    def _subflow(self, flow: Flow, slot: int) -> dict[str, Any]:
        view = self._views.get(slot)
        asked = max((at for at, where, event, _ in flow.events if where == slot and event == "asked"), default=0.0)
        state = "joining" if self._now - asked < JOIN_S else "established"
        name, rtt = (f"slot {slot}", None) if view is None else (view.name, view.rtt_ms)
        return {"uplink": name, "state": state, "backup": False, "rtt_ms": rtt}

    def _timeline(self, flow: Flow) -> list[dict[str, Any]]:
        return [
            {
                "at_s": round(at - flow.began, 3),
                "uplink": self._views[slot].name if slot in self._views else f"slot {slot}",
                "event": event,
                "reason": reason,
            }
            for at, slot, event, reason in flow.events
        ]


def _carried(flow: Flow) -> tuple[int, int]:
    return round(sum(down for down, _ in flow.carried.values())), round(sum(up for _, up in flow.carried.values()))


def _rounded(pair: list[float]) -> dict[str, int]:
    return {"down": round(pair[0]), "up": round(pair[1])}
