"""A rate that the next tier may carry, kept to by how many flows it is open to from tick to tick.

A sender hands its lines more than they take at once, so an open line carries nothing at first and then too much, and
a closed one goes on with what it holds. What it carried is therefore written up, and the tier is open while it is in
credit: on the whole it carries its rate, whatever becomes of the single tick. Of several flows only one is opened and
closed; how many of the others are always open follows slowly.
"""

from typing import Final

CREDIT_S: Final = 0.3  # of the rate: what was not used is not saved up
DEBT_S: Final = 2.0
DEBT_BYTES: Final = 1_000_000.0  # at least: what one opening may cost
FOLLOW_TICKS: Final = 5  # all open and still in credit, or the other way round: then another flow follows
MEMORY: Final = 0.9
OPEN_TICKS: Final = 10  # so long open to all flows: the rate holds nothing back


class Allowance:
    """`bps` None = as much as it can carry, 0 = nothing."""

    def __init__(self) -> None:
        self.bps: float | None = 0.0
        self._credit_bytes = 0.0
        self._always = 0  # flows to which it is open at every tick
        self._same_ticks = 0
        self._was_open = False
        self._duty = 0.0  # of the ticks of late, open
        self._has_held_back = False

    @property
    def has_held_back(self) -> bool:
        """Whether it has been closed to some flow since it was last fully open."""
        return self._has_held_back

    @property
    def holds_nothing_back(self) -> bool:
        """Whether all the flows have had the next tier for a while."""
        return self.bps is None or (self._was_open and self._same_ticks >= OPEN_TICKS)

    def open_fully(self) -> None:
        """Hold nothing back."""
        self.bps = None
        self._credit_bytes = 0.0
        self._has_held_back = False

    def close(self) -> None:
        """Let nothing over."""
        self.bps = 0.0
        self._credit_bytes = 0.0
        self._always = self._same_ticks = 0
        self._was_open = False
        self._duty = 0.0

    def limit(self, bps: float) -> None:
        """Let so much over, nothing if that is less than nothing."""
        if bps > 0.0:
            self.bps = bps
        else:
            self.close()

    def opened(self, number: int) -> float:
        """Return which part of the time of late it was open to the flow of this number, 0 the first: 0..1."""
        if self.bps is None:
            return 1.0
        return 1.0 if number < self._always else self._duty if number == self._always else 0.0

    def admit(self, flows: int, carried_bytes: int, span_s: float) -> int:
        """Return to how many flows it is open until the next tick; it carried so much in the `span_s` before."""
        if self.bps is None:
            return flows
        if self.bps <= 0.0:
            self._has_held_back = True
            return 0
        rate = self.bps / 8
        credit = self._credit_bytes + rate * span_s - carried_bytes
        self._credit_bytes = min(max(credit, -max(DEBT_S * rate, DEBT_BYTES)), CREDIT_S * rate)
        is_open = self._credit_bytes > 0.0
        self._same_ticks = self._same_ticks + 1 if is_open == self._was_open else 0
        self._was_open = is_open
        self._has_held_back |= not is_open
        self._duty = MEMORY * self._duty + (1 - MEMORY) * is_open
        if self._same_ticks and self._same_ticks % FOLLOW_TICKS == 0:
            self._always += 1 if is_open else -1
        self._always = max(0, min(self._always, flows - 1))
        return min(flows, self._always + is_open)
