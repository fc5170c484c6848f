"""A fault while the LAN works: how long no new request is answered, and when both ends are bonded again."""

import contextlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from hagw.lab import gateway
from hagw.lab.bench import systems
from hagw.lab.bench.bulk import changing
from hagw.lab.bench.client import PATIENCE_S, answer, client
from hagw.lab.bench.faults import FAULTS, supervised
from hagw.lab.bench.peer import BIN_S, Order
from hagw.lab.bench.scenario import Case
from hagw.lab.bench.systems import Ready
from hagw.lab.bench.watch import Watch, longest_silence_s
from hagw.lab.lab import Lab

_REQUEST_PATIENCE_S: Final = 10.0
_LOOK_S: Final = 0.3
_AFTERWARDS_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Endured:
    """A fault that is over. The transfer that ran meanwhile is silent from when it was cut off, if it was."""

    outage_ms: float
    transfer_gap_ms: float
    bonded_again_s: float
    trouble: str  # why it is not bonded again, else empty
    answered: int
    failed: int
    cut_off: bool


def endure(lab: Lab, ready: Ready, case: Case) -> Endured:
    """Run one fault of a case. Raise HagwNotReady if the ends do not work before, LabError if a client fails."""
    params = case.params
    after_s, lasts_s = float(params["after_s"]), float(params["lasts_s"])
    for node in (systems.HAG, systems.GATEWAY):
        lab.hagw_start(node)
    watch = Watch(systems.SERVER_ADDRESS, ready.port, float(params["every_ms"]), _REQUEST_PATIENCE_S)
    moves_s = after_s + lasts_s + _AFTERWARDS_S
    order = Order(systems.SERVER_ADDRESS, ready.port, "down", 1, moves_s, secrets.token_hex(8))
    with client(lab, ready, "watch", asdict(watch)) as watcher, client(lab, ready, "move", asdict(order)) as mover:
        time.sleep(after_s)
        with supervised(lab, systems.HAG, systems.GATEWAY):
            struck = time.monotonic()
            with FAULTS[params["fault"]].strike(lab), changing(lab, case.events):
                time.sleep(lasts_s)
            over = time.monotonic()
            trouble = _until_bonded(lab, over + float(params["patience_s"]))
            bonded = time.monotonic()
        moved = answer(mover, moves_s + PATIENCE_S)
        time.sleep(_AFTERWARDS_S)
        assert watcher.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            watcher.stdin.write("\n")
            watcher.stdin.flush()
        watched, until = answer(watcher, PATIENCE_S), time.monotonic()
    return Endured(
        outage_ms=1000 * longest_silence_s(watched["answers"], struck - watched["began"], until - watched["began"]),
        transfer_gap_ms=_gap_ms(moved, struck, moves_s),
        bonded_again_s=bonded - over,
        trouble=trouble,
        answered=len(watched["answers"]),
        failed=len(watched["failures"]),
        cut_off=bool(moved["failed"]),
    )


def _until_bonded(lab: Lab, deadline: float) -> str:
    """Wait until the CPE says bonded and return nothing, or what it says instead when the time is over."""
    while True:
        status, words = gateway.status(lab, systems.GATEWAY)
        if status is not None and status.get("state") == "bonded":
            return ""
        if time.monotonic() > deadline:
            return words if status is None else f"{status.get('state')}: {status.get('reason')}"
        time.sleep(_LOOK_S)


def _gap_ms(moved: Mapping[str, Any], struck: float, moves_s: float) -> float:
    arrivals = [index * BIN_S for index, size in enumerate(moved["bins"]) if size]
    return 1000 * longest_silence_s(arrivals, struck - moved["began"], moves_s)
