"""Opens a connection over one line alone, where the lines' own connections do not tell whether MP_CAPABLE passes it."""

from typing import TYPE_CHECKING, Final

from hagw.dataplane.gateway import Blame, GatewayConnection

if TYPE_CHECKING:
    from hagw.dataplane.cpe import CpeWorker

_SETTLE_S: Final = 0.2  # until what was sent ahead is acknowledged, or the fallback is known


def look_at_lines(worker: "CpeWorker") -> None:
    """Open what `hagw.health.stripping` wants opened; what comes of it is noted by the connection itself."""
    snapshot = worker.snapshot
    gateway = (
        next((g for g in snapshot.gateways if g.reach == "up" and worker.gateways.may_open(g)), None)
        if snapshot
        else None
    )
    if gateway is None:
        return
    for slot in worker.uplinks.by_slot:
        usable = worker.uplinks.address(slot, False) or worker.uplinks.address(slot, True)
        if usable and worker.mptcp.wants_connection(slot, worker.loop.now):
            try:
                connection = GatewayConnection(worker, gateway, (slot,))
            except OSError:
                continue
            worker.upkeep.add_probe(slot)
            connection.on_ready = _close_soon
            connection.on_dead = _ignore


def _close_soon(connection: GatewayConnection) -> None:
    connection.call_in(_SETTLE_S, connection.close)


def _ignore(connection: GatewayConnection, reason: str, blame: Blame) -> None:
    """A line that lets no connection through is its liveness's business."""
