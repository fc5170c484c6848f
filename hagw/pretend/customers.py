"""Pretend traffic of a HAG's worker: customers' flows that come, carry and go."""

import random
from math import pi, sin
from typing import Any, Final

from hagw.dataplane.busiest import Busiest
from hagw.dataplane.flows import ClosedFlows
from hagw.model.snapshot import HagSnapshot
from hagw.pretend.hosts import HABITS, WEIGHTS, Habit

FLOWS_EACH: Final = 6  # of a customer, in one worker


class CustomerFlow:
    """One converted connection."""

    __slots__ = ("began", "client", "customer", "down", "ends", "habit", "id", "up")

    def __init__(self, number: int, customer: str, client: str, habit: Habit, began: float, ends: float) -> None:
        self.id = number
        self.customer = customer
        self.client = client
        self.habit = habit
        self.began = began
        self.ends = ends
        self.down = 0.0
        self.up = 0.0


class CustomerTraffic:
    """All flows of one worker's customers."""

    def __init__(self, index: int, now: float, wall: float) -> None:
        self._random = random.Random(1000 + index)
        self._index = index
        self._next_id = (index + 1) * 1_000_000
        self._now, self._wall_ahead = now, wall - now
        self._snapshot: HagSnapshot | None = None
        self._flows: dict[int, CustomerFlow] = {}
        self._closed = ClosedFlows()
        self._busiest = Busiest()
        self._used: dict[str, list[float]] = {}  # since the last reading: down, up, flows
        self._told: list[list[Any]] = []
        self._batch = 0
        self._total = 0
        self._bytes = [0.0, 0.0]

    def apply(self, snapshot: HagSnapshot) -> None:
        """Serve this snapshot's customers from now on."""
        self._snapshot = snapshot

    def tick(self, now: float) -> None:
        """Have time pass until `now`."""
        passed_s = min(1.0, now - self._now)
        self._now = now
        if self._snapshot is None:
            return
        self._fill(self._snapshot, now)
        wave = 0.6 + 0.4 * sin(2 * pi * now / 33.0)
        for flow in list(self._flows.values()):
            self._carry(flow, passed_s / 8 * wave)
            if now >= flow.ends:
                del self._flows[flow.id]
                self._closed.add(now, self._document(flow, "closed"))

    def flows(self, recent_s: float) -> list[dict[str, Any]]:
        """Return the flows' documents."""
        live = [self._document(flow, "relaying") for flow in self._flows.values()]
        return [*live, *self._closed.recent(self._now, recent_s)]

    def busiest(self, most: int) -> tuple[list[dict[str, Any]], int]:
        """Return the flows that carry most, with their rates, and how many there are."""
        carried = {number: (round(flow.down), round(flow.up)) for number, flow in self._flows.items()}
        told = [
            {**self._document(self._flows[number], "relaying"), "down_bps": down, "up_bps": up}
            for number, (down, up) in self._busiest.choose(carried, most, self._now).items()
        ]
        return told, len(self._flows)

    def flow(self, flow_id: str) -> dict[str, Any] | None:
        """Return a live or recent flow."""
        return next(({**flow, "timeline": []} for flow in self.flows(1e9) if flow["id"] == flow_id), None)

    def stats(self) -> dict[str, Any]:
        """Return the counters of the control protocol's pong."""
        return {
            "accepted": self._total,
            "flows_active": len(self._flows),
            "flows_total": self._total,
            "warm": 0 if self._snapshot is None else 3 * len(self._snapshot.customers),
            "bytes_down": round(self._bytes[0]),
            "bytes_up": round(self._bytes[1]),
            "strangers": 0,
            "pending": 0,
            "pool": {},
            "listening": self._snapshot is not None,
        }

    def usage(self, acknowledged: str) -> dict[str, Any]:
        """Return what customers used: the last reading again until it is acknowledged."""
        if acknowledged == self._name():
            self._told = []
        if not self._told and self._used:
            self._batch += 1
            self._told = [[name, *(round(each) for each in used)] for name, used in self._used.items()]
            self._used = {}
        return {"batch": self._name(), "day": "", "used": self._told, "live": self.live()}

    def live(self) -> dict[str, int]:
        """Return how many flows each customer has."""
        counts: dict[str, int] = {}
        for flow in self._flows.values():
            counts[flow.customer] = counts.get(flow.customer, 0) + 1
        return counts

    def _name(self) -> str:
        return f"pretend-{self._index}-{round(self._wall_ahead)}-{self._batch}"

    def _fill(self, snapshot: HagSnapshot, now: float) -> None:
        live = self.live()
        for number, customer in enumerate(snapshot.customers):
            wanted = 0 if customer.blocked or snapshot.draining else FLOWS_EACH
            for _ in range(wanted - live.get(customer.name, 0)):
                habit = self._random.choices(HABITS, WEIGHTS)[0]
                self._next_id += 1
                self._total += 1
                client = f"192.0.2.{10 + number % 200}"
                lasts_s = habit.lasts_s * self._random.uniform(0.3, 1.5)
                flow = CustomerFlow(self._next_id, customer.name, client, habit, now, now + lasts_s)
                self._flows[flow.id] = flow
                self._used.setdefault(customer.name, [0.0, 0.0, 0.0])[2] += 1

    def _carry(self, flow: CustomerFlow, bytes_a_bps: float) -> None:
        down, up = flow.habit.down_bps * bytes_a_bps, flow.habit.up_bps * bytes_a_bps
        flow.down += down
        flow.up += up
        used = self._used.setdefault(flow.customer, [0.0, 0.0, 0.0])
        used[0] += down
        used[1] += up
        self._bytes[0] += down
        self._bytes[1] += up

    def _document(self, flow: CustomerFlow, state: str) -> dict[str, Any]:
        return {
            "id": str(flow.id),
            "client": flow.client,
            "client_port": 40_000 + flow.id % 20_000,
            "server": flow.habit.server,
            "server_port": flow.habit.port,
            "domain": None,
            "path": "converted",
            "gateway": None,
            "rule": None,
            "mode": None,
            "why": f"customer {flow.customer}",
            "state": state,
            "bytes_down": round(flow.down),
            "bytes_up": round(flow.up),
            "by_uplink": {},
            "subflows": [],
            "started_s": round(flow.began + self._wall_ahead, 3),
        }
