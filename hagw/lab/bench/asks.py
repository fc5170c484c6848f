"""Many short connections: how long each waits for its first byte, how many a second, what they cost the proxies."""

import contextlib
import secrets
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from hagw.lab.bench import systems
from hagw.lab.bench.client import PATIENCE_S, answer, client, cpu_s
from hagw.lab.bench.peer import Order, Question
from hagw.lab.bench.scenario import Case
from hagw.lab.bench.systems import Ready
from hagw.lab.lab import Lab, LabError
from hagw.lab.services import ECHO_PORT

_AHEAD_S: Final = 4.0  # until a bulk transfer has found its rate
_PORTS: Final[Mapping[str, int]] = {"server-first": ECHO_PORT, "https": 443}


@dataclass(frozen=True, slots=True)
class Asked:
    """Connections that are over: what each waited, and the CPU time of the system's proxies (None without any)."""

    waits_ms: Sequence[float]
    took_s: float
    failed: int
    cpu_s: float | None

    def median_ms(self) -> float:
        """Return the median wait for the first byte."""
        return statistics.median(self.waits_ms)

    def p99_ms(self) -> float:
        """Return the wait that one in a hundred exceeds."""
        return percentile(self.waits_ms, 0.99)

    def rate(self) -> float:
        """Return connections a second."""
        return len(self.waits_ms) / self.took_s

    def cpu_us_each(self) -> float | None:
        """Return the proxies' CPU time for each connection."""
        return None if self.cpu_s is None else 1e6 * self.cpu_s / len(self.waits_ms)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def asks(lab: Lab, ready: Ready, case: Case) -> Asked:
    """Run the connections of a case. Raise LabError if none of them was answered."""
    params = case.params
    question = Question(
        address=systems.SERVER_ADDRESS,
        port=_PORTS.get(params["kind"], ready.port),
        kind=params["kind"],
        at_once=int(params["at_once"]),
        lasts_s=float(params["lasts_s"]),
        pause_ms=float(params["pause_ms"]),
    )
    pids = ready.pids()
    with _bulk(lab, ready, params["beside"], question.lasts_s):
        before_s = cpu_s(pids)
        with client(lab, ready, "ask", asdict(question)) as asker:
            said = answer(asker, question.lasts_s + PATIENCE_S)
            spent_s = cpu_s(pids) - before_s
    if not said["waits_ms"]:
        raise LabError(f"no connection was answered, {said['failed']} failed")
    return Asked(said["waits_ms"], said["took_s"], said["failed"], spent_s if pids else None)


@contextlib.contextmanager
def _bulk(lab: Lab, ready: Ready, direction: str, lasts_s: float) -> Iterator[None]:
    """Have a bulk transfer fill the lines meanwhile, from some seconds before on."""
    if direction == "nothing":
        yield
        return
    order = Order(
        systems.SERVER_ADDRESS, ready.port, direction, 1, _AHEAD_S + lasts_s + PATIENCE_S, secrets.token_hex(8)
    )
    with client(lab, ready, "move", asdict(order)) as mover:
        time.sleep(_AHEAD_S)
        try:
            yield
        finally:
            mover.kill()
