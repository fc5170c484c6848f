"""The echo that CPE and HAG measure an access line with: wire format, the asking side's window, the answering side.

In the manner of 3GPP PMF echo (TS 24.193), but authenticated: both datagrams are keyed with the customer's pre-shared
key, each under its own label, so neither can be taken for the other. Sending, receiving and clocks are left to
`hagw.probe` (CPE) and the workers (HAG).

    0       4     5     6     7       8       16        24           32          40        44     48      64
    | magic | kind| flag| line| stream| key id | sequence | timestamp | wall time | received | 0  | HMAC  |

Both are 64 bytes: an answer is never larger than its question, so a spoofed source gains nothing. Sequence and
timestamp belong to the asker and come back unchanged. Wall time is the answerer's, in microseconds since 1970;
`received` counts the different questions that reached it from this line; requests carry zeros there.

A line's questions leave by several sockets, which may end at different processes of the HAG, each with a count of its
own. So each socket is a *stream*, and an answer with flag 4 counts the questions of its stream alone: what is missing
in the count was lost on the way up, what is in it but was never answered, on the way down. Flag and stream came later:
who does not know them sends and ignores zeros there, and loss by direction is then unknown.
"""

import hashlib
import hmac
import struct
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from typing import Final

from hagw.model.intent import IPNetwork

SIZE: Final = 64
KEY_SIZE: Final = 32
_MAGIC: Final = b"hgE1"
_REQUEST: Final = 1
_REPLY: Final = 2
_FLAG_IPV6: Final = 0x01
_FLAG_DRAINING: Final = 0x02
_FLAG_STREAM: Final = 0x04
_BODY: Final = struct.Struct("!4sBBBB8sQQQI4x")
_MAC_SIZE: Final = 16
_LABELS: Final = {_REQUEST: b"hagw echo request 1\0", _REPLY: b"hagw echo reply 1\0"}
_MICRO: Final = 1_000_000
_U64: Final = (1 << 64) - 1
_U32: Final = (1 << 32) - 1

# A line asks 4 times a second while busy and about 60 times while it is in doubt.
RATE_PER_S: Final = 100.0
BURST: Final = 50.0
SOURCES_MAX: Final = 4096
STREAMS_MAX: Final = 8  # counted apart for one source; of higher ones no count is told
_ANOTHER_LIFE: Final = 1 << 32  # an asker that starts again begins with another random number
_WINDOW: Final = 64  # a question that comes again within this many of its stream is not counted twice
OUTSTANDING_MAX: Final = 256
OUTSTANDING_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class EchoRequest:
    """A question; `line` is the asker's uplink slot, `timestamp_us` its own clock, `stream` one of its sockets."""

    key_id: bytes
    line: int
    sequence: int
    timestamp_us: int
    stream: int = 0


@dataclass(frozen=True, slots=True)
class EchoReply:
    """An answer; `received` counts questions (modulo 2**32), those of its stream alone if `counts_stream`.

    `wall_us` is the HAG's clock.
    """

    key_id: bytes
    line: int
    sequence: int
    timestamp_us: int
    wall_us: int
    received: int
    ipv6: bool
    draining: bool
    stream: int = 0
    counts_stream: bool = False


@dataclass(frozen=True, slots=True)
class Passage:
    """What one answer tells about the way of the questions since the answer before: sent, reached the HAG, answered.

    A late answer corrects what was told before: it adds nothing to `sent`.
    """

    sent: int
    reached: int
    answered: int


@dataclass(frozen=True, slots=True)
class Question:
    """An encoded question and the number its answer will carry."""

    sequence: int
    datagram: bytes


@dataclass(frozen=True, slots=True)
class Echo:
    """An authenticated, first answer to a question of ours."""

    sequence: int
    rtt_s: float
    wall_s: float
    received: int
    ipv6: bool
    draining: bool
    passage: Passage | None = None


@dataclass(frozen=True, slots=True)
class EchoCustomer:
    """Whose questions are answered; `sources` empty = from anywhere."""

    key: bytes
    sources: tuple[IPNetwork, ...] = ()


def key_id(key: bytes) -> bytes:
    """Return the 8 bytes that tell the HAG which key to check with; they reveal neither the key nor the name."""
    return hashlib.sha256(b"hagw echo key\0" + key).digest()[:8]


def encode_request(request: EchoRequest, key: bytes) -> bytes:
    """Return the 64 bytes of a question."""
    body = _BODY.pack(
        _MAGIC,
        _REQUEST,
        0,
        request.line,
        request.stream,
        request.key_id,
        request.sequence & _U64,
        request.timestamp_us & _U64,
        0,
        0,
    )
    return body + _mac(_REQUEST, body, key)


def encode_reply(reply: EchoReply, key: bytes) -> bytes:
    """Return the 64 bytes of an answer."""
    flags = (_FLAG_IPV6 if reply.ipv6 else 0) | (_FLAG_DRAINING if reply.draining else 0)
    flags |= _FLAG_STREAM if reply.counts_stream else 0
    body = _BODY.pack(
        _MAGIC,
        _REPLY,
        flags,
        reply.line,
        reply.stream,
        reply.key_id,
        reply.sequence,
        reply.timestamp_us,
        reply.wall_us & _U64,
        reply.received & _U32,
    )
    return body + _mac(_REPLY, body, key)


def key_id_of(datagram: bytes) -> bytes | None:
    """Return the key id a datagram names, before anything is verified; None = not an echo of ours."""
    if len(datagram) != SIZE or datagram[:4] != _MAGIC:
        return None
    return datagram[8:16]


def decode_request(datagram: bytes, key: bytes) -> EchoRequest | None:
    """Return the question if it is well-formed and authentic, else None. Reserved bytes are not looked at."""
    if not _is_authentic(datagram, _REQUEST, key):
        return None
    _, _, _, line, stream, kid, sequence, timestamp_us, _, _ = _BODY.unpack_from(datagram)
    return EchoRequest(kid, line, sequence, timestamp_us, stream)


def decode_reply(datagram: bytes, key: bytes) -> EchoReply | None:
    """Return the answer if it is well-formed and authentic, else None. Unknown flags are not looked at."""
    if not _is_authentic(datagram, _REPLY, key):
        return None
    _, _, flags, line, stream, kid, sequence, timestamp_us, wall_us, received = _BODY.unpack_from(datagram)
    ipv6, draining, counts_stream = (bool(flags & flag) for flag in (_FLAG_IPV6, _FLAG_DRAINING, _FLAG_STREAM))
    return EchoReply(
        kid, line, sequence, timestamp_us, wall_us, received, ipv6, draining, stream, counts_stream=counts_stream
    )


@dataclass(slots=True)
class _Tally:
    """The questions of one stream, and what the answer to the newest answered one said."""

    asked: int = 0
    answered: int | None = None  # its number within the stream
    received: int = 0

    def passage(self, number: int, received: int) -> Passage | None:
        """Take the answer to question `number`; None where the count cannot be compared with the one before."""
        before, known = self.answered, self.received
        if before is not None and number < before:
            # It was overtaken, and has been taken for lost: on the way down if the later answer had counted it.
            overtaken_up = (received - known) & _U32 < _U32 >> 1 and received != known
            self.received = (known + overtaken_up) & _U32
            return Passage(0, int(overtaken_up), 1)
        self.answered, self.received = number, received
        if before is None:
            return None
        sent, reached = number - before, (received - known) & _U32
        # Another process of the HAG answers now, or it has been restarted: it counts anew.
        return Passage(sent, reached, 1) if 0 < reached <= sent else None


class Asker:
    """The asking side of one line and gateway: numbers questions and accepts each answer once.

    `first_sequence` must be unpredictable (64 random bits, halved so that it cannot wrap): with it an answer recorded
    in an earlier life of this process never matches a question of this one.
    """

    def __init__(self, key: bytes, line: int, first_sequence: int) -> None:
        self._key = key
        self._key_id = key_id(key)
        self._line = line
        self._next = first_sequence & (_U64 >> 1)
        self._outstanding: OrderedDict[int, tuple[float, int, int]] = OrderedDict()
        self._tallies: dict[int, _Tally] = {}

    def ask(self, now: float, stream: int = 0) -> Question:
        """Return the next question, remembered until it is answered, 5 s old or one of more than 256.

        `stream` says by which socket it will leave, 0..7.
        """
        sequence = self._next
        self._next += 1
        self._forget(now)
        tally = self._tallies.setdefault(stream, _Tally())
        tally.asked += 1
        self._outstanding[sequence] = now, stream, tally.asked
        request = EchoRequest(self._key_id, self._line, sequence, _micros(now), stream)
        return Question(sequence, encode_request(request, self._key))

    def begin_anew(self) -> None:
        """Compare no count with those before: the sockets are other ones, so other processes may answer."""
        self._tallies.clear()

    def accept(self, datagram: bytes, now: float) -> Echo | None:
        """Return the echo if `datagram` is the first authentic answer to an outstanding question, else None."""
        reply = decode_reply(datagram, self._key)
        if reply is None or reply.line != self._line:
            return None
        self._forget(now)
        asked_at, stream, number = self._outstanding.get(reply.sequence, (None, 0, 0))
        if asked_at is None or reply.timestamp_us != _micros(asked_at):
            return None
        del self._outstanding[reply.sequence]
        tally = self._tallies.get(stream)
        passage = None
        if tally is not None and number <= tally.asked and reply.counts_stream and reply.stream == stream:
            passage = tally.passage(number, reply.received)
        rtt_s = max(0.0, now - asked_at)
        return Echo(reply.sequence, rtt_s, reply.wall_us / _MICRO, reply.received, reply.ipv6, reply.draining, passage)

    def _forget(self, now: float) -> None:
        while self._outstanding:
            oldest = next(iter(self._outstanding))
            if now - self._outstanding[oldest][0] <= OUTSTANDING_S and len(self._outstanding) < OUTSTANDING_MAX:
                return
            del self._outstanding[oldest]


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
        counts_stream = request.stream < STREAMS_MAX
        reply = EchoReply(
            key_id=request.key_id,
            line=request.line,
            sequence=request.sequence,
            timestamp_us=request.timestamp_us,
            wall_us=_micros(wall_time),
            received=entry.count(request.stream, request.sequence) if counts_stream else 0,
            ipv6=self._ipv6_egress,
            draining=self._draining,
            stream=request.stream,
            counts_stream=counts_stream,
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


def _mac(kind: int, body: bytes, key: bytes) -> bytes:
    return hmac.digest(key, _LABELS[kind] + body, "sha256")[:_MAC_SIZE]


def _is_authentic(datagram: bytes, kind: int, key: bytes) -> bool:
    if key_id_of(datagram) is None or datagram[4] != kind:
        return False
    body = datagram[: SIZE - _MAC_SIZE]
    return hmac.compare_digest(_mac(kind, body, key), datagram[SIZE - _MAC_SIZE :])


def _is_within(source: str, prefixes: tuple[IPNetwork, ...]) -> bool:
    try:
        address = ip_address(source.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in prefix for prefix in prefixes)


def _micros(seconds: float) -> int:
    return int(seconds * _MICRO)
