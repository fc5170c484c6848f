"""The customers as a HAG worker knows them: whose cookie it is, what each may reach, what each holds."""

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any, Final

from hagw.convert import cookie
from hagw.dataplane.egress import Exit
from hagw.dataplane.fairness import Crowd, Share
from hagw.dataplane.loop import Loop
from hagw.dataplane.meter import Meter
from hagw.model.intent import CustomerLimits, IPAddress, IPNetwork
from hagw.model.snapshot import CustomerView, HagSnapshot
from hagw.pmf.responder import EchoCustomer
from hagw.policy.destinations import DestinationRules

NOBODY: Final = CustomerView("", "")


BURST_S: Final = 2.0  # new connections that a customer may save up
RETRY_S: Final = 1
BLOCKED_RETRY_S: Final = 5  # a CPE with a control channel hears at once that it may again, others ask now and then


@dataclass(frozen=True, slots=True)
class Hindrance:
    """Why a customer gets no new connection now, and when it may try again."""

    reason: str
    retry_s: int


class Customer:
    """One customer: its view parsed, and what it holds here, which lives on when the view changes.

    `elsewhere` counts its connections in the gateway's other workers, as the daemon last told.
    """

    __slots__ = (
        "_refilled_at", "_share", "_tokens", "down", "elsewhere", "exits", "flows", "keys", "name", "pending", "rules",
        "share", "sources", "up", "view", "warm",
    )  # fmt: skip

    def __init__(self, name: str, loop: Loop, crowd: Crowd) -> None:
        self.name = name
        self.share = Share(crowd)
        self.down, self.up = Meter(loop), Meter(loop)
        self.view = NOBODY
        self.keys: tuple[bytes, ...] = ()
        self.exits: dict[int, Exit] = {}
        self.sources: tuple[IPNetwork, ...] = ()
        self.rules = DestinationRules((), (), frozenset())
        self.pending = 0
        self.flows = 0
        self.warm = 0
        self.elsewhere = 0
        self._share = 1.0
        self._tokens = -1.0  # not filled yet
        self._refilled_at = 0.0

    def take(self, view: CustomerView, snapshot: HagSnapshot, own: frozenset[IPAddress]) -> None:
        """Work by another view, and by the gateway's own destinations."""
        self.view = view
        before = self.exits
        self.exits = {}
        for block in view.egress:
            version = 6 if ":" in block.address else 4
            kept = before.get(version)
            self.exits[version] = kept if kept is not None and kept.view == block else Exit(block)
        self.keys = tuple(bytes.fromhex(key) for key in (view.key, view.old_key) if key)
        self.sources = _networks(view.sources)
        self._share = 1.0 / snapshot.workers
        self.down.rate_bps, self.up.rate_bps = view.limits.rate_down_bps, view.limits.rate_up_bps
        self.rules = DestinationRules(
            allow=_networks((*snapshot.allow, *view.allow)), deny=_networks((*snapshot.deny, *view.deny)), own=own
        )

    def hindrance(self, now: float, pending_max: int) -> Hindrance | None:
        """Return why it gets no new connection, None = it does, and that is counted. `pending_max` is the gateway's."""
        limits = self.view.limits
        if self.view.blocked:
            return Hindrance(self.view.blocked, BLOCKED_RETRY_S)
        if limits.connections_max is not None and self.flows + self.elsewhere >= limits.connections_max:
            return Hindrance("its limit of connections is reached", RETRY_S)
        own_pending = pending_max if limits.pending_max is None else math.ceil(limits.pending_max * self._share)
        if self.pending >= min(own_pending, pending_max):
            return Hindrance("too many pending connections", RETRY_S)
        if limits.connects_per_s is not None and not self._takes_token(limits.connects_per_s * self._share, now):
            return Hindrance("its limit of new connections a second is reached", RETRY_S)
        self.flows += 1
        self.pending += 1
        return None

    def _takes_token(self, rate_per_s: float, now: float) -> bool:
        full = max(1.0, rate_per_s * BURST_S)
        filled = full if self._tokens < 0 else self._tokens + (now - self._refilled_at) * rate_per_s
        self._tokens, self._refilled_at = min(full, filled), now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


@dataclass(frozen=True, slots=True)
class Reading:
    """What customers used until some moment: name, bytes down and up, flows each."""

    name: str
    day: str
    used: list[list[str | int]]


class Customers:
    """All customers of the snapshot, by the tag of their cookies."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._crowd = Crowd(loop)
        self._by_tag: dict[bytes, Customer] = {}
        self._used: dict[str, list[int]] = {}
        self._instance = os.urandom(8).hex()
        self._batch = 0
        self._told: list[list[str | int]] = []
        self._told_day = ""

    def apply(self, snapshot: HagSnapshot) -> None:
        """Work by a new snapshot; what customers hold stays with those who are still there."""
        own = frozenset(ip_address(address) for address in snapshot.own_addresses)
        before, self._by_tag = self._by_tag, {}
        for view in snapshot.customers:
            tag = cookie.customer_tag(view.name)
            customer = before.get(tag) or Customer(view.name, self._loop, self._crowd)
            customer.take(view, snapshot, own)
            self._by_tag[tag] = customer

    def __len__(self) -> int:
        return len(self._by_tag)

    def knows(self, customer: Customer) -> bool:
        """Say whether it still is one."""
        return self._by_tag.get(cookie.customer_tag(customer.name)) is customer

    def echoes(self) -> Iterable[EchoCustomer]:
        """Return whose echoes are answered."""
        return [EchoCustomer(key, each.sources, each.name) for each in self._by_tag.values() for key in each.keys]

    def of_cookie(self, value: bytes, source: str, wall_time: float) -> Customer | None:
        """Return the customer whose valid cookie this is and who may come from `source`, else None."""
        presented = cookie.parse(value)
        found = None if presented is None else self._by_tag.get(presented.tag)
        if presented is None or found is None:
            return None
        if not any(cookie.verify(presented, key, found.name, wall_time) for key in found.keys):
            return None
        if found.sources and not any(ip_address(source) in network for network in found.sources):
            return None
        return found

    def use(self, name: str, down: int, up: int, flows: int) -> None:
        """Add to what a customer has used since the last reading."""
        if down or up or flows:
            used = self._used.setdefault(name, [0, 0, 0])
            used[0] += down
            used[1] += up
            used[2] += flows

    def usage(self, acknowledged: str, day: str) -> dict[str, Any]:
        """Return a reading: the last one again until it is acknowledged, as its reader may have died with it."""
        if acknowledged == self._name():
            self._told = []
        if not self._told and self._used:
            self._batch += 1
            self._told = [[name, *counts] for name, counts in self._used.items()]
            self._told_day = day
            self._used = {}
        live = {each.name: each.flows for each in self._by_tag.values() if each.flows and _shares(each.view.limits)}
        return {"batch": self._name(), "day": self._told_day, "used": self._told, "live": live}

    def last_reading(self, day: str) -> tuple[Reading, ...]:
        """Return what no reader has acknowledged, by the names it would be read by: nobody will read it here."""
        told = Reading(self._name(), self._told_day, self._told)
        rest = Reading(f"{self._instance}-{self._batch + 1}", day, [[name, *c] for name, c in self._used.items()])
        accounted = {each.name for each in self._by_tag.values() if each.view.accounted}
        found = [Reading(r.name, r.day, [used for used in r.used if used[0] in accounted]) for r in (told, rest)]
        return tuple(reading for reading in found if reading.used)

    def take_elsewhere(self, flows: Mapping[str, int]) -> None:
        """Take how many connections customers with a limit have in other workers."""
        for each in self._by_tag.values():
            each.elsewhere = flows.get(each.name, 0)
            share = each.flows / (each.flows + each.elsewhere) if each.flows else 1.0
            each.down.share = each.up.share = share

    def _name(self) -> str:
        return f"{self._instance}-{self._batch}"


def _shares(limits: CustomerLimits) -> bool:
    """Say whether workers have to know of each other's connections to keep these limits."""
    return any(each is not None for each in (limits.connections_max, limits.rate_down_bps, limits.rate_up_bps))


def _networks(prefixes: Iterable[str]) -> tuple[IPNetwork, ...]:
    return tuple(ip_network(prefix) for prefix in prefixes)
