"""What the workers decide by: made of intent, facts, health and what the other ends said, and sent when it differs."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

from hagw.control.drain import DrainMark
from hagw.control.egress import EgressBook
from hagw.control.lines import Lines
from hagw.control.places import runtime_dir, state_dir
from hagw.control.ports import HealthPort
from hagw.control.snapshots import cpe_snapshot, decides_alike, hag_snapshot
from hagw.model.facts import Facts
from hagw.model.intent import CpeIntent, CustomerIntent, GatewayIntent, Intent, UplinkIntent
from hagw.model.snapshot import Snapshot
from hagw.model.told import Told

MEASURES_S = 2.0  # how stale a worker's view of RTTs may be


class Publisher:
    """Makes snapshots and hands them to `send`. Registry and control channels put into it what they know."""

    def __init__(self, health: HealthPort, lines: Lines, send: Callable[[Snapshot], None]) -> None:
        self._health = health
        self._lines = lines
        self._send = send
        self.drain_mark = DrainMark(runtime_dir() / "draining")
        self._egress = EgressBook(state_dir())
        self.registered: tuple[CustomerIntent, ...] = ()
        self.enrolled: Mapping[str, tuple[str, bytes]] = {}  # names and keys by gateway, where the intent has none
        self._told: Mapping[str, Told] = {}
        self.published: Snapshot | None = None
        self._published_at = 0.0
        self.switched_to = 0  # the first snapshot made by the present intent

    def take_told(self, told: Mapping[str, Told]) -> bool:
        """Take what gateways say over their control channels; return whether they want to be asked otherwise."""
        before = [(x.probe_port, x.probing) for x in self._told.values()]
        self._told = told
        return before != [(x.probe_port, x.probing) for x in told.values()]

    def gateways(self, intent: CpeIntent) -> tuple[GatewayIntent, ...]:
        """Return the gateways that we are a customer of."""
        known = (gateway if gateway.key else self._as_enrolled(gateway) for gateway in intent.gateways)
        return tuple(
            replace(gateway, probe_port=self._told.get(gateway.name, Told()).probe_port or gateway.probe_port)
            for gateway in known
            if gateway.key
        )

    def uplinks(self, intent: CpeIntent) -> tuple[UplinkIntent, ...]:
        """Return the lines, asked gently where a gateway wants that."""
        if all(told.probing == "normal" for told in self._told.values()):
            return intent.uplinks
        return tuple(replace(uplink, probing="gentle") for uplink in intent.uplinks)

    def would_publish(self, intent: CpeIntent, facts: Facts, workers: int) -> Snapshot:
        """Return what workers would decide by if this were in force, as generation 0; nothing is kept of it.

        There is no such look at a HAG's: making it assigns ports to customers, on the disk too.
        """
        return self._snapshot(intent, facts, workers)

    def publish(self, intent: Intent, facts: Facts, workers: int, *, is_new: bool = False) -> None:
        """Send a new snapshot if it decides otherwise, or if its measurements grew stale."""
        now = asyncio.get_running_loop().time()
        snapshot = self._snapshot(intent, facts, workers)
        before = self.published
        is_stale = now - self._published_at >= MEASURES_S
        is_known = before is not None and (
            snapshot == replace(before, generation=0) if is_stale else decides_alike(snapshot, before)
        )
        if is_known and not is_new:
            return
        # Grows across daemon restarts too: an adopted worker has seen the generations of our predecessor.
        generation = max(int(now * 100), 0 if before is None else before.generation + 1)
        self.published, self._published_at = replace(snapshot, generation=generation), now
        self._send(self.published)
        if is_new:
            self.switched_to = generation

    def _as_enrolled(self, gateway: GatewayIntent) -> GatewayIntent:
        customer, key = self.enrolled.get(gateway.name, ("", b""))
        return replace(gateway, customer=customer, key=key)

    def _snapshot(self, intent: Intent, facts: Facts, workers: int) -> Snapshot:
        if isinstance(intent, CpeIntent):
            return cpe_snapshot(
                replace(intent, gateways=self.gateways(intent)),
                facts,
                self._health.uplinks(),
                self._health.gateways(),
                {gateway.name: self._health.heard_at(gateway.name) for gateway in intent.gateways},
                self._lines.mptcp,
                self._lines.learned,
                self._told,
                workers,
            )
        names = tuple({each.name: None for each in (*intent.customers, *self.registered)})
        blocks = self._egress.of(names, intent.egress)
        draining = self.drain_mark.is_set()
        return hag_snapshot(intent, facts, self.registered, workers, draining=draining, egress=blocks)
