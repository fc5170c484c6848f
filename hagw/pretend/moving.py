"""Pretend speed tests: bytes at the pace of a pretend line."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from hagw.model.snapshot import Direction, UplinkView
from hagw.pretend.lines import kind_of, rates

TICK_S: Final = 0.05
SLOW_S: Final = 0.5  # how long a connection takes to reach the line's rate


async def move(
    uplink: UplinkView, url: str, direction: Direction, limit_bytes: int, moved: Callable[[int], None]
) -> None:
    """Tell of bytes as if they were moved, up to `limit_bytes`."""
    began, left = time.monotonic(), limit_bytes
    while left > 0:
        await asyncio.sleep(TICK_S)
        now = time.monotonic()
        down, up = rates(kind_of(uplink), (uplink.rate_down_bps, uplink.rate_up_bps), now)
        share = min(1.0, (now - began) / SLOW_S)
        piece = min(left, round((down if direction == "down" else up) * share * TICK_S / 8))
        moved(piece)
        left -= piece
