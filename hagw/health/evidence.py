"""What one line shows: counters, questions and answers, and the doubts they raise. Judged by `hagw.health.liveness`.

What gives a line away:

- *silence*: it received steadily, and stopped. Its receive queue is then empty, so the answer to a question asked now
  takes about the unloaded round trip. Three questions without an answer by then: suspect, after some 120-180 ms.
- *unanswered*: it transmits and receives nothing. Slower: our own queue may be long, the line may have been asleep.
- *crossed*: packets arrive, yet echoes stay unanswered: one direction is dead. TCP's retransmissions look the same
  as traffic, therefore packets alone clear no doubt, only an answer does.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Literal

from hagw.health.estimate import Loss, QuietTrip, Reception, RoundTrip
from hagw.health.profile import Profile

Cause = Literal["silence", "unanswered", "crossed", "first"]

_ACTIVE_S: Final = 0.5  # how long traffic keeps the fast turn going
_QUIET_S: Final = 0.010
_QUESTIONS_MAX: Final = 64
_LOST_AFTER_S: Final = 1.0
_SENDING_TURNS_S: Final = 0.040
_SENDING_PACKETS: Final = 6
_RESUMED_TURNS: Final = 4
_RESUMED_PACKETS: Final = 8


@dataclass(slots=True)
class Doubt:
    """A suspicion being looked into: questions are out whose answers decide."""

    cause: Cause
    since: float  # evidence older than this does not count
    begun_at: float
    asleep: bool = False
    asked: int = 0
    asked_at: float | None = None
    turns_received: int = 0
    packets_received: int = 0

    def is_eased(self) -> bool:
        """Say whether packets arrive again, more than one retransmission: worth waiting a little longer."""
        return self.turns_received >= 2 and self.packets_received >= 4

    def has_resumed(self) -> bool:
        """Say whether steady reception has set in since, more than retransmissions are."""
        return self.turns_received >= _RESUMED_TURNS and self.packets_received >= _RESUMED_PACKETS

    def accusation(self, now: float) -> str:
        """Return in words what has been seen."""
        waited_ms = (now - self.since) * 1000
        match self.cause:
            case "silence":
                return f"went silent {waited_ms:.0f} ms ago, {self.asked} echoes unanswered"
            case "unanswered":
                return f"no packet came back for {waited_ms:.0f} ms, {self.asked} echoes unanswered"
            case "crossed":
                return f"packets arrive but {self.asked} echoes are unanswered for {waited_ms:.0f} ms"
            case "first":
                return "has not answered since it came up"


class Evidence:
    """What is known of one line, turn by turn. Times are attentive ones."""

    def __init__(self, profile: Profile, now: float) -> None:
        self.profile = profile
        self.round_trip = RoundTrip()
        self.loss = Loss()
        self.reception = Reception()
        self.heard_at: float | None = None
        self.asked_at = now - profile.heartbeat_s
        self.bytes_since_echo = 0
        self.unanswered = 0  # questions since it was heard last
        self.unanswered_since = now
        self.sent_since: float | None = None  # transmits since then, and has received nothing
        self.sent_turns = 0
        self._calm_loss = Loss()
        self._quiet_trip = QuietTrip()
        self._asked_in_silence: set[int] = set()
        self._active_until = now
        self._questions: OrderedDict[int, float] = OrderedDict()
        self._answered_question_at = now
        self._sends: list[tuple[float, int]] = []
        self._cleared_for: float | None = None  # the silence beginning there has been asked about and answered

    # -- what happened ---------------------------------------------------------------------------------------

    def count(self, now: float, received: int, sent: int, size_bytes: int) -> None:
        """Take what others than us received and sent (packets, and their bytes) since the turn before."""
        self.bytes_since_echo += size_bytes
        if received or sent:
            self._active_until = now + _ACTIVE_S
        if sent:
            self._sends.append((now, sent))
            if self.sent_since is None:
                self.sent_since, self.sent_turns = now, 0
            self.sent_turns += 1
        while self._sends and self._sends[0][0] < now - _SENDING_TURNS_S:
            self._sends.pop(0)
        if received:
            self.reception.add(received, now)
            self.sent_since = None

    def asked(self, question: int, now: float) -> None:
        """Take that a question went out."""
        self._questions[question] = now
        if self._is_quiet(now):
            self._asked_in_silence.add(question)
        if len(self._questions) > _QUESTIONS_MAX:
            self._asked_in_silence.discard(self._questions.popitem(last=False)[0])
        self.asked_at = now
        self.bytes_since_echo = 0
        if not self.unanswered:
            self.unanswered_since = now
        self.unanswered += 1

    def answered(self, question: int, rtt_s: float, now: float) -> float:
        """Take an answer; return when its question was asked."""
        asked_at = self._questions.pop(question, now - rtt_s)
        self.heard_at = now
        self.unanswered = 0
        self._answered_question_at = max(self._answered_question_at, asked_at)
        self.round_trip.add(rtt_s, now)
        if question in self._asked_in_silence:
            self._asked_in_silence.discard(question)
            self._quiet_trip.add(rtt_s)
        return asked_at

    def expired(self, now: float) -> int:
        """Forget the questions that will not be answered any more; return how many there were."""
        lost = 0
        while self._questions:
            question, asked_at = next(iter(self._questions.items()))
            if now - asked_at < _LOST_AFTER_S + 2 * (self.round_trip.last_s or 0.0):
                break
            del self._questions[question]
            self._asked_in_silence.discard(question)
            lost += 1
        return lost

    def resolved(self, lost: bool, calm: bool) -> None:
        """Take the fate of one question; `calm` = the line was not in doubt."""
        self.loss.add(lost)
        if calm:
            self._calm_loss.add(lost)

    def clear_silence(self, asked_at: float) -> None:
        """Take that a question asked then was answered: what was silent before is explained."""
        if self.reception.last_at is not None and asked_at >= self.reception.last_at:
            self._cleared_for = self.reception.last_at
        if self.sent_since is not None and asked_at >= self.sent_since:
            self.sent_since = None

    def begin_anew(self) -> None:
        """Hold nothing seen so far against the line."""
        self._cleared_for = self.reception.last_at
        self.sent_since = None

    def forget_questions(self) -> None:
        """Wait for no answer any more."""
        self._questions.clear()
        self._asked_in_silence.clear()

    # -- what it means ---------------------------------------------------------------------------------------

    def is_active(self, now: float) -> bool:
        """Say whether the line carries traffic."""
        return now < self._active_until

    def is_falling_silent(self, now: float) -> bool:
        """Say whether a silence may be beginning, or has begun just now."""
        last_at, gap = self.reception.last_at, self.reception.mean_gap_s()
        if last_at is None or gap is None or last_at == self._cleared_for:
            return False
        longest_s = 2 * max(self.profile.silence_s, self.profile.silence_gaps * gap)
        return max(_QUIET_S, 2 * gap) <= now - last_at <= longest_s

    def silence(self, now: float) -> float | None:
        """Return since when it has been silent after steady reception, unless that was asked about and answered."""
        last_at, gap = self.reception.last_at, self.reception.mean_gap_s()
        if last_at is None or gap is None or last_at == self._cleared_for:
            return None
        silence_s = max(self.profile.silence_s, self.profile.silence_gaps * gap)
        return last_at if now - last_at >= silence_s else None

    def doubt(self, now: float) -> Doubt | None:
        """Return the doubt that what was seen gives rise to now, if any."""
        silent_since = self.silence(now)
        if silent_since is not None:
            return Doubt("silence", silent_since, now)
        smoothed = self.round_trip.smoothed_s
        if smoothed is None:
            return Doubt("first", now, now)
        if self.sent_since is not None and now - self.asked_at >= self._renewal_s(now):
            unanswered_s = self.profile.unanswered_s + 1.5 * smoothed
            if now - self.sent_since >= unanswered_s:
                return Doubt("unanswered", self.sent_since, now, self._is_asleep(self.sent_since))
        open_since = next((at for at in self._questions.values() if at > self._answered_question_at), None)
        if open_since is not None and now - open_since >= smoothed + max(4 * self.round_trip.variation_s, 0.060):
            if (self.reception.last_at or 0.0) > open_since:
                return Doubt("crossed", open_since, now)
            return Doubt("unanswered", open_since, now, self._is_asleep(open_since))
        return None

    def _renewal_s(self, now: float) -> float:
        """Return how soon after a question transmission into silence may raise a doubt again.

        Sooner where it had been receiving steadily: a bulk transfer pauses, is cleared, and dies on resuming.
        """
        lately = self.reception.mean_gap_s() is not None and now - (self.reception.last_at or 0.0) < 1.0
        return self.profile.echo_s * (0.4 if lately else 1.0)

    def _is_asleep(self, since: float) -> bool:
        """Say whether the line had been idle for so long by then that a modem may sleep."""
        quiet_since = max(self.reception.last_at or 0.0, self.heard_at or 0.0)
        return since - quiet_since > self.profile.idle_after_s

    def _is_quiet(self, now: float) -> bool:
        """Say whether an answer to a question asked now will wait in no queue, nor for a modem to wake up."""
        if self._is_sending():
            return False
        return self.silence(now) is not None or not (self.is_active(now) or self._is_asleep(now))

    def _is_sending(self) -> bool:
        return sum(packets for _, packets in self._sends) >= _SENDING_PACKETS

    def jitter_s(self, floor_s: float) -> float:
        """Return how much longer than `floor_s` an answer may take that waited in no queue."""
        return max(0.0, self._quiet_trip.longest_s(floor_s) - floor_s)

    def questions_wanted(self) -> int:
        """Return how many questions have to stay unanswered before the line's ordinary loss cannot explain it."""
        return self._calm_loss.questions_to_be_sure()

    def is_overdue(self, doubt: Doubt, patience: float, now: float) -> bool:
        """Say whether enough questions have been unanswered for long enough."""
        floor_s = self.round_trip.floor_s
        enough = self.questions_wanted()
        if doubt.asked < enough:
            return False
        waited = now - doubt.begun_at
        if doubt.cause == "first" or floor_s is None:
            return waited >= self.profile.first_s
        smoothed = self.round_trip.smoothed_s or floor_s
        loaded_s = smoothed + max(4 * self.round_trip.variation_s, self.profile.margin_s)
        if doubt.cause == "crossed" or doubt.has_resumed():
            return waited >= max(self.profile.crossed_s, 3 * (self.round_trip.last_s or 0.0), loaded_s)
        short_s = floor_s + (self.profile.margin_s + self.profile.margin_rtt * floor_s) * patience
        short_s = max(short_s, self._quiet_trip.longest_s(floor_s))
        if self._is_sending():
            # Still sending at full pace without any reception: that is not TCP, our own queue may be long.
            return waited >= max(short_s, loaded_s, self.profile.crossed_s)
        if doubt.cause == "unanswered":
            return waited >= max(short_s, loaded_s, self.profile.wake_s if doubt.asleep else 0.0)
        if doubt.is_eased():
            short_s += floor_s + self.profile.margin_s
        return waited >= short_s + self.profile.ask_gap_s * (enough - 3)
