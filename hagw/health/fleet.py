"""All lines and gateways together: who witnesses for whom, which questions go out now, how soon to look again.

The shell (`hagw.probe.prober`) reads counters, carries questions and answers, and tells the real time; everything that
is decided is decided here. Per turn a line asks at most one question of its own, plus one as another's witness.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from hagw.health.attention import Attention
from hagw.health.gateway import Told
from hagw.health.gateways import WITNESSES, Ask, Gateways
from hagw.health.line import Counters, Line, LineSetup
from hagw.health.link import Link
from hagw.health.liveness import Liveness, Surroundings
from hagw.health.portal import PortalAnswer, PortalWatch
from hagw.model.health import GatewayHealth, UplinkHealth
from hagw.pmf.asker import Passage

# A turn costs some 300 µs of a shared core, most of it for waking up: quick ones only where milliseconds count.
ALERT_TURN_S: Final = 0.010  # a line that received steadily has just stopped to, or questions are out
BUSY_TURN_S: Final = 0.025
SPARSE_TURN_S: Final = 0.050  # some traffic, too little to notice a silence by
WAITING_TURN_S: Final = 0.100  # a line is suspect
IDLE_TURN_S: Final = 0.200
_WITNESS_AFTER_S: Final = 0.015  # most doubts are gone by then
_WITNESS_GAP_S: Final = 0.100
_WITNESS_GAP_MAX_S: Final = 1.0
_FIRST_ANSWER_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Orders:
    """What to do after a turn, and in how many seconds to come back; `portal_checks` are lines to ask a page over."""

    asks: tuple[Ask, ...]
    again_s: float
    portal_checks: tuple[str, ...] = ()


class Fleet:
    """The judge of all lines and gateways of one CPE. Times given to it are the real monotonic ones."""

    def __init__(self, now: float) -> None:
        self._attention = Attention(now)
        self._lines: dict[str, Line] = {}
        self._gateways = Gateways()

    # -- what happened ---------------------------------------------------------------------------------------

    def configure(self, lines: Iterable[LineSetup], gateways: Iterable[str], now: float) -> None:
        """Take lines and gateways (most preferred first) as they are now; what is known about the others is kept."""
        at = self._attention.at(now)
        before, self._lines = self._lines, {}
        for setup in lines:
            profile = setup.thresholds
            line = before.get(setup.name)
            if line is None:
                line = Line(Liveness(profile, setup.link, at), PortalWatch(at))
            line.metered = setup.metered
            line.versions = setup.versions
            line.relink(profile, setup.link, at)
            self._lines[setup.name] = line
        self._gateways.configure(gateways, at)
        target = self._gateways.target()
        for line in self._lines.values():
            line.families.use(line.versions.get(target, ()) if target is not None else ())

    def link_changed(self, line: str, link: Link, now: float) -> None:
        """Take what the kernel just said about one line's interface."""
        found = self._lines.get(line)
        if found is not None:
            found.relink(found.liveness.profile, link, self._attention.at(now))

    def rerouted(self, line: str) -> None:
        """Take that addresses or routers of a line changed: what it leads to is asked once, without waiting."""
        found = self._lines.get(line)
        if found is not None:
            found.liveness.hurry()
            found.families.hurry()
        for gateway in self._gateways.all():
            gateway.rerouted(line)

    def router_seen(self, line: str) -> None:
        """Take that the router of a line began or ceased to answer: evidence, no verdict; the line is asked at once."""
        found = self._lines.get(line)
        if found is not None:
            found.liveness.hurry()

    def asked(self, ask: Ask, question: int, now: float) -> None:
        """Take that an ordered question was sent, or refused by the kernel: unanswered either way."""
        at = self._attention.at(now)
        line, gateway = self._lines.get(ask.line), self._gateways.get(ask.gateway)
        if line is not None and gateway is not None:
            line.families.asked(ask.version, question, at)
            if _is_judged_by(line, ask):
                if self._gateways.measures(ask.gateway):
                    line.liveness.asked(question, at)
                gateway.asked(ask.line, at)

    def answered(
        self,
        ask: Ask,
        question: int,
        rtt_s: float,
        told: Told,
        now: float,
        passage: Passage | None = None,
    ) -> None:
        """Take an authentic answer, and what the gateway told of itself."""
        at = self._attention.at(now)
        line, gateway = self._lines.get(ask.line), self._gateways.get(ask.gateway)
        if line is not None and gateway is not None:
            line.families.answered(ask.version, question, rtt_s, at)
            if _is_judged_by(line, ask) and self._gateways.measures(ask.gateway):
                line.liveness.answered(question, rtt_s, at)
                line.quality.add(rtt_s, told.offset_s, passage)
                if passage is not None:
                    line.liveness.degradation.passed(passage)
            gateway.answered(rtt_s, told, at)

    def refused(self, ask: Ask, now: float) -> None:
        """Take an ICMP port unreachable in answer to a question."""
        at = self._attention.at(now)
        line, gateway = self._lines.get(ask.line), self._gateways.get(ask.gateway)
        if line is not None and gateway is not None:
            line.liveness.refused(at)
            gateway.refused(at)

    def connection_failed(self, gateway: str, reason: str, now: float) -> None:
        """Take a worker's `gateway-failed`."""
        found = self._gateways.get(gateway)
        if found is not None:
            found.connection_failed(reason, self._attention.at(now))

    def connection_answered(self, gateway: str, now: float) -> None:
        """Take a worker's `gateway-answered`."""
        found = self._gateways.get(gateway)
        if found is not None:
            found.connection_answered(self._attention.at(now))

    def portal_answered(self, line: str, answer: PortalAnswer, now: float) -> None:
        """Take what asking for a page over a line came to; unclear changes nothing."""
        found = self._lines.get(line)
        if found is None or answer.verdict == "unclear":
            return
        at = self._attention.at(now)
        if answer.verdict == "portal":
            found.portal.seen(found.metered, at)
            if not found.liveness.evidence.unanswered and found.liveness.portal is None:
                return  # echoes came through meanwhile
        found.liveness.seen_portal(answer.where if answer.verdict == "portal" else None, at)

    # -- one turn --------------------------------------------------------------------------------------------

    def turn(self, now: float, counters: Mapping[str, Counters]) -> Orders:
        """Judge everything, after sockets and counters were read; a line without counters carried nothing."""
        at = self._attention.advance(now)
        target = self._gateways.target()
        asks: list[Ask] = []
        for name, around in self._surroundings(target, at).items():
            line = self._lines[name]
            received, sent, size = line.moved(counters.get(name), at)
            line.judge_families(at)
            if line.liveness.turn(at, received, sent, size, around):
                asks.extend(Ask(name, gateway) for gateway in self._gateways.asked(target))
        asks.extend(self._witnesses(asks, target, at))
        asks.extend(self._gateways.judge(self._lines, asks, at))
        asks = [replace(ask, version=self._lines[ask.line].way(ask.gateway)) for ask in asks]
        asks.extend(self._other_families(asks, target, at))
        self._keep_one(at)
        again_s = self._again_s(at)
        self._attention.plan(again_s)
        return Orders(tuple(asks), again_s, self._portal_checks(at))

    def _keep_one(self, at: float) -> None:
        """Never leave the home without any line: of those that only look dead, go on using the one heard last."""
        lines = [line.liveness for line in self._lines.values()]
        if any(line.state == "up" for line in lines):
            return
        open_lines = [line for line in lines if line.is_open]
        best = max(open_lines, key=lambda line: line.heard_at or 0.0, default=None)
        if best is not None and (best.heard_at is not None or best.in_state_s(at) >= _FIRST_ANSWER_S):
            best.keep(at)

    def _portal_checks(self, at: float) -> tuple[str, ...]:
        found = []
        for name, line in self._lines.items():
            liveness, evidence = line.liveness, line.liveness.evidence
            if not liveness.link.enabled or liveness.link.obstacle() is not None:
                continue
            if line.portal.is_due(evidence.unanswered, evidence.unanswered_since, liveness.portal is not None, at):
                found.append(name)
        return tuple(found)

    def _surroundings(self, target: str | None, at: float) -> dict[str, Surroundings]:
        gateway = self._gateways.get(target) if target is not None else None
        up = {name for name, line in self._lines.items() if line.liveness.state == "up"}
        steady = {name for name in up if self._lines[name].liveness.reception.is_steady(at)}
        heard = sorted((line.liveness.heard_at or 0.0, name) for name, line in self._lines.items())
        sound = {name for name in up if not self._lines[name].liveness.degradation.is_doubtful}
        found: dict[str, Surroundings] = {}
        for name in self._lines:
            elsewhere = next((when for when, other in reversed(heard) if other != name), 0.0)
            found[name] = Surroundings(
                others_up=len(up) - (name in up),
                receiving_elsewhere=len(steady) > (name in steady),
                heard_elsewhere_at=elsewhere or None,
                heard_at=gateway.heard_at if gateway is not None else None,
                reach=gateway.reach if gateway is not None else "down",
                sound_elsewhere=len(sound) > (name in sound),
            )
        return found

    def _witnesses(self, asks: list[Ask], target: str | None, at: float) -> list[Ask]:
        """Questions over other lines while one is in doubt: does the gateway live at all?"""
        doubted = [
            line.liveness for line in self._lines.values() if line.liveness.doubted_for_s(at) >= _WITNESS_AFTER_S
        ]
        if target is None or not doubted or self._gateways.reach(target) == "down":
            return []
        asking = {ask.line for ask in asks}
        longest = max(line.doubted_for_s(at) for line in doubted)
        gap_s = min(_WITNESS_GAP_MAX_S, max(_WITNESS_GAP_S, longest / 4))
        found: list[Ask] = []
        for name, line in self._lines.items():
            if line.liveness.state != "up" or line.liveness.doubted or name in asking or len(found) >= WITNESSES:
                continue
            if at - line.witnessed_at >= gap_s:
                line.witnessed_at = at
                found.append(Ask(name, target))
        return found

    def _other_families(self, asks: list[Ask], target: str | None, at: float) -> list[Ask]:
        """Questions over the families that are not in use: they may be broken, or be all that still works."""
        if target is None:
            return []
        if self._gateways.reach(target) != "up":  # it may have only one family itself
            ways = [(ask, self._lines[ask.line].versions.get(ask.gateway, ())) for ask in asks]
            return [replace(ask, version=each) for ask, way in ways for each in way if each != ask.version]
        found: list[Ask] = []
        for name, line in self._lines.items():
            liveness = line.liveness
            if not liveness.is_open:
                continue
            idle_s = liveness.profile.heartbeat_s
            due = line.families.due(liveness.silent_s(at), liveness.is_active(at), idle_s, at)
            found.extend(Ask(name, target, version) for version in due)
        return [ask for ask in found if ask not in asks]

    def _again_s(self, at: float) -> float:
        lines = [line.liveness for line in self._lines.values()]
        if any(line.is_alert(at) for line in lines) or self.is_hurried():
            return ALERT_TURN_S
        active = [line for line in lines if line.is_active(at)]
        if active:
            return BUSY_TURN_S if any(line.reception.mean_gap_s() for line in active) else SPARSE_TURN_S
        return WAITING_TURN_S if any(line.state == "suspect" for line in lines) else IDLE_TURN_S

    def is_hurried(self) -> bool:
        """Say whether the next turn should come at once: an answer made another question due."""
        lines = any(line.liveness.is_hurried for line in self._lines.values())
        return lines or any(gateway.is_hurried for gateway in self._gateways.all())

    # -- what is known ---------------------------------------------------------------------------------------

    def states(self) -> dict[str, tuple[str, ...]]:
        """Return every line's state and reasons, by name: what a listener is told changes of."""
        return {
            name: (line.liveness.state, line.liveness.reason, *line.families.broken().values())
            for name, line in self._lines.items()
        }

    def uplinks(self) -> dict[str, UplinkHealth]:
        """Return every line's health as of now, by name."""
        return {name: line.health() for name, line in self._lines.items()}

    def gateways(self) -> dict[str, GatewayHealth]:
        """Return every gateway's health as of now, by name."""
        return self._gateways.health()


def _is_judged_by(line: Line, ask: Ask) -> bool:
    """Say whether the line stands or falls with this question, not only one of its families."""
    return ask.version == line.way(ask.gateway)
