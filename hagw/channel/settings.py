"""The message `settings` as a CPE reads it: what it does not understand counts as not said, never as a mistake.

A newer gateway may have other limits and probe parameters than we know.
"""

from typing import Any, Final

from hagw.channel.wire import Message
from hagw.model.intent import CustomerLimits
from hagw.model.told import Told

_COUNTS: Final = ("connections_max", "pending_max", "rate_down_bps", "rate_up_bps", "month_bytes")
_COUNT_MAX: Final = 1 << 60


def read(message: Message) -> Told:
    """Return what a gateway wants of us."""
    limits, probe = _object(message.get("limits")), _object(message.get("probe"))
    port = _count(probe.get("port"))
    per_s = limits.get("connects_per_s")
    is_rate = isinstance(per_s, int | float) and not isinstance(per_s, bool) and 0 < per_s < _COUNT_MAX
    return Told(
        blocked=str(message.get("blocked") or "")[:256],
        limits=CustomerLimits(
            connects_per_s=float(per_s or 0) if is_rate else None, **{key: _count(limits.get(key)) for key in _COUNTS}
        ),
        probe_port=port if port is not None and port < 65_536 else None,
        probing="gentle" if probe.get("style") == "gentle" else "normal",
    )


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: object) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 < value < _COUNT_MAX
    return int(value) if is_count and isinstance(value, int) else None
