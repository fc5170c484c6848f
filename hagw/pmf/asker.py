"""The asking side of an echo: numbers questions, takes each answer once, and tells what was lost on which way."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from hagw.pmf.echo import MICRO, U32, U64, EchoRequest, decode_reply, encode_request, key_id, micros

OUTSTANDING_MAX: Final = 256
OUTSTANDING_S: Final = 5.0


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
    overloaded: bool = False
    unproven: bool = False


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
            overtaken_up = (received - known) & U32 < U32 >> 1 and received != known
            self.received = (known + overtaken_up) & U32
            return Passage(0, int(overtaken_up), 1)
        self.answered, self.received = number, received
        if before is None:
            return None
        sent, reached = number - before, (received - known) & U32
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
        self._next = first_sequence & (U64 >> 1)
        self._outstanding: OrderedDict[int, tuple[float, int, int]] = OrderedDict()
        self._tallies: dict[int, _Tally] = {}
        self._walls: dict[int, int] = {}  # what the last answer to each stream said

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
        request = EchoRequest(self._key_id, self._line, sequence, micros(now), stream, self._walls.get(stream, 0))
        return Question(sequence, encode_request(request, self._key))

    def begin_anew(self) -> None:
        """Compare no count with those before: the sockets are other ones, so other processes may answer."""
        self._tallies.clear()
        self._walls.clear()

    def accept(self, datagram: bytes, now: float) -> Echo | None:
        """Return the echo if `datagram` is the first authentic answer to an outstanding question, else None."""
        reply = decode_reply(datagram, self._key)
        if reply is None or reply.line != self._line:
            return None
        self._forget(now)
        asked_at, stream, number = self._outstanding.get(reply.sequence, (None, 0, 0))
        if asked_at is None or reply.timestamp_us != micros(asked_at):
            return None
        del self._outstanding[reply.sequence]
        self._walls[stream] = reply.wall_us
        tally = self._tallies.get(stream)
        passage = None
        if tally is not None and number <= tally.asked and reply.counts_stream and reply.stream == stream:
            passage = tally.passage(number, reply.received)
        rtt_s = max(0.0, now - asked_at)
        return Echo(
            reply.sequence, rtt_s, reply.wall_us / MICRO, reply.received, reply.ipv6, reply.draining, passage,
            reply.overloaded, reply.unproven,
        )  # fmt: skip

    def _forget(self, now: float) -> None:
        while self._outstanding:
            oldest = next(iter(self._outstanding))
            if now - self._outstanding[oldest][0] <= OUTSTANDING_S and len(self._outstanding) < OUTSTANDING_MAX:
                return
            del self._outstanding[oldest]
