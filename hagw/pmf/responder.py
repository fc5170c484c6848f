"""The answering side of an echo: authenticates, counts by stream, and limits how often one line is answered."""

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from typing import Final, Protocol

from hagw.model.intent import IPNetwork
from hagw.pmf.echo import EchoReply, decode_request, encode_reply, key_id, key_id_of, micros

# A line asks 4 times a second while busy and about 60 times while it is in doubt.
RATE_PER_S: Final = 100.0
BURST: Final = 50.0
SOURCES_MAX: Final = 4096
TOLD_MAX: Final = 16
STREAMS_MAX: Final = 8  # counted apart for one source; of higher ones no count is told
_ANOTHER_LIFE: Final = 1 << 32  # an asker that starts again begins with another random number
_WINDOW: Final = 64  # a question that comes again within this many of its stream is not counted twice


@dataclass(frozen=True, slots=True)
class EchoCustomer:
    """Whose questions are answered; `sources` empty = from anywhere."""

    key: bytes
    sources: tuple[IPNetwork, ...] = ()
    name: str = ""


class Proofs(Protocol):
    """What is known of the addresses that customers come from."""

    def prove(self, customer: str, address: str, now: float) -> None: ...
    def is_proven(self, customer: str, address: str, now: float) -> bool: ...


@dataclass(slots=True)
class _Stream:
    """Which questions of a stream have come: the newest, and by a bit each the 64 before it."""

    newest: int
    seen: int = 1
    received: int = 1

    def count(self, sequence: int) -> int:
        """Take a question; return how many different ones there were."""
        step = sequence - self.newest
        if step > 0 or step < -_ANOTHER_LIFE:
            self.seen = (self.seen << step | 1) & ((1 << _WINDOW) - 1) if 0 < step < _WINDOW else 1
            self.newest = sequence
            self.received += 1
        elif -step < _WINDOW and not self.seen >> -step & 1:
            self.seen |= 1 << -step
            self.received += 1
        return self.received


@dataclass(slots=True)
class _Source:
    tokens: float
    refilled_at: float
    streams: dict[int, _Stream] = field(default_factory=dict)
    told: deque[int] = field(default_factory=lambda: deque(maxlen=TOLD_MAX))  # wall times in answers

    def count(self, stream: int, sequence: int) -> int:
        """Take a question of a stream below STREAMS_MAX; return how many different ones it had."""
        found = self.streams.get(stream)
        if found is None:
            self.streams[stream] = _Stream(sequence)
            return 1
        return found.count(sequence)


class Responder:
    """The answering side: keeps nothing about a customer but a bounded table of token buckets.

    A replayed question is answered once more, with 64 bytes, to the address it claims to come from; more than 100 a
    second for one (customer, line, address) are dropped.
    """

    def __init__(self, customers: Iterable[EchoCustomer], *, ipv6_egress: bool, draining: bool = False) -> None:
        self._customers = {key_id(customer.key): customer for customer in customers}
        self._ipv6_egress = ipv6_egress
        self._draining = draining
        self.overloaded = False  # told in every answer
        self.proofs: Proofs | None = None  # who wants to know from where customers have answered
        self._sources: OrderedDict[tuple[bytes, int, str], _Source] = OrderedDict()

    def reconfigure(self, customers: Iterable[EchoCustomer], *, ipv6_egress: bool, draining: bool = False) -> None:
        """Take over a new snapshot's customers and flags, keeping the buckets."""
        self._customers = {key_id(customer.key): customer for customer in customers}
        self._ipv6_egress = ipv6_egress
        self._draining = draining

    def respond(self, datagram: bytes, source: str, now: float, wall_time: float) -> bytes | None:
        """Return the answer to send back to `source` (an address as text), or None for silence.

        It has to leave from the address that was asked (IP_PKTINFO on a wildcard socket): askers are connected to it.
        `now` is monotonic and feeds the rate limit, `wall_time` is seconds since 1970 and goes into the answer.
        """
        kid = key_id_of(datagram)
        customer = self._customers.get(kid) if kid is not None else None
        if customer is None or (customer.sources and not _is_within(source, customer.sources)):
            return None
        request = decode_request(datagram, customer.key)
        if request is None:
            return None
        entry = self._admit((request.key_id, request.line, source), now)
        if entry is None:
            return None
        proofs = self.proofs
        if proofs is not None and request.wall_us and request.wall_us in entry.told:
            proofs.prove(customer.name, source, now)
        wall_us = micros(wall_time)
        entry.told.append(wall_us)
        counts_stream = request.stream < STREAMS_MAX
        reply = EchoReply(
            key_id=request.key_id,
            line=request.line,
            sequence=request.sequence,
            timestamp_us=request.timestamp_us,
            wall_us=wall_us,
            received=entry.count(request.stream, request.sequence) if counts_stream else 0,
            ipv6=self._ipv6_egress,
            draining=self._draining,
            stream=request.stream,
            counts_stream=counts_stream,
            overloaded=self.overloaded,
            unproven=proofs is not None and not proofs.is_proven(customer.name, source, now),
        )
        return encode_reply(reply, customer.key)

    def _admit(self, who: tuple[bytes, int, str], now: float) -> _Source | None:
        """Take a token of `who`; None when there is none."""
        entry = self._sources.get(who)
        if entry is None:
            if len(self._sources) >= SOURCES_MAX:
                self._sources.popitem(last=False)
            entry = self._sources[who] = _Source(BURST, now)
        else:
            self._sources.move_to_end(who)
            refill = max(0.0, now - entry.refilled_at) * RATE_PER_S
            entry.tokens = min(BURST, entry.tokens + refill)
            entry.refilled_at = now
        if entry.tokens < 1.0:
            return None
        entry.tokens -= 1.0
        return entry


def _is_within(source: str, prefixes: tuple[IPNetwork, ...]) -> bool:
    try:
        address = ip_address(source.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in prefix for prefix in prefixes)
