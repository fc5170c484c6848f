"""One line as the judge of all sees it: how it is set up, what is known of it, by which address family it is in use."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from hagw.health.families import Families
from hagw.health.link import Link
from hagw.health.liveness import Liveness
from hagw.health.portal import PortalWatch
from hagw.health.profile import Profile, profile_of, styled
from hagw.health.quality import Quality
from hagw.model.health import UplinkHealth
from hagw.model.intent import ProbeStyle, UplinkKind

_NEVER: Final = -1e9


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

    @property
    def thresholds(self) -> Profile:
        """By what it is judged."""
        return self.profile or styled(profile_of(self.kind, self.metered), self.style, self.metered)


@dataclass(frozen=True, slots=True)
class Counters:
    """Totals of a line's interface without our own questions and answers."""

    rx_packets: int
    tx_packets: int
    rx_bytes: int
    tx_bytes: int


@dataclass(slots=True)
class Line:
    """What is known of a line. `now` is attentive time everywhere."""

    liveness: Liveness
    portal: PortalWatch
    metered: bool = False
    counters: Counters | None = None
    quality: Quality = field(default_factory=Quality)
    families: Families = field(default_factory=Families)
    versions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    witnessed_at: float = _NEVER

    def relink(self, profile: Profile, link: Link, now: float) -> None:
        """Take what the kernel (or the owner) now says about its interface."""
        if link != self.liveness.link:
            self.portal.begin_anew(now)
            self.families.hurry()
        self.liveness.relink(profile, link, now)

    def way(self, gateway: str) -> int:
        """Return the family in use towards a gateway."""
        versions, broken = self.versions.get(gateway, ()), self.families.broken()
        return next((version for version in versions if version not in broken), next(iter(versions), 0))

    def moved(self, counters: Counters | None, now: float) -> tuple[int, int, int]:
        """Take its counters; return what they grew by: packets received and sent, and bytes."""
        before, self.counters = self.counters, counters or self.counters
        if before is None or counters is None:
            return 0, 0, 0
        received = max(0, counters.rx_packets - before.rx_packets)
        sent = max(0, counters.tx_packets - before.tx_packets)
        down, up = max(0, counters.rx_bytes - before.rx_bytes), max(0, counters.tx_bytes - before.tx_bytes)
        self.liveness.degradation.carried(down, up, now)
        return received, sent, down + up

    def judge_families(self, now: float) -> None:
        """Go on in the other family where the one in use is broken, or in the preferred one again."""
        before = self.families.preferred
        self.families.judge(self.liveness.evidence.questions_wanted(), now)
        if self.families.preferred != before:
            self.liveness.detoured(f"goes on by IPv{self.families.preferred}", now)

    def health(self) -> UplinkHealth:
        """Return its health as of now."""
        liveness, quality = self.liveness, self.quality
        return UplinkHealth(
            state=liveness.state,
            reason=liveness.reason,
            rtt_ms=milliseconds(liveness.round_trip.smoothed_s),
            loss=liveness.loss.value,
            rtt_floor_ms=milliseconds(liveness.round_trip.floor_s),
            jitter_ms=milliseconds(quality.jitter.value_s),
            jitter_up_ms=milliseconds(quality.jitter_up.value_s),
            jitter_down_ms=milliseconds(quality.jitter_down.value_s),
            loss_up=quality.loss.up,
            loss_down=quality.loss.down,
            broken=self.families.broken(),
        )


def milliseconds(seconds: float | None) -> float | None:
    """Return a duration as documents show it."""
    return None if seconds is None else round(seconds * 1000, 1)
