"""What lines carried in a contract's period, and what is left of it: what the daemon counts and judges."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from hagw.model.health import CapStage


@dataclass(frozen=True, slots=True)
class Volume:
    """Bytes by direction."""

    down: int = 0
    up: int = 0

    @property
    def total(self) -> int:
        """Both directions together."""
        return self.down + self.up

    def __add__(self, other: "Volume") -> "Volume":
        return Volume(self.down + other.down, self.up + other.up)


@dataclass(frozen=True, slots=True)
class Reading:
    """A line's interface counters in IP bytes, and whose they are.

    `namespace` names boot and network namespace, `newest` is the youngest interface that it had by then: interface
    indices only grow, so that one above it was made later and counts from zero.
    """

    namespace: str
    ifindex: int
    newest: int
    volume: Volume


@dataclass(frozen=True, slots=True)
class Correction:
    """What to add to the count so that it is the operator's figure; `total` beyond what the directions say."""

    down: int = 0
    up: int = 0
    total: int = 0
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """One period of a cap. Times are local, without a zone. `since` = when counting began in it."""

    begin: datetime
    since: datetime
    lines: Mapping[str, Volume] = field(default_factory=dict)
    correction: Correction = Correction()
    said: float = 0.0  # the highest warning level that was told of

    @property
    def counted(self) -> Volume:
        """What all lines carried."""
        return sum(self.lines.values(), Volume())

    @property
    def used_down(self) -> int:
        """Bytes down, by the operator's word as far as there is one."""
        return max(0, self.counted.down + self.correction.down)

    @property
    def used_up(self) -> int:
        """Bytes up, likewise."""
        return max(0, self.counted.up + self.correction.up)

    @property
    def used(self) -> int:
        """Bytes in both directions, likewise."""
        return max(0, self.used_down + self.used_up + self.correction.total)


@dataclass(frozen=True, slots=True)
class Book:
    """A cap's present period and those before it, newest last."""

    now: Account
    earlier: tuple[Account, ...] = ()


@dataclass(frozen=True, slots=True)
class Ledger:
    """Everything that must survive: counters as last read, by line, and books, by cap."""

    readings: Mapping[str, Reading] = field(default_factory=dict)
    books: Mapping[str, Book] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CapStanding:
    """How a cap stands. `share` of its volume is used; `forecast_*` are for the period's end, None = too early."""

    name: str
    stage: CapStage
    reason: str
    share: float
    warned: float | None  # the highest warning level reached
    begin: datetime
    end: datetime
    account: Account
    forecast_bytes: int | None = None
    forecast_share: float | None = None
    reached_at: datetime | None = None  # when nothing is left, at this pace; None = not in this period


@dataclass(frozen=True, slots=True)
class Restraint:
    """What its data caps leave of a line, and why; `rate_bps` where it is throttled."""

    stage: CapStage
    reason: str
    rate_bps: int | None = None
