"""Which address families of one line reach the gateway: IPv6 may be broken where IPv4 works, and the other way round.

Both are asked, the one that is not used rarely. A family that stays silent is broken once the other one has overtaken
it: several of its questions are unanswered for longer than they ever take, and a later one over the other family was
answered. So it is neither the line, nor loss, nor the gateway. A broken one is asked on, and at once when something
about the line changed; three answers in a row end it. Two are never broken at a time: silence of both is the line's.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from hagw.health.estimate import RoundTrip

LOOK_S: Final = 2.0  # between questions over the family that is not used, while the line carries traffic
DOUBT_GAP_S: Final = 0.25  # ... while one of its questions is unanswered
URGENT_GAP_S: Final = 0.045  # ... while the family in use does not answer
RETRY_S: Final = 15.0  # ... while it is broken and the line carries traffic; sooner at first
_RETRY_FIRST_S: Final = 1.0
DEAD_GAP_S: Final = 60.0  # ... on a line that has been dead for a while
URGENT_S: Final = 10.0
GOOD: Final = 3
_MARGIN_S: Final = 0.060
_UNKNOWN_S: Final = 0.500  # for how long a family that has never answered is waited for
_LOST_MIN: Final = 6  # in a row: heavy loss must not look like it
_UNKNOWN_QUESTIONS: Final = 8  # its routers may not have said yet that they are there
_OVERTAKEN_S: Final = 0.020
_SILENCE: Final = 3  # questions lost in a row
_QUESTIONS_MAX: Final = 64


@dataclass(slots=True)
class _Way:
    """One family: the questions it has not answered since it answered last, oldest first."""

    open: OrderedDict[int, float] = field(default_factory=OrderedDict)
    asked_at: float = -1e9
    answered_asked_at: float = -1e9  # when the newest answered question was asked
    alive_since: float = -1e9  # when the first answered one was after a silence
    round_trip: RoundTrip = field(default_factory=RoundTrip)
    broken: str = ""
    broken_at: float = 0.0
    good: int = 0

    def patience_s(self) -> float:
        """Return after how long an answer is missing."""
        if self.round_trip.smoothed_s is None:
            return _UNKNOWN_S
        return self.round_trip.smoothed_s + max(4 * self.round_trip.variation_s, _MARGIN_S)


class Families:
    """One line's. Versions are 4 and 6; times are attentive ones."""

    def __init__(self) -> None:
        self._ways: dict[int, _Way] = {}
        self._hurried = False

    # -- what happened ---------------------------------------------------------------------------------------

    def use(self, versions: Iterable[int]) -> None:
        """Take the families that line and gateway have in common, preferred first."""
        self._ways = {version: self._ways.get(version) or _Way() for version in versions}
        if len(self._ways) == 1:
            for way in self._ways.values():
                way.broken = ""  # there is nothing else to use

    def hurry(self) -> None:
        """Have all be asked at once: something about the line changed."""
        self._hurried = True

    def asked(self, version: int, question: int, now: float) -> None:
        """Take that a question went out over a family."""
        way = self._ways.get(version)
        if way is not None:
            way.asked_at = now
            way.open[question] = now
            if len(way.open) > _QUESTIONS_MAX:
                way.open.popitem(last=False)

    def answered(self, version: int, question: int, rtt_s: float, now: float) -> None:
        """Take an authentic answer."""
        way = self._ways.get(version)
        if way is None:
            return
        asked_at = way.open.pop(question, now - rtt_s)
        if way.round_trip.smoothed_s is None:
            way.alive_since = asked_at
        way.answered_asked_at = max(way.answered_asked_at, asked_at)
        way.round_trip.add(rtt_s, now)
        lost = 0
        while way.open and next(iter(way.open.values())) <= asked_at:
            way.open.popitem(last=False)
            lost += 1
        way.good = 1 if lost else way.good + 1
        if lost >= _SILENCE:
            way.alive_since = asked_at
        if way.broken and way.good >= GOOD:
            way.broken = ""

    # -- what it means ---------------------------------------------------------------------------------------

    @property
    def preferred(self) -> int:
        """The family to ask and be used in, 0 = there is none."""
        return next((version for version, way in self._ways.items() if not way.broken), next(iter(self._ways), 0))

    def broken(self) -> dict[int, str]:
        """Return the families that are not to be used, and why."""
        return {version: way.broken for version, way in self._ways.items() if way.broken}

    def judge(self, wanted: int, now: float) -> bool:
        """Look whether one is broken, by `wanted` questions lost in a row; return whether that is news."""
        if len(self._ways) < 2:
            return False
        news = False
        for version, way in self._ways.items():
            name, other = next((n, found) for n, found in self._ways.items() if found is not way)
            if other.broken or not self._is_overtaken(way, other, wanted, now):
                continue
            way.good = 0
            if not way.broken:
                way.broken_at = now
                way.broken = f"the gateway is reached by IPv{name} only, not by IPv{version}"
                news = True
        return news

    def _is_overtaken(self, way: _Way, other: _Way, wanted: int, now: float) -> bool:
        """Say whether it missed enough questions while the other one answered, before and after them."""
        wanted = max(wanted, _UNKNOWN_QUESTIONS if way.round_trip.smoothed_s is None else _LOST_MIN)
        if len(way.open) < wanted:
            return False
        before = min(other.answered_asked_at - _OVERTAKEN_S, now - way.patience_s())
        return sum([other.alive_since <= asked_at <= before for asked_at in way.open.values()]) >= wanted

    # -- questions -------------------------------------------------------------------------------------------

    def due(self, silent_s: float | None, active: bool, idle_gap_s: float, now: float) -> list[int]:
        """Return the families to ask now besides what the line's own judge asks.

        `silent_s`: for how long the one in use has given reason to doubt the line, None = it has not.
        `idle_gap_s`: between questions while the line carries nothing, 0 = none.
        """
        if len(self._ways) < 2:
            return []
        preferred, hurried, self._hurried = self.preferred, self._hurried, False
        found = []
        for version, way in self._ways.items():
            if version == preferred:
                continue
            gap_s = self._gap_s(way, silent_s, active, idle_gap_s, now)
            if hurried or (gap_s is not None and now - way.asked_at >= gap_s):
                found.append(version)
        # Only a later answer of the other one tells whose fault a silence is.
        if any(self._is_unexplained(self._ways[version], now) for version in found):
            found.append(preferred)
        return found

    def _is_unexplained(self, way: _Way, now: float) -> bool:
        if way.broken:
            return 0 < way.good < GOOD
        return any(now - asked_at >= way.patience_s() for asked_at in way.open.values())

    def _gap_s(self, way: _Way, silent_s: float | None, active: bool, idle_gap_s: float, now: float) -> float | None:
        if silent_s is not None:
            return URGENT_GAP_S if silent_s < URGENT_S else DEAD_GAP_S
        if way.broken and not 0 < way.good < GOOD:
            longest_s = RETRY_S if active else idle_gap_s
            return min(longest_s, max(_RETRY_FIRST_S, (now - way.broken_at) / 4)) or None
        if way.open or way.good < GOOD:
            return DOUBT_GAP_S
        return LOOK_S if active else idle_gap_s or None
