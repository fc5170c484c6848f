"""Whether a line that still answers is worth using: heavy loss, or a rate that collapsed.

Either holds up every connection that has data on the line, and none of the signs of a dead line shows. What does:

- *loss*: the fates of echoes, summed up as evidence for 45 % against 15 % (CUSUM: a lost one adds, an answered one
  takes away, never below zero). Some 20 echoes at 30 % each way; one that loses 2 % each way never gets there. Losses
  behind a full queue do not count, that is our own traffic's doing; nor more than a few in a row: that is an outage.
- *loss in one direction*: of the round trip 30 % one way is no more than 15 % both ways, so each direction has such a
  sum of its own (28 % against 10 %), from what the gateway's answers say it received. Some 50 echoes; where the
  direction carries acknowledgements only, what it loses does no harm and does not count.
- *collapse*: the line lately carried many times as much, hardly carries anything now in either direction, and yet
  echoes wait in a queue: what little it carries is all that it can.

A collapsed line answers echoes well as soon as it is empty, so only trying tells whether it has recovered: it is held
back for a while that doubles. Which line is judged, and against which witness, is `hagw.health.liveness`'s.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from itertools import takewhile
from math import log
from typing import Final

from hagw.pmf.asker import Passage

_SOUND_LOSS: Final = 0.15  # of echoes, there and back
_HEAVY_LOSS: Final = 0.45
LOST_WEIGHT: Final = log(_HEAVY_LOSS / _SOUND_LOSS)
ANSWERED_WEIGHT: Final = log((1 - _HEAVY_LOSS) / (1 - _SOUND_LOSS))
LOSS_SCORE: Final = 7.0
_SOUND_WAY: Final = 0.10  # of echoes, one way
_HEAVY_WAY: Final = 0.28
_WAY_LOST: Final = log(_HEAVY_WAY / _SOUND_WAY)
_WAY_PASSED: Final = log((1 - _HEAVY_WAY) / (1 - _SOUND_WAY))
_WAY_SCORE: Final = 8.0
_OVERTAKEN_S: Final = 0.040  # a question asked so much earlier than an answered one is probably lost: look into it
_HINT_S: Final = 0.5
_SUPPORT: Final = 0.25  # of a direction's evidence that heavy loss of the round trip needs
_DATA: Final = 0.2  # of the other direction's rate: less are acknowledgements, which may be lost
_IN_A_ROW: Final = 3
_QUESTIONS_MAX: Final = 64
ASK_GAP_S: Final = 0.030  # between questions while losses are being looked into
_APART_S: Final = 0.025  # questions closer together share one fate
_LOOKED_INTO_S: Final = 1.0  # after a loss
QUEUED_S: Final = 0.080  # a round trip that much above the floor waited in a queue
_JUDGED_S: Final = 0.6
_QUEUED_SPAN_S: Final = 0.3
_QUEUED_ECHOES: Final = 3
_FATES: Final = 32
_BUCKET_S: Final = 0.1
_PEAK_S: Final = 30.0
_PEAK_BUCKETS: Final = 5  # half a second: not a burst
COLLAPSED: Final = 0.02  # of the peak; a line slowed to a fifth, shared with others, was once seen at 0.03
_STILL_CARRIES: Final = 0.1  # in the other direction, which may be the one that is full, if only at a fifth
PEAK_MIN_BPS: Final = 1_000_000.0
CLEAN_ECHOES: Final = 12  # answered in a row, before a lossy line is used again
_HOLD_LOSS_S: Final = 3.0
_HOLD_COLLAPSE_S: Final = 10.0
_HOLD_MAX_S: Final = 60.0
_REPEATED_S: Final = 180.0


@dataclass(slots=True)
class _Rates:
    """Bytes of one direction in buckets of 0.1 s, over the last half minute."""

    buckets: deque[tuple[int, int]] = field(default_factory=deque)  # (number of the bucket, bytes)

    def add(self, size_bytes: int, now: float) -> None:
        number = int(now / _BUCKET_S)
        if self.buckets and self.buckets[-1][0] == number:
            size_bytes += self.buckets.pop()[1]
        self.buckets.append((number, size_bytes))
        while self.buckets[0][0] < number - _PEAK_S / _BUCKET_S:
            self.buckets.popleft()

    def now_bps(self, now: float) -> float:
        first = int((now - _JUDGED_S) / _BUCKET_S)
        recent = takewhile(lambda bucket: bucket[0] > first, reversed(self.buckets))
        return sum(size for _, size in recent) * 8 / _JUDGED_S

    def peak_bps(self) -> float:
        """Return the highest rate over half a second."""
        best = total = 0
        window: deque[tuple[int, int]] = deque()
        for number, size in self.buckets:
            window.append((number, size))
            total += size
            while window[0][0] <= number - _PEAK_BUCKETS:
                total -= window.popleft()[1]
            best = max(best, total)
        return best * 8 / (_PEAK_BUCKETS * _BUCKET_S)


@dataclass(slots=True)
class _Way:
    """Evidence of heavy loss in one direction."""

    score: float = 0.0

    def add(self, lost: int, passed: int) -> None:
        """Take how many of some questions (or answers) were lost on this way, and how many arrived."""
        self.score += min(lost, _IN_A_ROW) * _WAY_LOST
        self.score = max(0.0, self.score + passed * _WAY_PASSED)


@dataclass(frozen=True, slots=True)
class _Fate:
    """What became of one question."""

    asked_at: float
    delayed: bool  # it waited in a queue, or was lost
    lost: bool


class Degradation:
    """What speaks against one line that answers. Times are attentive ones."""

    def __init__(self) -> None:
        self.score = 0.0  # evidence of heavy loss
        self.clean = 0  # answered in a row
        self.held_until: float | None = None  # None = not found degraded
        self._lost_in_a_row = 0
        self._queued = False  # the latest answer had waited in a queue
        self._questions: OrderedDict[int, float] = OrderedDict()
        self._lost: OrderedDict[int, float] = OrderedDict()  # and what each added to the score
        self._counted_at = -1e9
        self._loss_at = -1e9
        self._hint_at = -1e9
        self._ways = {"up": _Way(), "down": _Way()}
        self._ways_known = False
        self._fates: deque[_Fate] = deque(maxlen=_FATES)
        self._found_at: list[float] = []
        self._down = _Rates()
        self._up = _Rates()

    # -- what happened ---------------------------------------------------------------------------------------

    def carried(self, down_bytes: int, up_bytes: int, now: float) -> None:
        """Take what others than us moved over the line."""
        if down_bytes or up_bytes:
            self._down.add(down_bytes, now)
            self._up.add(up_bytes, now)

    def asked(self, question: int, now: float) -> None:
        """Take that a question went out; of those close together only the first counts."""
        if now - self._counted_at < _APART_S:
            return
        self._counted_at = now
        self._questions[question] = now
        if len(self._questions) > _QUESTIONS_MAX:
            self._questions.popitem(last=False)

    def answered(self, question: int, rtt_s: float, floor_s: float, jitter_s: float = 0.0) -> None:
        """Take an answer; on an idle line it takes `floor_s` and up to `jitter_s` more."""
        asked_at = self._questions.pop(question, None)
        if asked_at is None:
            self.score = max(0.0, self.score - self._lost.pop(question, 0.0))  # it was only late
            return
        if any(at < asked_at - _OVERTAKEN_S for at in self._questions.values()):
            self._hint_at = asked_at + rtt_s
        self._lost_in_a_row = 0
        self.clean += 1
        self.score = max(0.0, self.score + ANSWERED_WEIGHT)
        self._queued = rtt_s - floor_s >= max(QUEUED_S, floor_s, jitter_s)
        self._fates.append(_Fate(asked_at, self._queued, lost=False))

    def passed(self, passage: Passage) -> None:
        """Take what an answer tells about the way of the questions since the one before."""
        self._ways_known = True
        if passage.sent and not self._queued:
            self._ways["up"].add(passage.sent - passage.reached, passage.reached)
            self._ways["down"].add(passage.reached - passage.answered, passage.answered)

    def expire(self, patience_s: float, now: float) -> None:
        """Count questions as lost that are unanswered for longer than `patience_s`."""
        for question, asked_at in list(self._questions.items()):
            if now - asked_at < patience_s:
                break
            del self._questions[question]
            self.clean = 0
            self._lost_in_a_row += 1
            weight = LOST_WEIGHT if self._lost_in_a_row <= _IN_A_ROW and not self._queued else 0.0
            self.score += weight
            self._lost[question] = weight
            if len(self._lost) > _QUESTIONS_MAX:
                self._lost.popitem(last=False)
            self._loss_at = now
            self._fates.append(_Fate(asked_at, True, lost=True))

    def begin_anew(self) -> None:
        """Hold nothing seen so far against the line, but remember what it once carried."""
        self.score = 0.0
        self.clean = 0
        self._lost_in_a_row = 0
        self._hint_at = -1e9
        self.held_until = None
        self._ways = {"up": _Way(), "down": _Way()}
        self._questions.clear()
        self._lost.clear()
        self._fates.clear()

    # -- what it means ---------------------------------------------------------------------------------------

    @property
    def is_doubtful(self) -> bool:
        """Whether the line is no witness against another one."""
        return self._evidence() >= 0.5 or self._lost_lately() > _SOUND_LOSS * _FATES

    def is_looked_into(self, now: float) -> bool:
        """Say whether to ask often, to see whether what was lost is more than chance."""
        return now - self._hint_at < _HINT_S or (self._evidence() > 0.0 and now - self._loss_at < _LOOKED_INTO_S)

    def _evidence(self) -> float:
        """Return how much speaks for heavy loss, 1 = enough."""
        return max(self.score / LOSS_SCORE, *(way.score / _WAY_SCORE for way in self._ways.values()))

    def accusation(self, now: float, heard_at: float | None) -> str | None:
        """Return in words what speaks against using the line, None = nothing does.

        `heard_at` is when the gateway last answered over any line: echoes it did not answer wait in no queue of ours.
        """
        if self._loses_too_much(now):
            where = "".join(f", mostly on the way {name}" for name in self._lossy_ways(1.0, now))
            return f"loses too much: {self._lost_lately()} of the last {len(self._fates)} echoes{where}"
        if not self._is_queueing(now, heard_at):
            return None
        down_bps, up_bps = self._down.now_bps(now), self._up.now_bps(now)
        if not (down_bps or up_bps):
            return None
        down_peak, up_peak = self._down.peak_bps(), self._up.peak_bps()
        shares = [rate / peak for rate, peak in ((down_bps, down_peak), (up_bps, up_peak)) if peak >= PEAK_MIN_BPS]
        if not shares or min(shares) >= COLLAPSED or max(shares) >= _STILL_CARRIES:
            return None
        return (
            f"collapsed: carries {_mbit(down_bps)} down and {_mbit(up_bps)} up at most, lately {_mbit(down_peak)} "
            f"and {_mbit(up_peak)}"
        )

    def hold(self, now: float) -> None:
        """Take that the line was found degraded: it is held back, the longer the more often."""
        self._found_at = [at for at in self._found_at if now - at < _REPEATED_S] + [now]
        first_s = _HOLD_LOSS_S if self._loses_too_much(now) else _HOLD_COLLAPSE_S
        self.held_until = now + min(_HOLD_MAX_S, first_s * 2 ** (len(self._found_at) - 1))
        self.clean = 0

    def has_recovered(self, now: float) -> bool:
        """Say whether a degraded line may be tried again."""
        return self.held_until is not None and now >= self.held_until and self.clean >= CLEAN_ECHOES

    def _loses_too_much(self, now: float) -> bool:
        if self.score >= LOSS_SCORE and (not self._ways_known or self._lossy_ways(_SUPPORT, now)):
            return True
        return bool(self._lossy_ways(1.0, now))

    def _lossy_ways(self, share: float, now: float) -> list[str]:
        """Return the directions that carry data, not only acknowledgements, and have this much evidence of loss."""
        lossy = [name for name, way in self._ways.items() if way.score >= share * _WAY_SCORE]
        if not lossy:
            return lossy
        bps = {"up": self._up.now_bps(now), "down": self._down.now_bps(now)}
        least_bps = _DATA * max(bps.values())
        return [name for name in lossy if bps[name] >= least_bps]

    def _lost_lately(self) -> int:
        return sum([fate.lost for fate in self._fates])

    def _is_queueing(self, now: float, heard_at: float | None) -> bool:
        """Say whether every echo of late waited in a queue or was lost, while the gateway was there to answer."""
        since = now - 2 * _JUDGED_S
        late = list(takewhile(lambda fate: fate.delayed and fate.asked_at >= since, reversed(self._fates)))
        if not late or heard_at is None or heard_at < late[0].asked_at:
            return False
        return len(late) >= _QUEUED_ECHOES and late[0].asked_at - late[-1].asked_at >= _QUEUED_SPAN_S


def _mbit(bps: float) -> str:
    return f"{bps / 1e6:.1f} Mbit/s"
