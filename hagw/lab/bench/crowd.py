"""Idle connections: what each makes the proxies hold in memory of their own. The kernel's share is not in it."""

from dataclasses import asdict
from typing import Final

from hagw.lab.bench import systems
from hagw.lab.bench.client import PATIENCE_S, answer, client, memory_kb
from hagw.lab.bench.peer import Crowd
from hagw.lab.bench.scenario import Case
from hagw.lab.bench.systems import Ready
from hagw.lab.lab import Lab, LabError

_EACH_S: Final = 0.05  # to be answered, at most, on a busy machine


def kb_each(lab: Lab, ready: Ready, case: Case) -> float | None:
    """Return the kB that both ends' proxies grew by a connection; None without any. Raise LabError if not all live."""
    crowd = Crowd(systems.SERVER_ADDRESS, ready.port, int(case.params["connections"]))
    pids = ready.pids()
    before_kb = memory_kb(pids)
    with client(lab, ready, "hold", asdict(crowd)) as holder:
        said = answer(holder, PATIENCE_S + _EACH_S * crowd.connections)
        grown_kb = memory_kb(pids) - before_kb
    if said["answered"] != crowd.connections:
        raise LabError(f"only {said['answered']} of {crowd.connections} connections were answered")
    return grown_kb / crowd.connections if pids else None
