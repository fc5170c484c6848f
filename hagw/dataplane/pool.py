"""The pools of warm connections: pre-opened, authenticated, all subflows joined.

Pools are kept per gateway and plan of steering: a flow that may never use LTE must not sit on a connection with an
LTE subflow.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from hagw.dataplane.gateway import Blame, GatewayConnection, way_to
from hagw.model.intent import PoolIntent
from hagw.model.snapshot import GatewayView
from hagw.policy.decide import Policy
from hagw.policy.modes.plan import BOND, SteerPlan

if TYPE_CHECKING:
    from hagw.dataplane.cpe import CpeWorker

REFILL_BACKOFF_S: Final = 1.0
RENEWED_SHARE: Final = 4  # of a pool, one part of so many at once begins anew when another line is the best


class Pool:
    """Warm connections to one gateway over one set of uplinks.

    The size follows demand: `size_min` at rest, doubled (up to `size_max`) each time a flow finds it empty, halved
    again after a quiet minute.
    """

    def __init__(
        self, worker: "CpeWorker", gateway: GatewayView, uplinks: tuple[int, ...], plan: SteerPlan = BOND
    ) -> None:
        self._worker = worker
        self.gateway = gateway
        self.uplinks = uplinks
        self.plan = plan
        self.target = worker.pools.intent.size_min
        self.used_at = worker.loop.now
        self._ready: list[GatewayConnection] = []
        self._opening: set[GatewayConnection] = set()
        self._blocked_until = 0.0
        self._quiet_since = worker.loop.now

    def take(self) -> GatewayConnection | None:
        """Return a ready connection, best joined first, and open another in its place; None when there is none."""
        self.used_at = self._worker.loop.now
        best_line = self._best_line()
        while self._ready:
            ready = self._ready
            best = max(
                range(len(ready)), key=lambda i: (ready[i].paths.joined(), ready[i].paths.oldest() == best_line, i)
            )
            connection = self._ready.pop(best)
            if connection.state == "ready":
                connection.take()
                self._worker.loop.defer(self.refill)
                return connection
        self._quiet_since = self._worker.loop.now
        self.target = min(self.target * 2, self._worker.pools.intent.size_max)
        self._worker.loop.defer(self.refill)
        return None

    def refill(self) -> None:
        """Open connections until the target is met, unless the gateway just failed us."""
        if self._worker.loop.now < self._blocked_until or not self._worker.gateways.may_open(self.gateway):
            return
        while len(self._ready) + len(self._opening) < self.target:
            try:
                connection = GatewayConnection(self._worker, self.gateway, self.uplinks, self.plan)
            except OSError:
                self._blocked_until = self._worker.loop.now + REFILL_BACKOFF_S
                return
            connection.on_ready = self._became_ready
            connection.on_dead = self._died
            self._opening.add(connection)

    def ready(self) -> int:
        """Return how many connections a flow could take now."""
        return len(self._ready)

    def connections(self) -> list[GatewayConnection]:
        """Return the ready connections, for the path reconciler."""
        return list(self._ready)

    def tend(self) -> None:
        """Look after the pool every few seconds: retire the old, watch subflows, shrink, refill."""
        now = self._worker.loop.now
        intent = self._worker.pools.intent
        if now - self._quiet_since > 60.0 and self.target > intent.size_min:
            self.target = max(self.target // 2, intent.size_min)
            self._quiet_since = now
        surplus = len(self._ready) - self.target
        slower = self._slower()
        for index, connection in enumerate(list(self._ready)):
            if (
                now - connection.opened_at > intent.idle_s
                or index < surplus
                or connection in slower
                or self._is_outdone(connection)
            ):
                self._ready.remove(connection)
                connection.close()
            else:
                connection.paths.observe(now)
                connection.reconcile()
        self.refill()

    def _slower(self) -> list[GatewayConnection]:
        """Return the connections to begin anew, a part at a time, since another line is the best now.

        Where nothing is under way the kernel sends over a connection's oldest subflow, whatever its round trip. That
        is not the best line's any more once it was lost and came back, nor on a connection opened meanwhile.
        """
        best = self._best_line()
        slower = [c for c in self._ready if c.paths.is_multipath and c.paths.oldest() != best]
        return [] if best is None else slower[: max(1, len(self._ready) // RENEWED_SHARE)]

    def _best_line(self) -> int | None:
        """Return the slot that a connection would begin with now, None if it could not."""
        try:
            return way_to(self._worker, self.gateway, self.uplinks)[1]
        except OSError:
            return None

    def _is_outdone(self, connection: GatewayConnection) -> bool:
        """Say whether it fell back to plain TCP although another line would have let it be Multipath TCP."""
        book, uplinks = self._worker.mptcp, self._worker.uplinks
        return (
            not connection.paths.is_multipath
            and book.is_stripped(connection.initial)
            and any(connection.paths.local(s, uplinks) and not book.is_stripped(s) for s in connection.allowed)
        )

    def close(self) -> None:
        """Close everything not taken, and open nothing more: a refill may still be due."""
        self.target = 0
        for connection in [*self._ready, *self._opening]:
            connection.close()
        self._ready.clear()
        self._opening.clear()

    def _became_ready(self, connection: GatewayConnection) -> None:
        self._opening.discard(connection)
        self._ready.append(connection)
        self._worker.gateways.answered(self.gateway.name)
        self._worker.loop.call_in(0.1, lambda: self._look(connection))

    def _look(self, connection: GatewayConnection) -> None:
        """Learn early which subflows were established, so that `take` prefers complete connections."""
        if connection.state == "ready":
            connection.paths.observe(self._worker.loop.now)

    def _died(self, connection: GatewayConnection, reason: str, blame: Blame) -> None:
        self._opening.discard(connection)
        if connection in self._ready:
            self._ready.remove(connection)
        self._blocked_until = self._worker.loop.now + REFILL_BACKOFF_S
        self._worker.gateways.blame(connection, reason, blame)
        self._worker.loop.call_in(REFILL_BACKOFF_S + 0.05, self.refill)


class Pools:
    """A worker's pools. They make themselves: one exists from when a flow could ask for it until long after."""

    def __init__(self, worker: "CpeWorker") -> None:
        self._worker = worker
        self._by_key: dict[tuple[str, SteerPlan], Pool] = {}
        self.intent = PoolIntent()

    def follow(self, intent: PoolIntent, gateways: tuple[GatewayView, ...]) -> None:
        """Be as large as configured, the least size shared among the gateways in use."""
        among = sum(gateway.weight > 0 for gateway in gateways)
        self.intent = replace(intent, size_min=-(-intent.size_min // max(among, 1)))

    def of(self, gateway: GatewayView, uplinks: tuple[int, ...], plan: SteerPlan) -> Pool:
        """Return the pool of warm connections to a gateway over a set of uplinks, best first, as a mode wants them."""
        key = (gateway.name, plan)
        pool = self._by_key.get(key)
        if pool is None:
            pool = self._by_key[key] = Pool(self._worker, gateway, uplinks, plan)
        pool.uplinks = uplinks
        return pool

    def ready(self) -> dict[str, int]:
        """Return how many connections flows could take now, by gateway."""
        ready: dict[str, int] = {}
        for (gateway, _), pool in self._by_key.items():
            ready[gateway] = ready.get(gateway, 0) + pool.ready()
        return ready

    def tend(self, policy: Policy | None) -> None:
        """Look after all of them; have the ones that flows of now would ask for exist before they do."""
        if policy is not None:
            wanted = {way for d in policy.steered() if d.gateway is not None and d.uplinks for way in d.ways}
            for uplinks, plan in wanted:
                for gateway in policy.pool.all:
                    self.of(gateway, uplinks, plan)
        for key, pool in list(self._by_key.items()):
            if self._worker.loop.now - pool.used_at > self.intent.idle_s and not _is_steered_to(policy, key):
                pool.close()
                del self._by_key[key]
            else:
                pool.tend()

    def keep_only(self, gateways: Iterable[GatewayView]) -> None:
        """Close warm connections to what is not configured any more: they are good for nothing."""
        by_name = {gateway.name: gateway for gateway in gateways}
        for (name, plan), pool in list(self._by_key.items()):
            if name in by_name and _is_same_service(pool.gateway, by_name[name]):
                pool.gateway = by_name[name]
            else:
                pool.close()
                del self._by_key[name, plan]

    def refill_soon(self) -> None:
        """Fill up what is not full, each in a turn of its own."""
        for pool in self._by_key.values():
            self._worker.loop.defer(pool.refill)

    def reconcile_soon(self) -> None:
        """Bring warm connections' subflows to what the uplinks allow, each in a turn of its own."""
        for pool in self._by_key.values():
            for connection in pool.connections():
                self._worker.loop.defer(connection.reconcile)

    def close(self) -> None:
        """Close them all."""
        for pool in self._by_key.values():
            pool.close()
        self._by_key.clear()


def _is_steered_to(policy: Policy | None, key: tuple[str, SteerPlan]) -> bool:
    return (
        policy is not None
        and any(gateway.name == key[0] for gateway in policy.pool.all)
        and any(d.gateway is not None and key[1] in (d.plan, d.rival) for d in policy.steered())
    )


def _is_same_service(one: GatewayView, other: GatewayView) -> bool:
    """Say whether connections to the one are as good as connections to the other."""
    return (one.addresses, one.port, one.customer, one.key) == (other.addresses, other.port, other.customer, other.key)
