"""Which lines a relaying connection to a gateway uses: looked at while it carries bulk, and steered by its rule."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from hagw.dataplane.gateway import GatewayConnection
from hagw.dataplane.relay import Relay
from hagw.dataplane.sendqueue import SendQueue
from hagw.health.noharm import EARLY_BYTES, JAMMED_FOR_S, NoHarmGuard
from hagw.policy.decide import Decision
from hagw.policy.modes.plan import SteerPlan

if TYPE_CHECKING:
    from hagw.dataplane.cpe import CpeWorker

BULK_BYTES: Final = 16 * 1024
STALLED_LOOKS: Final = 15  # three seconds
SENDING_BYTES: Final = 256 * 1024  # what has sent that much, and so many times what it received, mostly sends
SENDING_RATIO: Final = 4
EARLY_LOOK_S: Final = 0.025  # at a connection that began without some line: should it have it?
EARLY_LOOKS: Final = 8

Moved = Callable[[], tuple[int, int]]
Decided = Callable[[], Decision | None]


class Bonding:
    """A flow's connection while it relays.

    `moved` tells payload bytes received (from the server, from the client), `decided` the decision, None = it is over.
    """

    __slots__ = (
        "_decided",
        "_guard",
        "_moved",
        "_number",
        "_queue",
        "_seen",
        "_stalled_looks",
        "_worker",
        "connection",
        "recent",
    )

    def __init__(
        self, worker: "CpeWorker", number: int, connection: GatewayConnection, moved: Moved, decided: Decided
    ) -> None:
        """Begin with the flow `number`, whose connection was granted."""
        self._worker = worker
        self._number = number
        self.connection = connection
        self._moved = moved
        self._decided = decided
        self._queue = SendQueue()
        self._queue.begin(connection.sock)
        self._guard = NoHarmGuard(worker.capacities, worker.loop.now, connection.presumed)
        self._seen = 0
        self._stalled_looks = 0
        self.recent = 0  # bytes between the last two looks
        worker.steering.began(number, connection, moved)

    def look_early(self, looks: int = EARLY_LOOKS) -> None:
        """Look more often than every connection is looked at, until it has shown what it is."""
        if not self.connection.presumed:
            return

        def look() -> None:
            if sum(self._moved()) >= EARLY_BYTES:
                self.look(self._worker.loop.now)
            elif looks > 1 and self._decided() is not None:
                self.look_early(looks - 1)

        self._worker.loop.call_in(EARLY_LOOK_S, look)

    def progress(self, relay: Relay) -> int:
        """Return the bytes carried since the last call, 0 if too few to matter.

        Bulk that stands still, as its lines take no more, matters for a while: one of them may be what holds it up.
        """
        total = sum(self._moved())
        self.recent = total - self._seen
        self._seen = total
        if self.recent >= BULK_BYTES:
            self._stalled_looks = STALLED_LOOKS
            return self.recent
        if relay.far.pending is None or not self._stalled_looks:
            return 0
        self._stalled_looks -= 1
        return max(self.recent, 1)

    def look(self, now: float) -> None:
        """Look at the connection's subflows, and at whether one of them holds the others back."""
        decision = self._decided()
        if decision is None:
            return
        paths = self.connection.paths
        paths.resting = False
        self._turn(decision)
        infos = paths.observe(now)
        self._queue.update(self.connection.sock, infos, now)
        uplinks = self._worker.uplinks
        withheld = self._guard.update(paths.samples(infos, uplinks), now)
        known = [(uplinks.slot_by_name[h.uplink], h) for h in withheld if h.uplink in uplinks.slot_by_name]
        slots = uplinks.spared() | {slot: held.reason for slot, held in known}
        if slots != paths.withheld:
            paths.withhold(slots, now, frozenset(slot for slot, held in known if held.jammed))
        if self._guard.looks_jammed:
            self._worker.loop.call_in(JAMMED_FOR_S, lambda: self.look(self._worker.loop.now))
        self.connection.reconcile()

    def follow(self, plan: SteerPlan, uplinks: tuple[int, ...]) -> None:
        """Be steered by another plan, over these lines."""
        self.connection.follow(plan, uplinks)
        self._worker.steering.began(self._number, self.connection, self._moved)

    def _turn(self, decision: Decision) -> None:
        """Have it carried as its rule says for flows that mostly send, or for the others."""
        plan = plan_of(decision, *self._moved())
        if plan != self.connection.plan and decision.sending is not None:
            self.follow(plan, plan.slots)


def plan_of(decision: Decision, down: int, up: int) -> SteerPlan:
    """Return how a flow is steered that received `down` bytes and sent `up`."""
    mostly_sends = up >= max(SENDING_BYTES, SENDING_RATIO * down)
    return decision.sending if mostly_sends and decision.sending is not None else decision.plan
