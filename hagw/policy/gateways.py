"""Which gateway of a pool a new flow goes through, and which next if that one does not take it.

Rendezvous hashing: every gateway gives a client and server a score of its own, the highest wins. So the connections of
one client to one server meet one gateway, wherever they begin, and when a gateway goes only its own flows move.
Scores are drawn so that each gateway wins in proportion to its weight; distance makes it lighter.
"""

import hashlib
import math
from collections.abc import Collection, Sequence
from typing import Final

from hagw.model.snapshot import GatewayView

NEAR_MS: Final = 20.0  # so much farther than the nearest one costs half of the weight; less costs nothing
HALVINGS_MAX: Final = 8
_HASH_RANGE: Final = 1 << 64


def takes_flows(gateway: GatewayView) -> bool:
    """Say whether new flows may go through a gateway."""
    return gateway.reach != "down" and not gateway.draining and not gateway.overloaded and not gateway.blocked


def hindrance(gateway: GatewayView) -> str:
    """Return why no new flow goes through a gateway, "" = they may."""
    if gateway.reach == "down":
        return gateway.reason or "down"
    if gateway.draining:
        return "it is draining"
    if gateway.blocked:
        return gateway.blocked
    return "it is overloaded" if gateway.overloaded else ""


class Gateways:
    """The gateways of one snapshot that take flows. Those heard of come first, those of weight 0 last."""

    def __init__(self, gateways: tuple[GatewayView, ...]) -> None:
        usable = [gateway for gateway in gateways if takes_flows(gateway)]
        nearest = min((rtt for gateway in usable if (rtt := distance_ms(gateway)) is not None), default=0.0)
        ranked = [((g.reach != "up", g.weight == 0), effective_weight(g, nearest), g) for g in usable]
        best = min((tier for tier, _, _ in ranked), default=None)
        self.all = tuple(usable)
        self._ranked = tuple(ranked)
        self._first = tuple((weight, g) for tier, weight, g in ranked if tier == best)

    def choose(self, client: str, server: str) -> GatewayView | None:
        """Return the gateway for a new flow between two addresses, None = there is none."""
        if len(self._first) == 1:
            return self._first[0][1]
        return _highest(self._first, client, server)

    def another(self, client: str, server: str, tried: Collection[str]) -> GatewayView | None:
        """Return the gateway for a flow that those `tried` did not take, None = there is none left."""
        left = [each for each in self._ranked if each[2].name not in tried]
        best = min((tier for tier, _, _ in left), default=None)
        return _highest([(weight, gateway) for tier, weight, gateway in left if tier == best], client, server)


def distance_ms(gateway: GatewayView) -> float | None:
    """Return the round trip to a gateway without the queues of our lines, as far as it is known."""
    return gateway.rtt_ms if gateway.rtt_floor_ms is None else gateway.rtt_floor_ms


def effective_weight(gateway: GatewayView, nearest_ms: float) -> float:
    """Return the weight, halved for every NEAR_MS that the gateway is farther than the nearest; in steps.

    Steps, because a weight that follows every measurement would have flows change gateways for nothing.
    """
    rtt = distance_ms(gateway)
    halvings = 0 if rtt is None else min(HALVINGS_MAX, int((rtt - nearest_ms) / NEAR_MS))
    return max(gateway.weight, 1) * 0.5**halvings


def _highest(bidders: Sequence[tuple[float, GatewayView]], client: str, server: str) -> GatewayView | None:
    return max(bidders, key=lambda bidder: _bid(bidder[0], bidder[1], client, server), default=(0.0, None))[1]


def _bid(weight: float, gateway: GatewayView, client: str, server: str) -> float:
    """Return the gateway's bid for a pair of addresses (weighted rendezvous hashing: -weight / ln of a uniform)."""
    what = f"{gateway.name}\0{gateway.customer}\0{client}\0{server}".encode()
    drawn = int.from_bytes(hashlib.blake2b(what, digest_size=8).digest(), "big")
    return -weight / math.log((drawn + 0.5) / _HASH_RANGE)
