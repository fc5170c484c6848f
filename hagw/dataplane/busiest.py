"""Which flows carry most: by what each has carried since they were asked for last.

Pages show some hundred flows each second. Telling all of thousands so often would take the time that carries them.
"""

from collections.abc import Mapping
from heapq import nlargest
from typing import Final

PAUSE_S: Final = 5.0  # rates over a longer time say nothing of now

Carried = tuple[int, int]  # bytes down, bytes up


class Busiest:
    """Remembers what each flow had carried when it was asked last."""

    def __init__(self) -> None:
        self._seen: Mapping[int, Carried] = {}
        self._at: float | None = None

    def choose(self, flows: Mapping[int, Carried], most: int, now: float) -> dict[int, tuple[int, int]]:
        """Return the `most` flows that carry most, the busiest first, with their rates in bit/s (down, up).

        Flows are given by id; of those that carry the same, the newest come first. Rates are 0 the first time.
        """
        passed_s = 0.0 if self._at is None else now - self._at
        seen = self._seen
        is_known = 0.0 < passed_s <= PAUSE_S

        def moved(number: int) -> tuple[int, int]:
            down, up = flows[number]
            before = seen.get(number, (0, 0))
            return max(0, down - before[0]), max(0, up - before[1])

        amounts = {number: moved(number) if is_known else (0, 0) for number in flows}
        chosen = nlargest(most, flows, key=lambda number: (sum(amounts[number]), number))
        self._seen, self._at = flows, now
        scale = 8 / passed_s if is_known else 0.0
        return {number: (round(amounts[number][0] * scale), round(amounts[number][1] * scale)) for number in chosen}
