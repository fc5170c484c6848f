"""Whether one access line works: passive evidence first, questions to the gateway in doubt, a verdict with hysteresis.

What is seen, and the doubts that gives rise to, are `hagw.health.evidence`'s. Here is what follows from them.

Silence of everything at once is no line's fault. So a verdict needs a witness: another line that heard the gateway, or
receives, since the doubt began. Without a gateway that answers only a long passive rule remains; without another usable
line there is no verdict at all, as the last line stays in use whatever it looks like. `hagw.health.fleet` brings the
witnesses, keeps the clock and carries the questions.
"""

from dataclasses import dataclass
from typing import Final

from hagw.health.degradation import ASK_GAP_S as LOSS_GAP_S
from hagw.health.degradation import Degradation
from hagw.health.estimate import Loss, Reception, RoundTrip
from hagw.health.evidence import Doubt, Evidence
from hagw.health.link import Link
from hagw.health.patience import Patience
from hagw.health.profile import Profile
from hagw.model.health import GatewayReach, UplinkState

_FLAPS_S: Final = 60.0
_UNKNOWN_GATEWAY_S: Final = 10.0  # between questions to a gateway that has never answered
KEPT: Final = "nothing comes back over it, but no other line is left"
KEPT_DEGRADED: Final = "hardly carries anything, but no other line is left"
_TRIAL_S: Final = 10.0
_TRIAL_MAX_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is known beyond this line at one turn. Times are attentive ones."""

    others_up: int  # lines that could take over
    receiving_elsewhere: bool  # another line is receiving steadily right now
    heard_elsewhere_at: float | None  # last echo over another line
    heard_at: float | None  # last echo over any line
    reach: GatewayReach  # of the gateway that is being asked
    sound_elsewhere: bool = True  # another line is up and nothing speaks against it


class Liveness:
    """One line's judge. Feed it every turn; it says whether to ask the gateway a question over this line now."""

    def __init__(self, profile: Profile, link: Link, now: float) -> None:
        self.profile = profile
        self.link = link
        self.state: UplinkState = "up"
        self.reason = ""
        self.evidence = Evidence(profile, now)
        self.degradation = Degradation()
        self.doubted_since: float | None = None  # of the latest suspicion
        self.portal: str | None = None  # where a captive portal wants its guests, None = there is none
        self._patience = Patience(now)
        self._doubt: Doubt | None = None
        self._state_at = now
        self._good = 0
        self._good_at = now
        self._need_good = profile.recover_echoes
        self._ask_soon = False
        self._ask_once = False
        self._kept: str | None = None  # in use for want of another line; what speaks against it
        self._suspicions: list[float] = []
        self._trial_s = _TRIAL_S
        self._resume(now)

    # -- what happened ---------------------------------------------------------------------------------------

    def relink(self, profile: Profile, link: Link, now: float) -> None:
        """Take what the kernel (or the owner) now says about the interface."""
        self.profile = self.evidence.profile = profile
        if link == self.link:
            return
        was_usable = self.link.enabled and self.link.obstacle() is None
        self.link = link
        obstacle = link.obstacle()
        if not link.enabled:
            self._become("disabled", "switched off in the configuration", now)
        elif obstacle is not None:
            self.portal = None  # another network may be behind it when it returns
            self._become("down", obstacle, now)
        elif not was_usable:
            self._resume(now)

    def hurry(self) -> None:
        """Have a question asked with the next turn although nothing is in doubt."""
        self._ask_once = True

    def asked(self, question: int, now: float) -> None:
        """Take that a question went out (or that the kernel refused to send it)."""
        self.evidence.asked(question, now)
        self.degradation.asked(question, now)
        self._ask_soon = self._ask_once = False
        if self._doubt is not None:
            self._doubt.asked += 1
            self._doubt.asked_at = now

    def answered(self, question: int, rtt_s: float, now: float) -> None:
        """Take the authentic answer to a question of ours."""
        # The first one also waited for neighbour discovery: take another for the round trip.
        self._ask_soon = self.round_trip.smoothed_s is None
        asked_at = self.evidence.answered(question, rtt_s, now)
        floor_s = self.round_trip.floor_s or rtt_s
        self.degradation.answered(question, rtt_s, floor_s, self.evidence.jitter_s(floor_s))
        self.portal = None
        self._resolved(lost=False)
        match self.state:
            case "up":
                self._answered_while_up(asked_at)
            case "suspect" | "down":
                self._answered_while_suspect(asked_at, rtt_s, now)
            case "disabled":
                pass

    def refused(self, now: float) -> None:
        """Take an ICMP refusal from the gateway: it says no, so the line works."""
        if self.state == "up":
            self.evidence.begin_anew()
            self._doubt = None

    def pardon(self, reason: str, now: float) -> None:
        """Withdraw a suspicion that turned out to be the gateway's fault."""
        if self.state in ("suspect", "down") and self.is_open:
            self._become("up", reason, now)

    def detoured(self, reason: str, now: float) -> None:
        """Take that another address family is in use from now on: what was seen of the one before counts no more."""
        if not self.is_degraded:
            self.pardon(reason, now)
        if self.state == "up":
            self.evidence.begin_anew()
            self.evidence.forget_questions()
            self._doubt = None

    def keep(self, now: float) -> None:
        """Use the line although it looks dead, because no other one is left."""
        against = self.reason
        self.pardon(KEPT_DEGRADED if self.is_degraded else KEPT, now)
        self._kept = against

    def seen_portal(self, portal: str | None, now: float) -> None:
        """Take what an HTTP request over the line met: a captive portal (its address), or none."""
        if portal == self.portal or not self.link.enabled or self.link.obstacle() is not None:
            return
        self.portal = portal
        if portal is None:
            self._resume(now)
        else:
            self._become("down", f"captive portal at {portal}", now)

    # -- one turn --------------------------------------------------------------------------------------------

    def turn(self, now: float, received: int, sent: int, size_bytes: int, around: Surroundings) -> bool:
        """Take the packets (and their bytes) of others than us since the turn before; return whether to ask now."""
        self.evidence.count(now, received, sent, size_bytes)
        if received and self._doubt is not None:
            self._doubt.turns_received += 1
            self._doubt.packets_received += received
        for _ in range(self.evidence.expired(now)):
            self._resolved(lost=True)
        self.degradation.expire(self.round_trip.patience_s, now)
        if not self.link.enabled or self.link.obstacle() is not None:
            return False
        if self.portal is not None:
            self._wait_for_login(self.portal, now, around)
        if self.state == "up":
            self._doubt_or_judge(now, around)
        if self.state in ("suspect", "down"):
            self._await_recovery(now, around)
        return self._is_question_due(now, around)

    @property
    def round_trip(self) -> RoundTrip:
        """Its round trip, by echoes."""
        return self.evidence.round_trip

    @property
    def loss(self) -> Loss:
        """Its loss, by echoes."""
        return self.evidence.loss

    @property
    def reception(self) -> Reception:
        """How steadily it receives."""
        return self.evidence.reception

    @property
    def heard_at(self) -> float | None:
        """When an echo last came back over it."""
        return self.evidence.heard_at

    @property
    def is_open(self) -> bool:
        """Whether nothing known for certain keeps the line from working."""
        return self.link.enabled and self.link.obstacle() is None and self.portal is None

    @property
    def is_degraded(self) -> bool:
        """Whether it answers, but is better done without."""
        return self.degradation.held_until is not None

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

    def silent_s(self, now: float) -> float | None:
        """Return for how long it has given reason to doubt that it works, None = it gives none."""
        if self.state in ("suspect", "down"):
            return self.in_state_s(now)
        return self.doubted_for_s(now) if self._doubt is not None else None

    def in_state_s(self, now: float) -> float:
        """Return for how long it has been in its state; suspect and down are one."""
        return now - self._state_at

    def is_active(self, now: float) -> bool:
        """Say whether it carries traffic."""
        return self.evidence.is_active(now)

    def is_alert(self, now: float) -> bool:
        """Say whether milliseconds count: a doubt or a recovery is under way, or a silence may be beginning."""
        if self._doubt is not None or self._good > 0:
            return True
        return self.state == "up" and (self.evidence.is_falling_silent(now) or self._is_loss_looked_into(now))

    def _is_loss_looked_into(self, now: float) -> bool:
        return self.evidence.is_active(now) and self.degradation.is_looked_into(now)

    def _resolved(self, lost: bool) -> None:
        self.evidence.resolved(lost, calm=self.state == "up" and self._doubt is None)

    # -- while up --------------------------------------------------------------------------------------------

    def _doubt_or_judge(self, now: float, around: Surroundings) -> None:
        if self._kept is not None and self.reception.is_steady(now):
            self._kept, self.reason = None, ""
        elif self._kept is not None and around.others_up > 0:
            self._suspect(self._kept, now, now)
            return
        if around.reach == "down":
            self._doubt = None
            self._judge_passively(now, around)
            return
        slow_to_judge = self._doubt is not None and (self._doubt.cause == "crossed" or self._doubt.has_resumed())
        if self._doubt is None or (slow_to_judge and self.evidence.silence(now) is not None):
            self._doubt = self.evidence.doubt(now)  # a silence is the plainer sign, and sooner judged
        elif around.others_up == 0:
            self._judge_passively(now, around)
        elif self._is_overdue(self._doubt, now) and self._has_witness(self._doubt, around):
            self._suspect(self._doubt.accusation(now), self._doubt.since, now)
        self._judge_degradation(now, around)

    def _judge_degradation(self, now: float, around: Surroundings) -> None:
        if self.state != "up" or self._kept is not None or not (around.others_up and around.sound_elsewhere):
            return
        accusation = self.degradation.accusation(now, around.heard_at)
        if accusation is not None:
            self.degradation.hold(now)
            self._suspect(accusation, now, now)

    def _is_overdue(self, doubt: Doubt, now: float) -> bool:
        return self.evidence.is_overdue(doubt, self._patience.factor(now), now)

    def _has_witness(self, doubt: Doubt, around: Surroundings) -> bool:
        heard = around.heard_elsewhere_at
        if heard is not None and heard > doubt.begun_at:
            return True
        # Another line's packets may be anybody's, but with the gateway heard lately they will do.
        lately = around.heard_at is not None and doubt.begun_at - around.heard_at < 1.0
        return doubt.cause == "silence" and lately and around.receiving_elsewhere

    def _judge_passively(self, now: float, around: Surroundings) -> None:
        """Without a gateway to ask, or without a line to fall back on: only long transmission into nothing counts."""
        since, turns = self.evidence.sent_since, self.evidence.sent_turns
        if since is None or turns < 5 or now - since < self.profile.passive_s:
            return
        if around.others_up == 0:
            self._kept, self.reason = "transmits but nothing comes back", KEPT
        elif around.receiving_elsewhere:
            self._suspect("transmits but nothing comes back", since, now)

    def _answered_while_up(self, asked_at: float) -> None:
        """An answer proves what was true when its question was asked, and clears no doubt that began later."""
        self.reason, self._kept = "", None
        if self._doubt is not None and asked_at >= self._doubt.since:
            self._doubt = None
        self.evidence.clear_silence(asked_at)

    # -- while suspect or down -------------------------------------------------------------------------------

    def _answered_while_suspect(self, asked_at: float, rtt_s: float, now: float) -> None:
        if self.link.obstacle() is not None or rtt_s > self.profile.good_rtt_s:
            return
        if self.doubted_since is not None and asked_at < self.doubted_since:
            return
        if asked_at < self._state_at and self.state == "suspect":
            self._patience.was_short(now)
        if self.is_degraded:
            if self.degradation.has_recovered(now):
                self._become("up", "answers well again", now)
            return
        if now - self._good_at > 1.0 + 2 * rtt_s:
            self._good = 0
        self._good += 1
        self._good_at = now
        self._ask_soon = True
        if self._good >= self._need_good:
            self._become("up", "answers again", now)

    def _wait_for_login(self, portal: str, now: float, around: Surroundings) -> None:
        """Leave a line behind a captive portal in use where no other one works: how else is a guest to log in?"""
        if around.others_up == 0 and self.state == "down":
            self._become("suspect", f"captive portal at {portal}, and no other line is left", now)
        elif around.others_up and self.state == "suspect":
            self._become("down", f"captive portal at {portal}", now)

    def _await_recovery(self, now: float, around: Surroundings) -> None:
        if self.portal is not None:
            return
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
        if self.is_degraded and now - (self.heard_at or 0.0) < self.profile.down_after_s:
            return
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
            self.evidence.unanswered = 0
            self._become("suspect", "waiting for its first answer", now)

    def _become(self, state: UplinkState, reason: str, now: float) -> None:
        if state == "up":
            self._trial_s = _TRIAL_S if self._good else self._trial_s
            self.evidence.begin_anew()
            self.evidence.forget_questions()
            self.degradation.begin_anew()
        if not (self.state == "suspect" and state == "down" and self.link.obstacle() is None):
            self._state_at = now
        self.state, self.reason = state, reason
        self._doubt = None
        self._kept = None
        self._good = 0

    # -- questions -------------------------------------------------------------------------------------------

    def _is_question_due(self, now: float, around: Surroundings) -> bool:
        if around.reach == "down":
            return False
        waited = now - self.evidence.asked_at
        if self.state in ("suspect", "down"):
            return waited >= self._retry_gap_s(now)
        doubt = self._doubt
        if doubt is not None:
            return doubt.asked_at is None or now - doubt.asked_at >= self._doubt_gap_s(doubt, now, around)
        if (self._ask_soon or self._ask_once) and waited >= self.profile.ask_gap_s:
            return True
        if self._is_loss_looked_into(now) and around.others_up and waited >= LOSS_GAP_S:
            return True
        if self.evidence.bytes_since_echo >= self.profile.echo_bytes and waited >= self.profile.echo_s:
            return True
        return 0 < self.profile.heartbeat_s <= waited

    def _retry_gap_s(self, now: float) -> float:
        if self._ask_soon or self._ask_once:
            return self.profile.ask_gap_s
        if self._good == 0 and self.round_trip.smoothed_s is None and now - self._state_at < 1.0:
            return self.profile.slow_gap_s
        steady = self.profile.retry_steady_s
        excess = max(0.0, now - self._state_at - steady)
        return min(self.profile.retry_max_s, self.profile.retry_s * (1 + excess / steady))

    def _doubt_gap_s(self, doubt: Doubt, now: float, around: Surroundings) -> float:
        waited = now - doubt.begun_at
        if waited >= 2 * self.profile.crossed_s:
            longest = self.profile.retry_max_s if around.reach == "up" else _UNKNOWN_GATEWAY_S
            return max(self.profile.echo_s, min(longest, waited / 4))
        if doubt.cause == "first":
            return self.profile.first_s / 8
        quick = doubt.cause != "crossed" and doubt.asked < self.evidence.questions_wanted()
        return self.profile.ask_gap_s if quick else self.profile.slow_gap_s
