"""A connection that the HAG relays: what it carried, how fast it may, how much waits in it, when it idled too long.

It begins when the server has answered; how it came to that, and what becomes of it, is `hagw.dataplane.conversion`'s.
"""

import socket
from typing import Final

from hagw.dataplane.customers import Customer
from hagw.dataplane.mptcp_socket import SubflowReader
from hagw.dataplane.relay import Relay
from hagw.dataplane.sendqueue import SendQueue
from hagw.model.intent import FlowLimits

BULK_BYTES: Final = 16 * 1024  # in one look; less is no bulk


class ConvertedFlow:
    """What is known of one relay between a customer (near) and a server (far)."""

    __slots__ = ("_early_bytes", "_idle_since", "_moved", "_queue", "_relay", "_reply_bytes", "_seen")

    def __init__(self, relay: Relay, queue: SendQueue, *, reply_bytes: int, early_bytes: int, now: float) -> None:
        """Follow a relay whose first `reply_bytes` to the customer, the Convert reply, are no payload.

        `early_bytes` of payload had come before it began.
        """
        self._relay = relay
        self._queue = queue
        self._reply_bytes = reply_bytes
        self._early_bytes = early_bytes
        self._moved = 0
        self._seen = 0
        self._idle_since = now

    def bytes(self) -> tuple[int, int]:
        """Return payload bytes (towards the customer, from the customer)."""
        relay = self._relay
        return max(relay.near.sent - self._reply_bytes, 0), relay.near.received + self._early_bytes

    def hold_to_rates(self, customer: Customer) -> None:
        """Relay no faster than the customer may, as its limits are now."""
        relay = self._relay
        relay.far.share = relay.near.share = customer.share
        relay.far.meter = customer.down if customer.down.rate_bps is not None else None
        relay.near.meter = customer.up if customer.up.rate_bps is not None else None

    def look(self, client: socket.socket, reader: SubflowReader, now: float) -> None:
        """Hold the queue towards the customer to what its lines take."""
        sent = self._relay.near.sent
        moved, self._moved = sent - self._moved, sent
        if moved >= BULK_BYTES:
            self._queue.update(client, reader.read(client), now)

    def idle_too_long(self, limits: FlowLimits, now: float) -> str | None:
        """Return what there was instead of traffic for longer than it may; None = it may go on."""
        relay = self._relay
        total = relay.near.received + relay.far.received
        if total != self._seen:
            self._seen = total
            self._idle_since = now
        idle_s = now - self._idle_since
        if relay.half_closed_at is not None:
            return "half closed" if idle_s > min(limits.half_closed_s, limits.idle_s) else None
        return "no traffic" if idle_s > limits.idle_s else None
