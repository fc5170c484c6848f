"""How pretend lines behave: what each can carry, its round trip, and when it is lost; pure functions of time."""

from dataclasses import dataclass
from math import pi, sin
from typing import Final

from hagw.model.intent import UplinkKind
from hagw.model.snapshot import UplinkView


@dataclass(frozen=True, slots=True)
class Character:
    """A kind of line: rates in bit/s, by how much they sway, and how often and for how long it is lost."""

    down_bps: int
    up_bps: int
    rtt_ms: float
    sway: float
    sway_s: float
    lost_every_s: float
    lost_for_s: float
    lost_first_s: float
    loss: float
    reason: str


CHARACTERS: Final[dict[UplinkKind, Character]] = {
    "dsl": Character(16_000_000, 5_000_000, 24.0, 0.03, 47.0, 1800.0, 20.0, 700.0, 0.0, "no answer to echoes"),
    "pppoe": Character(50_000_000, 10_000_000, 18.0, 0.03, 53.0, 1800.0, 20.0, 800.0, 0.0, "no answer to echoes"),
    "ethernet": Character(100_000_000, 40_000_000, 9.0, 0.02, 61.0, 2400.0, 15.0, 900.0, 0.0, "the link is gone"),
    "wwan": Character(50_000_000, 20_000_000, 52.0, 0.55, 37.0, 420.0, 9.0, 260.0, 0.004, "no answer to echoes"),
    "wifi": Character(20_000_000, 8_000_000, 17.0, 0.35, 23.0, 180.0, 14.0, 75.0, 0.012, "the carrier is lost"),
}
SUSPECT_S: Final = 0.3


def rates(kind: UplinkKind, hints: tuple[int | None, int | None], now: float) -> tuple[float, float]:
    """Return what a line can carry at `now`, down and up, in bit/s; hints of the configuration are its best."""
    about = CHARACTERS[kind]
    share = 1.0 - about.sway * (0.5 + 0.3 * sin(2 * pi * now / about.sway_s) + 0.2 * sin(2 * pi * now / 7.3))
    return (hints[0] or about.down_bps) * share, (hints[1] or about.up_bps) * share


def rtt_ms(kind: UplinkKind, load: float, now: float) -> float:
    """Return the round trip of a line that carries `load` (0..1) of what it can."""
    about = CHARACTERS[kind]
    return about.rtt_ms * (1.0 + 0.6 * load**3 + about.sway * 0.4 * (1 + sin(2 * pi * now / 11.7)))


def loss(kind: UplinkKind, now: float) -> float:
    """Return the share of echoes that get lost."""
    return max(0.0, CHARACTERS[kind].loss * (1 + sin(2 * pi * now / 29.0)))


def lost_for(kind: UplinkKind, age_s: float) -> float | None:
    """Return for how long a line has been lost, `age_s` after it was first there; None = it works."""
    about = CHARACTERS[kind]
    since = age_s - about.lost_first_s
    if since < 0:
        return None
    phase = since % about.lost_every_s
    return phase if phase < about.lost_for_s else None


def kind_of(view: UplinkView) -> UplinkKind:
    """Guess what kind of line it is: a snapshot does not say."""
    for prefix, kind in _KINDS:
        if view.name.startswith(prefix) or view.interface.startswith(prefix):
            return kind
    return "ethernet"


_KINDS: Final[tuple[tuple[str, UplinkKind], ...]] = (
    ("dsl", "dsl"),
    ("lte", "wwan"),
    ("ww", "wwan"),
    ("wifi", "wifi"),
    ("wl", "wifi"),
    ("ppp", "pppoe"),
)
