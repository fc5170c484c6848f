"""How patient we are with each kind of line: every threshold of liveness, in one place.

Measured background (lab, DSL 24 ms, LTE 50 ms, WiFi 16 ms): withdrawing a line's subflows costs 160-200 ms, a gap
under 500 ms leaves about 250 ms for finding out; loaded queues add 100-200 ms to a round trip, yet a line whose
*reception* has stopped has nothing queued towards us, so its answer comes after the unloaded round trip.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, assert_never

from hagw.model.intent import ProbeStyle, UplinkKind


@dataclass(frozen=True, slots=True)
class Profile:
    """Thresholds of one line. Times in seconds of attentive time (`hagw.health.attention`)."""

    # Asking: when is a line's silence worth a question?
    silence_s: float = 0.020  # shortest silence after steady reception
    silence_gaps: float = 4.0  # ... and this many mean gaps between packets
    unanswered_s: float = 0.060  # transmission without reception: this + 1.5 round trips
    echo_s: float = 0.250  # period of echoes while the line carries traffic
    echo_bytes: int = 4096  # ... but one echo (184 bytes) per this much traffic at most
    heartbeat_s: float = 60.0  # period while it carries none; 0 = silent
    ask_gap_s: float = 0.015  # between the first questions about a doubt, then slow_gap_s
    slow_gap_s: float = 0.060
    # Verdict: how long may answers take?
    margin_s: float = 0.030  # beyond the unloaded round trip and margin_rtt of it
    margin_rtt: float = 0.3
    wake_s: float = 0.150  # first answer of a line that was idle for idle_after_s
    idle_after_s: float = 3.0
    crossed_s: float = 0.700  # unanswered questions while packets still arrive, or while our own queue may be long
    first_s: float = 1.0  # a line that has never answered
    passive_s: float = 2.0  # without any gateway to ask: transmission without reception
    # Afterwards
    retry_s: float = 0.200  # questions to a suspect line, backing off to retry_max_s after retry_steady_s
    retry_max_s: float = 1.0
    retry_steady_s: float = 10.0
    down_after_s: float = 5.0
    recover_echoes: int = 2  # consecutive good echoes; 2 more for each further suspicion within a minute
    recover_echoes_max: int = 10
    good_rtt_s: float = 1.5  # a slower echo is not a good one


METERED_HEARTBEAT_S: Final = 300.0
METERED_FAST_HEARTBEAT_S: Final = 60.0  # what the owner's wish cannot go below: the budget of a day holds
METERED_RETRY_S: Final = 15.0  # 92 bytes each: half a megabyte a day on a line that stays dead

_WIRED: Final = Profile()
PROFILES: Final[Mapping[UplinkKind, Profile]] = MappingProxyType(
    {
        "dsl": _WIRED,
        "ethernet": _WIRED,
        "pppoe": _WIRED,
        # Power save lets a station sleep for a beacon or two (100-300 ms).
        "wifi": replace(_WIRED, wake_s=0.300),
        # A modem in RRC idle needs up to a second for its first packet, and pays for each waking up.
        "wwan": replace(_WIRED, wake_s=1.0, heartbeat_s=300.0),
    }
)


def profile_of(kind: UplinkKind, metered: bool) -> Profile:
    """Return the thresholds of a kind of line; a metered one is asked less often while idle and while it is dead."""
    profile = PROFILES[kind]
    return replace(profile, heartbeat_s=METERED_HEARTBEAT_S, retry_max_s=METERED_RETRY_S) if metered else profile


def styled(profile: Profile, style: ProbeStyle, metered: bool) -> Profile:
    """Return the thresholds with the owner's wish about how much to ask; how long an answer may take stays.

    Whatever the wish, an idle metered line stays within its budget of 2 MB a day.
    """
    match style:
        case "normal":
            return profile
        case "gentle":
            heartbeat_s = max(300.0, profile.heartbeat_s)
            return replace(profile, heartbeat_s=heartbeat_s, echo_s=1.0, echo_bytes=16_384, retry_max_s=15.0)
        case "fast":
            return replace(profile, heartbeat_s=METERED_FAST_HEARTBEAT_S if metered else 10.0, echo_s=0.1)
        case _:
            assert_never(style)
