"""Whether one access line works: passive evidence first, questions to the gateway in doubt, a verdict with hysteresis.

A line that loses its carrier says so; one that silently swallows packets does not. What gives it away:

- *silence*: it received steadily, and stopped. Its receive queue is then empty, so the answer to a question asked now
  takes about the unloaded round trip. Three questions without an answer by then: suspect, after some 120-180 ms.
- *unanswered*: it transmits and receives nothing. Slower: our own queue may be long, the line may have been asleep.
- *crossed*: packets arrive, yet echoes stay unanswered: one direction is dead. TCP's retransmissions look the same
  as traffic, therefore packets alone clear no doubt, only an answer does.

Silence of everything at once is no line's fault. So a verdict needs a witness: another line that heard the gateway, or
receives, since the doubt began. Without another usable line, or without a gateway that answers, only a long passive
rule remains. `hagw.health.fleet` brings the witnesses, keeps the clock and carries the questions.
"""

from collections import OrderedDict
from dataclasses import dataclass
from math import exp2
from typing import Final, Literal

from hagw.health.estimate import Loss, Reception, RoundTrip
from hagw.health.profile import Profile
from hagw.model.health import GatewayReach, UplinkState

Cause = Literal["silence", "unanswered", "crossed", "first"]

_ACTIVE_S: Final = 0.5  # how long traffic keeps the fast turn going
_QUIET_S: Final = 0.010
_QUESTIONS_MAX: Final = 64
_LOST_AFTER_S: Final = 1.0
_PATIENCE_MAX: Final = 4.0
_PATIENCE_HALVES_S: Final = 300.0
_FLAPS_S: Final = 60.0
_SENDING_TURNS_S: Final = 0.040
_SENDING_PACKETS: Final = 6
_RESUMED_TURNS: Final = 4
_RESUMED_PACKETS: Final = 8
_UNKNOWN_GATEWAY_S: Final = 10.0  # between questions to a gateway that has never answered
_TRIAL_S: Final = 10.0
_TRIAL_MAX_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Link:
    """What the kernel says about the line's interface; `enabled` is the owner's word."""

    enabled: bool = True
    present: bool = True
    admin_up: bool = True
    carrier: bool = True
    address: bool = True

    def obstacle(self) -> str | None:
        """Return why the line cannot work now, None = nothing is in the way."""
        if not self.present:
            return "the interface does not exist"
        if not self.admin_up:
            return "the interface is switched off"
        if not self.carrier:
            return "no carrier"
        return None if self.address else "no address"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is known beyond this line at one turn. Times are attentive ones."""

    others_up: int  # lines that could take over
    receiving_elsewhere: bool  # another line is receiving steadily right now
    heard_elsewhere_at: float | None  # last echo over another line
    heard_at: float | None  # last echo over any line
    reach: GatewayReach  # of the gateway that is being asked


@dataclass(slots=True)
class _Doubt:
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


class Liveness:
    """One line's judge. Feed it every turn; it says whether to ask the gateway a question over this line now."""

    def __init__(self, profile: Profile, link: Link, now: float) -> None:
        self.profile = profile
        self.link = link
        self.state: UplinkState = "up"
        self.reason = ""
        self.round_trip = RoundTrip()
        self.loss = Loss()
        self.doubted_since: float | None = None  # of the latest suspicion
        self.heard_at: float | None = None
        self.reception = Reception()
        self._calm_loss = Loss()
        self._patience = 1.0
        self._patience_at = now
        self._active_until = now
        self._questions: OrderedDict[int, float] = OrderedDict()
        self._asked_at = now - profile.heartbeat_s
        self._answered_question_at = now
        self._bytes_since_echo = 0
        self._sent_since: float | None = None
        self._sent_turns = 0
        self._sends: list[tuple[float, int]] = []
        self._cleared_for: float | None = None  # the silence beginning there has been asked about and answered
        self._doubt: _Doubt | None = None
        self._state_at = now
        self._good = 0
        self._good_at = now
        self._need_good = profile.recover_echoes
        self._ask_soon = False
        self._suspicions: list[float] = []
        self._trial_s = _TRIAL_S
        self._resume(now)

    # -- what happened ---------------------------------------------------------------------------------------

    def relink(self, profile: Profile, link: Link, now: float) -> None:
        """Take what the kernel (or the owner) now says about the interface."""
        self.profile = profile
        if link == self.link:
            return
        was_usable = self.link.enabled and self.link.obstacle() is None
        self.link = link
        obstacle = link.obstacle()
        if not link.enabled:
            self._become("disabled", "switched off in the configuration", now)
        elif obstacle is not None:
            self._become("down", obstacle, now)
        elif not was_usable:
            self._resume(now)

    def asked(self, question: int, now: float) -> None:
        """Take that a question went out (or that the kernel refused to send it)."""
        self._questions[question] = now
        if len(self._questions) > _QUESTIONS_MAX:
            self._questions.popitem(last=False)
        self._asked_at = now
        self._bytes_since_echo = 0
        self._ask_soon = False
        if self._doubt is not None:
            self._doubt.asked += 1
            self._doubt.asked_at = now

    def answered(self, question: int, rtt_s: float, now: float) -> None:
        """Take the authentic answer to a question of ours."""
        asked_at = self._questions.pop(question, now - rtt_s)
        self.heard_at = now
        self._answered_question_at = max(self._answered_question_at, asked_at)
        # The first one also waited for neighbour discovery: take another for the round trip.
        self._ask_soon = self.round_trip.smoothed_s is None
        self.round_trip.add(rtt_s, now)
        self._resolved(lost=False)
        match self.state:
            case "up":
                self._answered_while_up(asked_at, now)
            case "suspect" | "down":
                self._answered_while_suspect(asked_at, rtt_s, now)
            case "disabled":
                pass

    def refused(self, now: float) -> None:
        """Take an ICMP refusal from the gateway: it says no, so the line works."""
        if self.state == "up":
            self._cleared_for = self.reception.last_at
            self._sent_since = None
            self._doubt = None

    def pardon(self, reason: str, now: float) -> None:
        """Withdraw a suspicion that turned out to be the gateway's fault."""
        if self.state in ("suspect", "down") and self.link.obstacle() is None:
            self._become("up", reason, now)

    # -- one turn --------------------------------------------------------------------------------------------

    def turn(self, now: float, received: int, sent: int, size_bytes: int, around: Surroundings) -> bool:
        """Take the packets (and their bytes) of others than us since the turn before; return whether to ask now."""
        self._count(now, received, sent, size_bytes)
        self._expire(now)
        if not self.link.enabled or self.link.obstacle() is not None:
            return False
        if self.state == "up":
            self._doubt_or_judge(now, around)
        if self.state in ("suspect", "down"):
            self._await_recovery(now, around)
        return self._is_question_due(now, around)

    @property
    def is_hurried(self) -> bool:
        """Whether one more good answer is wanted at once."""
        return self._ask_soon

    @property
    def doubted(self) -> bool:
        """Whether questions are out whose answers decide something."""
        return self._doubt is not None

    def doubted_for_s(self, now: float) -> float:
        """Return for how long they have been, 0 while none are."""
        return now - self._doubt.begun_at if self._doubt is not None else 0.0

    def is_active(self, now: float) -> bool:
        """Say whether it carries traffic."""
        return now < self._active_until

    def is_alert(self, now: float) -> bool:
        """Say whether milliseconds count: a doubt or a recovery is under way, or a silence may be beginning."""
        if self._doubt is not None or self._good > 0:
            return True
        last_at, gap = self.reception.last_at, self.reception.mean_gap_s()
        if self.state != "up" or last_at is None or gap is None or last_at == self._cleared_for:
            return False
        return (
            max(_QUIET_S, 2 * gap) <= now - last_at <= 2 * max(self.profile.silence_s, self.profile.silence_gaps * gap)
        )

    def _count(self, now: float, received: int, sent: int, size_bytes: int) -> None:
        self._bytes_since_echo += size_bytes
        if received or sent:
            self._active_until = now + _ACTIVE_S
        if sent:
            self._sends.append((now, sent))
            if self._sent_since is None:
                self._sent_since, self._sent_turns = now, 0
            self._sent_turns += 1
        while self._sends and self._sends[0][0] < now - _SENDING_TURNS_S:
            self._sends.pop(0)
        if received:
            self.reception.add(received, now)
            self._sent_since = None
            if self._doubt is not None:
                self._doubt.turns_received += 1
                self._doubt.packets_received += received

    def _expire(self, now: float) -> None:
        while self._questions:
            question, asked_at = next(iter(self._questions.items()))
            if now - asked_at < _LOST_AFTER_S + 2 * (self.round_trip.last_s or 0.0):
                return
            del self._questions[question]
            self._resolved(lost=True)

    def _resolved(self, lost: bool) -> None:
        self.loss.add(lost)
        if self.state == "up" and self._doubt is None:
            self._calm_loss.add(lost)

    # -- while up --------------------------------------------------------------------------------------------

    def _doubt_or_judge(self, now: float, around: Surroundings) -> None:
        if around.reach == "down":
            self._doubt = None
            self._judge_passively(now, around)
            return
        slow_to_judge = self._doubt is not None and (self._doubt.cause == "crossed" or self._doubt.has_resumed())
        if self._doubt is None or (slow_to_judge and self._silence(now) is not None):
            self._doubt = self._begin_doubt(now)  # a silence is the plainer sign, and sooner judged
        elif around.others_up == 0:
            self._judge_passively(now, around)
        elif self._is_overdue(self._doubt, now) and self._has_witness(self._doubt, around):
            self._suspect(self._accusation(self._doubt, now), self._doubt.since, now)

    def _begin_doubt(self, now: float) -> _Doubt | None:
        silent_since = self._silence(now)
        if silent_since is not None:
            return _Doubt("silence", silent_since, now)
        smoothed = self.round_trip.smoothed_s
        if smoothed is None:
            return _Doubt("first", now, now)
        if self._sent_since is not None and now - self._asked_at >= self._renewal_s(now):
            unanswered_s = self.profile.unanswered_s + 1.5 * smoothed
            if now - self._sent_since >= unanswered_s:
                return _Doubt("unanswered", self._sent_since, now, self._is_asleep(self._sent_since))
        open_since = next((at for at in self._questions.values() if at > self._answered_question_at), None)
        if open_since is not None and now - open_since >= smoothed + max(4 * self.round_trip.variation_s, 0.060):
            if (self.reception.last_at or 0.0) > open_since:
                return _Doubt("crossed", open_since, now)
            return _Doubt("unanswered", open_since, now, self._is_asleep(open_since))
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

    def _silence(self, now: float) -> float | None:
        """Return since when it has been silent after steady reception, unless that was asked about and answered."""
        last_at, gap = self.reception.last_at, self.reception.mean_gap_s()
        if last_at is None or gap is None or last_at == self._cleared_for:
            return None
        silence_s = max(self.profile.silence_s, self.profile.silence_gaps * gap)
        return last_at if now - last_at >= silence_s else None

    def _is_overdue(self, doubt: _Doubt, now: float) -> bool:
        """Say whether enough questions have been unanswered for long enough."""
        floor_s = self.round_trip.floor_s
        enough = self._calm_loss.questions_to_be_sure()
        if doubt.asked < enough:
            return False
        if doubt.cause == "first" or floor_s is None:
            return now - doubt.begun_at >= self.profile.first_s
        waited = now - doubt.begun_at
        smoothed = self.round_trip.smoothed_s or floor_s
        loaded_s = smoothed + max(4 * self.round_trip.variation_s, self.profile.margin_s)
        if doubt.cause == "crossed" or doubt.has_resumed():
            return waited >= max(self.profile.crossed_s, 3 * (self.round_trip.last_s or 0.0), loaded_s)
        short_s = floor_s + (self.profile.margin_s + self.profile.margin_rtt * floor_s) * self._patience_at_(now)
        if sum(packets for _, packets in self._sends) >= _SENDING_PACKETS:
            # Still sending at full pace without any reception: that is not TCP, our own queue may be long.
            return waited >= max(short_s, loaded_s, self.profile.crossed_s)
        if doubt.cause == "unanswered":
            return waited >= max(short_s, loaded_s, self.profile.wake_s if doubt.asleep else 0.0)
        if doubt.is_eased():
            short_s += floor_s + self.profile.margin_s
        return waited >= short_s + self.profile.ask_gap_s * (enough - 3)

    def _has_witness(self, doubt: _Doubt, around: Surroundings) -> bool:
        heard = around.heard_elsewhere_at
        if heard is not None and heard > doubt.begun_at:
            return True
        # Another line's packets may be anybody's, but with the gateway heard lately they will do.
        lately = around.heard_at is not None and doubt.begun_at - around.heard_at < 1.0
        return doubt.cause == "silence" and lately and around.receiving_elsewhere

    def _accusation(self, doubt: _Doubt, now: float) -> str:
        waited_ms = (now - doubt.since) * 1000
        match doubt.cause:
            case "silence":
                return f"went silent {waited_ms:.0f} ms ago, {doubt.asked} echoes unanswered"
            case "unanswered":
                return f"no packet came back for {waited_ms:.0f} ms, {doubt.asked} echoes unanswered"
            case "crossed":
                return f"packets arrive but {doubt.asked} echoes are unanswered for {waited_ms:.0f} ms"
            case "first":
                return "has not answered since it came up"

    def _judge_passively(self, now: float, around: Surroundings) -> None:
        """Without a gateway to ask, or without a line to fall back on: only long transmission into nothing counts."""
        if self._sent_since is None or self._sent_turns < 5 or now - self._sent_since < self.profile.passive_s:
            return
        if around.others_up == 0 or around.receiving_elsewhere:
            self._suspect("transmits but nothing comes back", self._sent_since, now)

    def _answered_while_up(self, asked_at: float, now: float) -> None:
        """An answer proves what was true when its question was asked, and clears no doubt that began later."""
        self.reason = ""
        if self._doubt is not None and asked_at >= self._doubt.since:
            self._doubt = None
        if self.reception.last_at is not None and asked_at >= self.reception.last_at:
            self._cleared_for = self.reception.last_at
        if self._sent_since is not None and asked_at >= self._sent_since:
            self._sent_since = None

    # -- while suspect or down -------------------------------------------------------------------------------

    def _answered_while_suspect(self, asked_at: float, rtt_s: float, now: float) -> None:
        if self.link.obstacle() is not None or rtt_s > self.profile.good_rtt_s:
            return
        if self.doubted_since is not None and asked_at < self.doubted_since:
            return
        if asked_at < self._state_at and self.state == "suspect":
            # It had only been slow: be more patient with it from now on.
            self._patience = min(_PATIENCE_MAX, self._patience_at_(now) * 1.5)
            self._patience_at = now
        if now - self._good_at > 1.0 + 2 * rtt_s:
            self._good = 0
        self._good += 1
        self._good_at = now
        self._ask_soon = True
        if self._good >= self._need_good:
            self._become("up", "answers again", now)

    def _await_recovery(self, now: float, around: Surroundings) -> None:
        waited = now - self._state_at
        if around.reach != "up":
            received_again = (self.reception.last_at or 0.0) > self._state_at and self.reception.is_steady(now)
            if self.round_trip.smoothed_s is None or received_again:
                self._become("up", "not measured: no gateway answers", now)
            elif waited >= self._trial_s:
                self._trial_s = min(_TRIAL_MAX_S, 2 * self._trial_s)
                self._become("up", "tried again: no gateway answers", now)
            return
        if self._good and now - self._good_at > 1.0 + 2 * (self.round_trip.last_s or 0.0):
            self._good = 0
        if self.state == "suspect" and around.others_up and waited >= self.profile.down_after_s:
            self._become("down", self.reason, now)

    def _suspect(self, reason: str, since: float, now: float) -> None:
        self._suspicions = [at for at in self._suspicions if now - at < _FLAPS_S] + [now]
        wanted = self.profile.recover_echoes * len(self._suspicions)
        self._need_good = min(max(self.profile.recover_echoes, wanted), self.profile.recover_echoes_max)
        self.doubted_since = since
        self._become("suspect", reason, now)

    def _resume(self, now: float) -> None:
        """Begin with a line that can work as far as the kernel knows: it is used once it has answered."""
        obstacle = self.link.obstacle()
        if not self.link.enabled:
            self._become("disabled", "switched off in the configuration", now)
        elif obstacle is not None:
            self._become("down", obstacle, now)
        else:
            self._need_good = self.profile.recover_echoes
            self.doubted_since = now
            self._become("suspect", "waiting for its first answer", now)

    def _become(self, state: UplinkState, reason: str, now: float) -> None:
        if state == "up":
            self._trial_s = _TRIAL_S if self._good else self._trial_s
            self._cleared_for = self.reception.last_at
            self._sent_since = None
            self._questions.clear()
        if not (self.state == "suspect" and state == "down" and self.link.obstacle() is None):
            self._state_at = now
        self.state, self.reason = state, reason
        self._doubt = None
        self._good = 0

    # -- questions -------------------------------------------------------------------------------------------

    def _is_question_due(self, now: float, around: Surroundings) -> bool:
        if around.reach == "down":
            return False
        waited = now - self._asked_at
        if self.state in ("suspect", "down"):
            return waited >= self._retry_gap_s(now)
        doubt = self._doubt
        if doubt is not None:
            return doubt.asked_at is None or now - doubt.asked_at >= self._doubt_gap_s(doubt, now, around)
        if self._ask_soon and waited >= self.profile.ask_gap_s:
            return True
        if self._bytes_since_echo >= self.profile.echo_bytes and waited >= self.profile.echo_s:
            return True
        return 0 < self.profile.heartbeat_s <= waited

    def _retry_gap_s(self, now: float) -> float:
        if self._ask_soon:
            return self.profile.ask_gap_s
        if self._good == 0 and self.round_trip.smoothed_s is None and now - self._state_at < 1.0:
            return self.profile.slow_gap_s
        steady = self.profile.retry_steady_s
        excess = max(0.0, now - self._state_at - steady)
        return min(self.profile.retry_max_s, self.profile.retry_s * (1 + excess / steady))

    def _doubt_gap_s(self, doubt: _Doubt, now: float, around: Surroundings) -> float:
        waited = now - doubt.begun_at
        if waited >= 2 * self.profile.crossed_s:
            longest = self.profile.retry_max_s if around.reach == "up" else _UNKNOWN_GATEWAY_S
            return max(self.profile.echo_s, min(longest, waited / 4))
        if doubt.cause == "first":
            return self.profile.first_s / 8
        quick = doubt.cause != "crossed" and doubt.asked < self._calm_loss.questions_to_be_sure()
        return self.profile.ask_gap_s if quick else self.profile.slow_gap_s

    def _patience_at_(self, now: float) -> float:
        halvings = max(0.0, now - self._patience_at) / _PATIENCE_HALVES_S
        return 1.0 + (self._patience - 1.0) * exp2(-halvings)
