"""Records of flows as `hagw flows` shows them, and the ring of those that ended."""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from hagw.dataplane.paths import Paths
from hagw.dataplane.uplink_table import UplinkTable

CLOSED_KEPT_S = 120.0
CLOSED_MAX = 5_000

FlowDocument = dict[str, Any]


class ClosedFlows:
    """The flows that ended in the last two minutes, at most CLOSED_MAX."""

    def __init__(self) -> None:
        self._flows: deque[tuple[float, FlowDocument, FlowDocument]] = deque(maxlen=CLOSED_MAX)

    def add(self, now: float, flow: FlowDocument, story: FlowDocument | None = None) -> None:
        """Keep a finished flow, and what is told of it alone: `timeline`, what happened to its subflows, and others."""
        self._flows.append((now, flow, story or {"timeline": []}))
        while self._flows and now - self._flows[0][0] > CLOSED_KEPT_S:
            self._flows.popleft()

    def recent(self, now: float, within_s: float) -> Iterable[FlowDocument]:
        """Return the flows that ended in the last `within_s` seconds."""
        return (flow for ended, flow, _ in self._flows if now - ended <= within_s)

    def record(self, flow_id: str) -> FlowDocument | None:
        """Return a flow with its story."""
        return next(({**flow, **told} for _, flow, told in self._flows if flow["id"] == flow_id), None)


def timeline(paths: Paths, uplinks: UplinkTable, started: float) -> list[FlowDocument]:
    """Return what happened to a connection's subflows, in seconds since its flow began."""
    return [
        {
            "at_s": round(event.at - started, 3),
            "uplink": uplinks.name(event.slot),
            "event": event.event,
            "reason": event.reason,
        }
        for event in paths.events
    ]


def cpe_flow(
    *,
    identity: dict[str, Any],
    path: str,
    gateway: str | None,
    rule: str,
    mode: str,
    why: str,
    state: str,
    transferred: tuple[int, int],
    paths: Paths | None,
    kept_off: Mapping[int, int],
    direct_slot: int | None,
    uplinks: UplinkTable,
    started: float,
) -> FlowDocument:
    """Return a CPE's flow as the contract's `flows --json` entry; `transferred` are payload bytes down and up."""
    down, up = transferred
    by_uplink: dict[str, dict[str, int]] = {}
    if paths is not None:
        by_uplink = paths.by_uplink(uplinks)
        for slot, reason in paths.withheld.items():
            why += f"; {uplinks.name(slot)} withheld: {reason}"
    elif direct_slot in uplinks.by_slot:
        by_uplink = {uplinks.by_slot[direct_slot].name: {"down": down, "up": up}}
    return {
        **identity,
        "path": path,
        "gateway": gateway,
        "rule": rule,
        "mode": mode,
        "why": why,
        "state": state,
        "bytes_down": down,
        "bytes_up": up,
        "by_uplink": by_uplink,
        "costs": {name: uplinks.cost(name) for name in by_uplink},
        "kept_off": {uplinks.name(slot): size for slot, size in kept_off.items()},
        "subflows": [] if paths is None else paths.documents(uplinks),
        "started_s": round(started, 3),
    }
