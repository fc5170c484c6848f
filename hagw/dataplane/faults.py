"""What becomes of an error that no code foresaw: it ends the connection it happened in, is counted and told."""

import sys
import time
import traceback
from typing import Final, Protocol, runtime_checkable

TOLD_EVERY_S: Final = 1.0


@runtime_checkable
class Mortal(Protocol):
    """What can be given up alone."""

    def give_up(self, why: str) -> None: ...


class Faults:
    """Counts faults; at most one trace a second goes to the log."""

    def __init__(self) -> None:
        self.count = 0
        self._told_at = 0.0

    def take(self, owner: object, why: Exception) -> None:
        """Tell of a fault and end what it happened in."""
        self.count += 1
        now = time.monotonic()
        if now - self._told_at >= TOLD_EVERY_S:
            self._told_at = now
            print(f"worker: fault {self.count}, one connection is given up", file=sys.stderr)
            traceback.print_exception(why, file=sys.stderr)
            sys.stderr.flush()
        if isinstance(owner, Mortal):
            try:
                owner.give_up("internal error")
            except Exception as again:  # noqa: BLE001 - its state is beyond us: leave it, the kernel still holds the peer
                traceback.print_exception(again, file=sys.stderr)
