"""All lines and gateways together: who witnesses for whom, which questions go out now, how soon to look again.

The shell (`hagw.probe.prober`) reads counters, carries questions and answers, and tells the real time; everything that
is decided is decided here. Per turn a line asks at most one question of its own, plus one as another's witness.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from hagw.health.attention import Attention
from hagw.health.families import Families
from hagw.health.gateway import GatewayWatch, Told
from hagw.health.liveness import Link, Liveness, Surroundings
from hagw.health.portal import PortalAnswer, PortalWatch
from hagw.health.profile import METERED_RETRY_S, Profile, profile_of, styled
from hagw.health.quality import Quality
from hagw.model.health import GatewayHealth, UplinkHealth
from hagw.model.intent import ProbeStyle, UplinkKind
from hagw.pmf.asker import Passage

# A turn costs some 300 µs of a shared core, most of it for waking up: quick ones only where milliseconds count.
ALERT_TURN_S: Final = 0.010  # a line that received steadily has just stopped to, or questions are out
BUSY_TURN_S: Final = 0.025
SPARSE_TURN_S: Final = 0.050  # some traffic, too little to notice a silence by
WAITING_TURN_S: Final = 0.100  # a line is suspect
IDLE_TURN_S: Final = 0.200
_WITNESSES: Final = 2
_WITNESS_AFTER_S: Final = 0.015  # most doubts are gone by then
_WITNESS_GAP_S: Final = 0.100
_WITNESS_GAP_MAX_S: Final = 1.0
_FIRST_ANSWER_S: Final = 1.0
_AWAY_FOR_LONG_S: Final = 60.0
_GATEWAY_CHECK_S: Final = 0.5  # each gateway beside the one that lines are measured against: its flows trust it
_GATEWAY_DOUBT_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class LineSetup:
    """A line as configured and as the kernel shows it; `profile` None = the kind's.

    `versions` are the address families it has in common with each gateway, preferred first.
    """

    name: str
    kind: UplinkKind
    link: Link
    profile: Profile | None = None
    metered: bool = False
    style: ProbeStyle = "normal"
    versions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Counters:
    """Totals of a line's interface without our own questions and answers."""

    rx_packets: int
    tx_packets: int
    rx_bytes: int
    tx_bytes: int


@dataclass(frozen=True, slots=True)
class Ask:
    """Order: send a question to `gateway` over `line`, by IPv`version`; 0 where families are unknown."""

    line: str
    gateway: str
    version: int = 0


@dataclass(frozen=True, slots=True)
class Orders:
    """What to do after a turn, and in how many seconds to come back; `portal_checks` are lines to ask a page over."""

    asks: tuple[Ask, ...]
    again_s: float
    portal_checks: tuple[str, ...] = ()


@dataclass(slots=True)
class _Line:
    liveness: Liveness
    portal: PortalWatch
    metered: bool = False
    counters: Counters | None = None
    quality: Quality = field(default_factory=Quality)
    families: Families = field(default_factory=Families)
    versions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    witnessed_at: float = field(default=-1e9)


class Fleet:
    """The judge of all lines and gateways of one CPE. Times given to it are the real monotonic ones."""

    def __init__(self, now: float) -> None:
        self._attention = Attention(now)
        self._lines: dict[str, _Line] = {}
        self._gateways: dict[str, GatewayWatch] = {}
        self._asked_gateway_at: dict[str, float] = {}
        self._rotation = 0

    # -- what happened ---------------------------------------------------------------------------------------

    def configure(self, lines: Iterable[LineSetup], gateways: Iterable[str], now: float) -> None:
        """Take lines and gateways (most preferred first) as they are now; what is known about the others is kept."""
        at = self._attention.at(now)
        before_lines, before_gateways = self._lines, self._gateways
        self._lines, self._gateways = {}, {}
        for setup in lines:
            profile = setup.profile or styled(profile_of(setup.kind, setup.metered), setup.style, setup.metered)
            line = before_lines.get(setup.name)
            if line is None:
                line = _Line(Liveness(profile, setup.link, at), PortalWatch(at))
            line.metered = setup.metered
            line.versions = setup.versions
            self._relink(line, profile, setup.link, at)
            self._lines[setup.name] = line
        for name in gateways:
            self._gateways[name] = before_gateways.get(name) or GatewayWatch(at)
        target = self._target()
        for line in self._lines.values():
            line.families.use(line.versions.get(target, ()) if target is not None else ())

    def link_changed(self, line: str, link: Link, now: float) -> None:
        """Take what the kernel just said about one line's interface."""
        found = self._lines.get(line)
        if found is not None:
            self._relink(found, found.liveness.profile, link, self._attention.at(now))

    def rerouted(self, line: str) -> None:
        """Take that addresses or routers of a line changed: what it leads to is asked once, without waiting."""
        found = self._lines.get(line)
        if found is not None:
            found.liveness.hurry()
            found.families.hurry()
        for gateway in self._gateways.values():
            gateway.rerouted(line)

    def router_seen(self, line: str) -> None:
        """Take that the router of a line began or ceased to answer: evidence, no verdict; the line is asked at once."""
        found = self._lines.get(line)
        if found is not None:
            found.liveness.hurry()

    def _relink(self, line: _Line, profile: Profile, link: Link, at: float) -> None:
        if link != line.liveness.link:
            line.portal.begin_anew(at)
            line.families.hurry()
        line.liveness.relink(profile, link, at)

    def asked(self, ask: Ask, question: int, now: float) -> None:
        """Take that an ordered question was sent, or refused by the kernel: unanswered either way."""
        at = self._attention.at(now)
        if ask.line in self._lines and ask.gateway in self._gateways:
            line = self._lines[ask.line]
            line.families.asked(ask.version, question, at)
            if self._is_judged_by(line, ask):
                if self._measures(ask.gateway):
                    line.liveness.asked(question, at)
                self._gateways[ask.gateway].asked(ask.line, at)

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
        if ask.line in self._lines and ask.gateway in self._gateways:
            line = self._lines[ask.line]
            line.families.answered(ask.version, question, rtt_s, at)
            if self._is_judged_by(line, ask) and self._measures(ask.gateway):
                line.liveness.answered(question, rtt_s, at)
                line.quality.add(rtt_s, told.offset_s, passage)
                if passage is not None:
                    line.liveness.degradation.passed(passage)
            self._gateways[ask.gateway].answered(rtt_s, told, at)

    def _is_judged_by(self, line: _Line, ask: Ask) -> bool:
        """Say whether the line stands or falls with this question, not only one of its families."""
        return ask.version == self._way(line, ask.gateway)

    def _way(self, line: _Line, gateway: str) -> int:
        """Return the family in use towards a gateway."""
        versions, broken = line.versions.get(gateway, ()), line.families.broken()
        return next((version for version in versions if version not in broken), next(iter(versions), 0))

    def refused(self, ask: Ask, now: float) -> None:
        """Take an ICMP port unreachable in answer to a question."""
        at = self._attention.at(now)
        if ask.line in self._lines and ask.gateway in self._gateways:
            self._lines[ask.line].liveness.refused(at)
            self._gateways[ask.gateway].refused(at)

    def connection_failed(self, gateway: str, reason: str, now: float) -> None:
        """Take a worker's `gateway-failed`."""
        if gateway in self._gateways:
            self._gateways[gateway].connection_failed(reason, self._attention.at(now))

    def connection_answered(self, gateway: str, now: float) -> None:
        """Take a worker's `gateway-answered`."""
        if gateway in self._gateways:
            self._gateways[gateway].connection_answered(self._attention.at(now))

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
        target = self._target()
        asks: list[Ask] = []
        for name, around in self._surroundings(target, at).items():
            line = self._lines[name]
            received, sent, size = self._moved(line, counters.get(name), at)
            self._judge_families(line, at)
            if line.liveness.turn(at, received, sent, size, around):
                asks.extend(Ask(name, gateway) for gateway in self._asked_gateways(target))
        asks.extend(self._witnesses(asks, target, at))
        asks.extend(self._judge_gateways(at, asks))
        asks = [replace(ask, version=self._way(self._lines[ask.line], ask.gateway)) for ask in asks]
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

    def _moved(self, line: _Line, counters: Counters | None, at: float) -> tuple[int, int, int]:
        before, line.counters = line.counters, counters or line.counters
        if before is None or counters is None:
            return 0, 0, 0
        received = max(0, counters.rx_packets - before.rx_packets)
        sent = max(0, counters.tx_packets - before.tx_packets)
        down, up = max(0, counters.rx_bytes - before.rx_bytes), max(0, counters.tx_bytes - before.tx_bytes)
        line.liveness.degradation.carried(down, up, at)
        return received, sent, down + up

    def _target(self) -> str | None:
        """The gateway lines are measured against: the most preferred one that answers, else that may."""
        for reach in ("up", "unknown", "down"):
            for name, gateway in self._gateways.items():
                if gateway.reach == reach:
                    return name
        return None

    def _measures(self, gateway: str) -> bool:
        """Say whether a gateway's echoes tell of the lines: the others are elsewhere, and their death is theirs."""
        target = self._target()
        return gateway == target or target is None or self._gateways[target].reach == "unknown"

    def _asked_gateways(self, target: str | None) -> tuple[str, ...]:
        """While none has answered yet all are asked: whichever answers first is as good."""
        if target is not None and self._gateways[target].reach == "unknown":
            return tuple(name for name, gateway in self._gateways.items() if gateway.reach == "unknown")
        return (target,) if target is not None else ()

    def _surroundings(self, target: str | None, at: float) -> dict[str, Surroundings]:
        gateway = self._gateways[target] if target is not None else None
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
        if target is None or not doubted or self._gateways[target].reach == "down":
            return []
        asking = {ask.line for ask in asks}
        longest = max(line.doubted_for_s(at) for line in doubted)
        gap_s = min(_WITNESS_GAP_MAX_S, max(_WITNESS_GAP_S, longest / 4))
        found: list[Ask] = []
        for name, line in self._lines.items():
            if line.liveness.state != "up" or line.liveness.doubted or name in asking or len(found) >= _WITNESSES:
                continue
            if at - line.witnessed_at >= gap_s:
                line.witnessed_at = at
                found.append(Ask(name, target))
        return found

    def _judge_families(self, line: _Line, at: float) -> None:
        """Go on in the other family where the one in use is broken, or in the preferred one again."""
        before = line.families.preferred
        line.families.judge(line.liveness.evidence.questions_wanted(), at)
        if line.families.preferred != before:
            line.liveness.detoured(f"goes on by IPv{line.families.preferred}", at)

    def _other_families(self, asks: list[Ask], target: str | None, at: float) -> list[Ask]:
        """Questions over the families that are not in use: they may be broken, or be all that still works."""
        if target is None:
            return []
        if self._gateways[target].reach != "up":  # it may have only one family itself
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

    def _judge_gateways(self, at: float, asks: list[Ask]) -> list[Ask]:
        up = {name for name, line in self._lines.items() if line.liveness.state == "up"}
        receiving = any(line.liveness.reception.is_steady(at) for line in self._lines.values())
        slowest_s = max((line.liveness.round_trip.last_s or 0.0 for line in self._lines.values()), default=0.0)
        lines = sorted(up) or [n for n, line in self._lines.items() if line.liveness.link.obstacle() is None]
        target = self._target()
        found: list[Ask] = []
        for name, gateway in self._gateways.items():
            was = gateway.reach
            wants = gateway.turn(at, up, receiving, slowest_s)
            if was != "down" and gateway.reach == "down":
                self._pardon(gateway, at)
            is_doubted = name != target and gateway.is_doubted(at)
            check_s = _GATEWAY_DOUBT_S if is_doubted else _GATEWAY_CHECK_S
            idle_s = at - self._asked_gateway_at.get(name, at - check_s)
            if name != target and was != "down" and idle_s >= check_s and (is_doubted or self._is_active(at)):
                wants = True
            if wants and lines:
                self._asked_gateway_at[name] = at
                self._rotation += 1
                first = self._rotation % len(lines)
                count = len(lines) if is_doubted else _WITNESSES if name == target or was == "down" else 1
                found.extend(Ask(line, name) for line in (lines[first:] + lines[:first])[:count])
        return [ask for ask in found if ask not in asks and not self._is_spared(ask, at)]

    def _is_spared(self, ask: Ask, at: float) -> bool:
        """Say whether a metered line is asked too often for a gateway that has been away for long."""
        line, gateway = self._lines[ask.line], self._gateways[ask.gateway]
        is_down = gateway.reach == "down" and at - gateway.down_at >= _AWAY_FOR_LONG_S and not gateway.is_hurried
        drains = gateway.reach == "up" and gateway.draining and at - gateway.drains_since >= _AWAY_FOR_LONG_S
        is_away = is_down or (drains and not line.liveness.is_active(at))
        return line.metered and is_away and at - line.liveness.evidence.asked_at < METERED_RETRY_S

    def _pardon(self, gateway: GatewayWatch, at: float) -> None:
        """Lines that were suspected after the gateway was heard for the last time were suspected in its place."""
        heard_at = gateway.heard_at or at
        for line in self._lines.values():
            since = line.liveness.doubted_since
            if line.liveness.state == "suspect" and since is not None and since >= heard_at - 0.5:
                line.liveness.pardon("the gateway was at fault", at)

    def _is_active(self, at: float) -> bool:
        return any(line.liveness.is_active(at) for line in self._lines.values())

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
        return lines or any(gateway.is_hurried for gateway in self._gateways.values())

    # -- what is known ---------------------------------------------------------------------------------------

    def states(self) -> dict[str, tuple[str, ...]]:
        """Return every line's state and reasons, by name: what a listener is told changes of."""
        return {
            name: (line.liveness.state, line.liveness.reason, *line.families.broken().values())
            for name, line in self._lines.items()
        }

    def uplinks(self) -> dict[str, UplinkHealth]:
        """Return every line's health as of now, by name."""
        return {name: _uplink_health(line) for name, line in self._lines.items()}

    def gateways(self) -> dict[str, GatewayHealth]:
        """Return every gateway's health as of now, by name."""
        return {name: _gateway_health(watch) for name, watch in self._gateways.items()}


def _uplink_health(line: _Line) -> UplinkHealth:
    liveness, quality = line.liveness, line.quality
    return UplinkHealth(
        state=liveness.state,
        reason=liveness.reason,
        rtt_ms=_ms(liveness.round_trip.smoothed_s),
        loss=liveness.loss.value,
        rtt_floor_ms=_ms(liveness.round_trip.floor_s),
        jitter_ms=_ms(quality.jitter.value_s),
        jitter_up_ms=_ms(quality.jitter_up.value_s),
        jitter_down_ms=_ms(quality.jitter_down.value_s),
        loss_up=quality.loss.up,
        loss_down=quality.loss.down,
        broken=line.families.broken(),
    )


def _gateway_health(gateway: GatewayWatch) -> GatewayHealth:
    trip = gateway.round_trip
    return GatewayHealth(
        gateway.reach, gateway.reason, _ms(trip.smoothed_s), gateway.ipv6, gateway.clock_offset_s,
        _ms(trip.floor_s), gateway.draining, gateway.overloaded,
    )  # fmt: skip


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
