"""Data caps as `hagw status` and `hagw usage` show them."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Protocol

from typing_extensions import TypedDict  # pydantic, which describes these for OpenAPI, wants it before 3.12

from hagw.errors import Refused
from hagw.model.intent import DataCapIntent
from hagw.model.usage import Account, CapStanding


class PastUsage(TypedDict):
    """An earlier period of a cap."""

    period_begin: str
    used_bytes: int
    used_down_bytes: int
    used_up_bytes: int


class DataCapStatus(TypedDict):
    """One data cap. Bytes are of IP packets, what hagw itself sends included; times are local, without a zone.

    `used_*` are counted bytes with the operator's correction. Volumes are null where the cap has none of the kind;
    forecasts are null as long as it is too early; `reached_at` is null where the volume lasts until the period's end.
    """

    name: str
    uplinks: list[str]
    stage: str
    reason: str
    percent: float
    warned_percent: float | None
    period_begin: str
    period_end: str
    used_bytes: int
    used_down_bytes: int
    used_up_bytes: int
    volume_bytes: int | None
    volume_down_bytes: int | None
    volume_up_bytes: int | None
    by_uplink: dict[str, dict[str, int]]
    counted_since: str
    corrected_at: str | None
    forecast_bytes: int | None
    forecast_percent: float | None
    reached_at: str | None
    earlier: list[PastUsage]


class CapsPort(Protocol):
    """What the gateway shows of data caps, and has corrected."""

    def documents(self) -> list[DataCapStatus]:
        """Return every cap's status, in the order of the configuration."""

    async def correct(self, name: str, total: int | None, down: int | None, up: int | None) -> None:
        """Take the operator's figures for a cap's present period. Raise Refused."""


class NoCaps:
    """Stands where nothing counts: a HAG."""

    def documents(self) -> list[DataCapStatus]:
        """Return nothing."""
        return []

    async def correct(self, name: str, total: int | None, down: int | None, up: int | None) -> None:
        """Refuse."""
        raise Refused("Data caps are kept on the CPE; this is a HAG.")


def document(cap: DataCapIntent, stands: CapStanding, earlier: Iterable[Account]) -> DataCapStatus:
    """Return a cap's status."""
    account = stands.account
    return DataCapStatus(
        name=cap.name,
        uplinks=list(cap.uplinks),
        stage=stands.stage,
        reason=stands.reason,
        percent=_percent(stands.share),
        warned_percent=None if stands.warned is None else _percent(stands.warned),
        period_begin=_time(stands.begin),
        period_end=_time(stands.end),
        used_bytes=account.used,
        used_down_bytes=account.used_down,
        used_up_bytes=account.used_up,
        volume_bytes=cap.volume_bytes,
        volume_down_bytes=cap.volume_down_bytes,
        volume_up_bytes=cap.volume_up_bytes,
        by_uplink=_by_uplink(account),
        counted_since=_time(account.since),
        corrected_at=None if account.correction.at is None else _time(account.correction.at),
        forecast_bytes=stands.forecast_bytes,
        forecast_percent=None if stands.forecast_share is None else _percent(stands.forecast_share),
        reached_at=None if stands.reached_at is None else _time(stands.reached_at),
        earlier=[
            PastUsage(
                period_begin=_time(past.begin),
                used_bytes=past.used,
                used_down_bytes=past.used_down,
                used_up_bytes=past.used_up,
            )
            for past in earlier
        ],
    )


def _by_uplink(account: Account) -> dict[str, dict[str, int]]:
    """Return what was counted on each line, without any correction."""
    lines: Mapping[str, dict[str, int]] = {
        line: {"down": volume.down, "up": volume.up} for line, volume in account.lines.items()
    }
    return dict(lines)


def _percent(share: float) -> float:
    return round(share * 100, 1)


def _time(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
