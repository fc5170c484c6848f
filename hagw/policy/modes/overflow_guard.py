"""The guard of overflow: a tier whose round trip is much longer holds up what the preferred lines carry (RFC 8157)."""

from typing import Final

EXCESS_MS: Final = 300.0  # beyond the preferred lines' round trip
COUNT: Final = 3  # looks in a row, either way (RFC 8157 section 4.6)
LOOK_S: Final = 0.5


class RoundTrips:
    """`are_too_long` changes only after COUNT looks that say the same."""

    def __init__(self) -> None:
        self.are_too_long = False
        self._against = 0  # looks in a row that say the contrary
        self._at = 0.0

    def look(self, now: float, rtt_ms: float | None, excess_rtt_ms: float | None) -> None:
        """Take the round trips of the moment."""
        if now - self._at < LOOK_S or excess_rtt_ms is None:
            return
        self._at = now
        is_long = excess_rtt_ms - (rtt_ms or 0.0) > EXCESS_MS
        self._against = 0 if is_long == self.are_too_long else self._against + 1
        if self._against >= COUNT:
            self.are_too_long = is_long
            self._against = 0
