"""Records of flows as `hagw flows` shows them, and the ring of those that ended."""

from collections import deque
from collections.abc import Iterable
from typing import Any

CLOSED_KEPT_S = 120.0
CLOSED_MAX = 5_000

FlowDocument = dict[str, Any]


class ClosedFlows:
    """The flows that ended in the last two minutes, at most CLOSED_MAX."""

    def __init__(self) -> None:
        self._flows: deque[tuple[float, FlowDocument]] = deque(maxlen=CLOSED_MAX)

    def add(self, now: float, flow: FlowDocument) -> None:
        """Keep a finished flow."""
        self._flows.append((now, flow))
        while self._flows and now - self._flows[0][0] > CLOSED_KEPT_S:
            self._flows.popleft()

    def recent(self, now: float, within_s: float) -> Iterable[FlowDocument]:
        """Return the flows that ended in the last `within_s` seconds."""
        return (flow for ended, flow in self._flows if now - ended <= within_s)
