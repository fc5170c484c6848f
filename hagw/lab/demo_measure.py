"""How the demo's figures are computed: from arrivals at a receiver, and from a link's counters over time."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hagw.lab.traffic import BIN_S

CARRIES_SHARE: Final = 0.1  # of its rate alone: far more than probes and handshakes are
CARRIES_WINDOW_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Sample:
    """A link's counted IP bytes of one direction at a moment (CLOCK_MONOTONIC)."""

    at: float
    counted_bytes: int


def steady_rate_bps(bins: Sequence[int], skip_s: float, tail_s: float = 0.0) -> float:
    """Return the mean rate from `skip_s` after the first arrival to `tail_s` before the last, from bins of BIN_S.

    Both ends are moved back to an arrival, so that lumpy arrivals (blocks a server writes) give no error; a
    silence inside counts in full. 0.0 if too little arrived to say.
    """
    arrivals = [index for index, received in enumerate(bins) if received]
    if not arrivals:
        return 0.0
    begin, end = arrivals[0] + skip_s / BIN_S, arrivals[-1] - tail_s / BIN_S
    first = max(index for index in arrivals if index <= begin)
    last = max((index for index in arrivals if index <= end), default=first)
    if last <= first:
        return 0.0
    return 8 * sum(bins[first + 1 : last + 1]) / ((last - first) * BIN_S)


def carries_again_s(samples: Sequence[Sample], since: float, alone_bps: float) -> float | None:
    """Return how long after `since` a line carried data again, None if it did not.

    It does at the end of the first window of CARRIES_WINDOW_S in which it carried a tenth of what it carries alone.
    """
    recent: deque[Sample] = deque()
    for sample in samples:
        if sample.at < since:
            continue
        recent.append(sample)
        while len(recent) > 1 and sample.at - recent[1].at >= CARRIES_WINDOW_S:
            recent.popleft()
        span = max(sample.at - recent[0].at, CARRIES_WINDOW_S)
        if 8 * (sample.counted_bytes - recent[0].counted_bytes) > CARRIES_SHARE * alone_bps * span:
            return sample.at - since
    return None
