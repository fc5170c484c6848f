"""How a cap stands and what follows: warn, overflow only, standby only, throttle, cut; and how it will end."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from hagw.caps.period import Period, period
from hagw.model.health import CapStage
from hagw.model.intent import DataCapIntent
from hagw.model.usage import Account, Book, CapStanding, Restraint

STAGES: Final[tuple[CapStage, ...]] = ("normal", "overflow", "standby", "throttle", "cut")
PACE_MIN: Final = timedelta(hours=6)  # less of a period says nothing about the rest of it
PRIOR: Final = timedelta(days=3)  # how much the period before has to say
_UNITS: Final = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


def standing(cap: DataCapIntent, book: Book, now: datetime) -> CapStanding:
    """Return how a cap stands at `now`, local time."""
    account = book.now
    span = _period_of(cap, account)
    share = share_used(cap, account)
    found: CapStage = "normal"
    for stage, threshold in rungs(cap):
        if share >= threshold:
            found = stage
    forecast = _forecast(cap, book, span, now)
    return CapStanding(
        name=cap.name,
        stage=found,
        reason=_reason(cap, account, share, found, span),
        share=share,
        warned=max((level for level in cap.warn if share >= level), default=None),
        begin=span.begin,
        end=span.end,
        account=account,
        forecast_bytes=None if forecast is None else round(forecast[0]),
        forecast_share=None if forecast is None else forecast[1],
        reached_at=None if forecast is None else forecast[2],
    )


def rungs(cap: DataCapIntent) -> tuple[tuple[CapStage, float], ...]:
    """Return the rungs of a cap's ladder that it has, mildest first, each with the share it begins at."""
    every: tuple[tuple[CapStage, float | None], ...] = (
        ("overflow", cap.overflow_only),
        ("standby", cap.standby_only),
        ("throttle", cap.throttle),
        ("cut", cap.cut),
    )
    return tuple((stage, share) for stage, share in every if share is not None)


def share_used(cap: DataCapIntent, account: Account) -> float:
    """Return the largest share of any of the cap's volumes that is used."""
    return max((used / volume for used, volume in _volumes(cap, account)), default=0.0)


def left_bytes(cap: DataCapIntent, account: Account) -> int | None:
    """Return how many bytes there are until the next rung, None after the last one. A guess on the safe side."""
    shares = [share for _, share in rungs(cap)]
    lefts = [
        round(share * volume) - used
        for used, volume in _volumes(cap, account)
        for share in shares
        if share * volume > used
    ]
    return min(lefts, default=None)


def restraints(caps: Iterable[DataCapIntent], standings: Iterable[CapStanding]) -> dict[str, Restraint]:
    """Return by line what its caps leave of it, where that is not everything: the strictest of them counts."""
    known = {each.name: each for each in standings}
    found: dict[str, Restraint] = {}
    for cap in caps:
        stands = known.get(cap.name)
        if stands is None or stands.stage == "normal":
            continue
        rate = cap.throttle_rate_bps if stands.stage == "throttle" else None
        for line in cap.uplinks:
            new, before = Restraint(stands.stage, stands.reason, rate), found.get(line)
            if before is None or STAGES.index(new.stage) > STAGES.index(before.stage):
                found[line] = new
            elif new.stage == before.stage and (new.rate_bps or 0) < (before.rate_bps or 0):
                found[line] = replace(before, rate_bps=new.rate_bps)
    return found


def volume_text(size: int) -> str:
    """Return a volume as people write it: three digits that count."""
    for factor, unit in _UNITS:
        if size >= factor:
            return f"{size / factor:.3g} {unit}" if size < 1000 * factor else f"{size / factor:.0f} {unit}"
    return f"{size} B"


def _volumes(cap: DataCapIntent, account: Account) -> tuple[tuple[int, int], ...]:
    """Return used and allowed bytes of each volume that the cap has."""
    every = (
        (account.used, cap.volume_bytes),
        (account.used_down, cap.volume_down_bytes),
        (account.used_up, cap.volume_up_bytes),
    )
    return tuple((used, volume) for used, volume in every if volume is not None)


def _period_of(cap: DataCapIntent, account: Account) -> Period:
    """Return the account's period; where the billing day was changed meanwhile, up to the next new one."""
    return Period(account.begin, period(cap, account.begin).end)


def _reason(cap: DataCapIntent, account: Account, share: float, stage: CapStage, span: Period) -> str:
    used, volume = max(_volumes(cap, account), key=lambda pair: pair[0] / pair[1])
    told = f"data cap {cap.name}: {volume_text(used)} of {volume_text(volume)} used ({share * 100:.0f} %)"
    words = {
        "normal": told,
        "overflow": f"for overflow only; {told}",
        "standby": f"on standby; {told}",
        "throttle": f"on standby and throttled; {told}",
        "cut": f"cut; {told}",
    }
    return f"{words[stage]}, next period {span.end:%Y-%m-%d}"


def _forecast(
    cap: DataCapIntent, book: Book, span: Period, now: datetime
) -> tuple[float, float, datetime | None] | None:
    """Return bytes and share at the period's end, and when the volume is used up, at the pace so far.

    The period before counts like three days of this one, so that its first evening does not rule the forecast.
    """
    account = book.now
    since = account.begin if account.correction.at is not None else max(account.since, account.begin)
    elapsed, prior, before = now - since, timedelta(0), None
    if book.earlier and book.earlier[-1].since < book.earlier[-1].begin + timedelta(days=1):
        before, prior = book.earlier[-1], min(PRIOR, span.end - span.begin)
    if elapsed + prior < min(PACE_MIN, (span.end - span.begin) / 4):
        return None
    length_s = max(1.0, (account.begin - before.begin).total_seconds()) if before is not None else 1.0
    weight_s = elapsed.total_seconds() + prior.total_seconds()
    left_s = max(0.0, (span.end - now).total_seconds())
    paces = [
        (used, volume, (used + past / length_s * prior.total_seconds()) / weight_s)
        for (used, volume), past in zip(_volumes(cap, account), _pasts(cap, before), strict=False)
    ]
    used, volume, pace = max(paces, key=lambda each: (each[0] + each[2] * left_s) / each[1])
    end_bytes = used + pace * left_s
    reached = None
    if used < volume <= end_bytes:
        reached = now + timedelta(seconds=(volume - used) / pace)
    return end_bytes, end_bytes / volume, reached


def _pasts(cap: DataCapIntent, before: Account | None) -> tuple[int, ...]:
    """Return what the period before used of each volume that the cap has."""
    return tuple(used for used, _ in _volumes(cap, before)) if before is not None else (0, 0, 0)
