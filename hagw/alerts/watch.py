"""Which alerts are told, and when: once they have lasted, their end too, never too many. Pure: `now` in seconds."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from hagw.alerts.rules import Alert

HOUR_S: Final = 3600.0
ACTIVE_MAX: Final = 256


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to tell. `unsent` counts what was not told before it, because there was too much."""

    event: Literal["raised", "recovered"]
    alert: Alert
    since_s: float
    unsent: int = 0


@dataclass(slots=True)
class _Case:
    """One alert's history. `quiet_s`: since when it has been gone."""

    alert: Alert
    since_s: float
    told: bool = False
    is_late: bool = False  # was to be told when there were too many
    quiet_s: float | None = None


class Watch:
    """What is wrong, and since when."""

    def __init__(self) -> None:
        self._cases: dict[str, _Case] = {}
        self._sent: deque[float] = deque()
        self._unsent = 0

    def look(self, found: Iterable[Alert], now: float, *, after_s: float, hourly_max: int) -> list[Notice]:
        """Take what is wrong now; return what is to be told.

        An alert is raised once it has lasted `after_s`, and over once it has been gone as long. Beyond `hourly_max` in
        an hour none is raised until there is room again; the end of what was told is told in any case.
        """
        present = {alert.key: alert for alert in found}
        for key, alert in present.items():
            case = self._cases.get(key)
            if case is None and len(self._cases) < ACTIVE_MAX:
                self._cases[key] = _Case(alert, now)
            elif case is not None:
                case.alert, case.quiet_s = alert, None
        notices = []
        for key, case in list(self._cases.items()):
            if key not in present:
                notices += self._gone(key, case, now, after_s)
            elif not case.told and now - case.since_s >= after_s:
                notices += self._raised(case, now, hourly_max)
        return notices

    def active(self) -> list[tuple[Alert, float]]:
        """Return what is wrong now and since when, also what is not told yet."""
        return [(case.alert, case.since_s) for case in self._cases.values() if case.quiet_s is None]

    def _raised(self, case: _Case, now: float, hourly_max: int) -> list[Notice]:
        while self._sent and now - self._sent[0] >= HOUR_S:
            self._sent.popleft()
        if len(self._sent) >= hourly_max:
            case.is_late = True
            return []
        self._sent.append(now)
        case.told = True
        unsent, self._unsent = self._unsent, 0
        return [Notice("raised", case.alert, case.since_s, unsent)]

    def _gone(self, key: str, case: _Case, now: float, after_s: float) -> list[Notice]:
        if case.quiet_s is None:
            case.quiet_s = now
        if case.told and now - case.quiet_s < after_s:
            return []
        del self._cases[key]
        self._unsent += case.is_late and not case.told
        return [Notice("recovered", case.alert, case.since_s)] if case.told else []
