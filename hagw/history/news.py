"""What of the log is an event for people: a list of log events, with the sentence that each becomes."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from hagw.history.events import News, Severity

Said = Mapping[str, Any]
Teller = Callable[[Said], News]


def news_of(said: Said) -> News | None:
    """Return what a log event means to people, None where it is only the log's business."""
    teller = TELLERS.get(str(said.get("event")))
    return None if teller is None else teller(said)


def _because(said: Said) -> str:
    return f": {said['reason']}" if said.get("reason") else ""


def _uplink(said: Said) -> News:
    name, state = str(said.get("uplink")), str(said.get("state"))
    severity: Severity = "good" if state == "up" else "problem" if state == "down" else "warning"
    return News("uplink", severity, name, f"Line {name} is {state}{_because(said)}.")


def _family(said: Said) -> News:
    name = str(said.get("uplink"))
    return News("uplink", "warning", name, f"IPv{said.get('family')} leads nowhere over line {name}{_because(said)}.")


def _gateway(said: Said) -> News:
    name, reach = str(said.get("gateway")), str(said.get("reach"))
    severity: Severity = "good" if reach == "up" else "problem" if reach == "down" else "info"
    return News("gateway", severity, name, f"Gateway {name} is {reach}{_because(said)}.")


def _interception(said: Said) -> News:
    if said.get("ipv4") or said.get("ipv6"):
        return News("gateway", "good", None, "New connections are bonded.")
    return News("gateway", "warning", None, "New connections go directly: nothing is intercepted.")


def _committed(said: Said) -> News:
    number = said.get("generation")
    return News("change", "info", str(number), f"Generation {number} of the configuration is in force.")


def _pending(said: Said) -> News:
    number = said.get("generation")
    return News("change", "warning", str(number), f"Generation {number} waits for its confirmation.")


def _rolled_back(said: Said) -> News:
    number = said.get("refused")
    words = f"Generation {number} was rolled back to {said.get('generation')}{_because(said)}."
    return News("change", "warning", str(number), words)


def _cap_stage(said: Said) -> News:
    name, stage = str(said.get("uplink")), str(said.get("stage"))
    words = f"Data cap: line {name} went from {said.get('was')} to {stage}{_because(said)}."
    return News("cap", "good" if stage == "normal" else "warning", name, words)


def _cap_warning(said: Said) -> News:
    return News("cap", "warning", str(said.get("cap")), f"Data cap {said.get('cap')}: {said.get('percent')} % is used.")


def _cap_period(said: Said) -> News:
    return News("cap", "info", str(said.get("cap")), f"Data cap {said.get('cap')}: a new period begins.")


def _cap_corrected(said: Said) -> News:
    return News("cap", "info", str(said.get("cap")), f"Data cap {said.get('cap')} was corrected.")


def _repaired(said: Said) -> News:
    repairs = said.get("repairs")
    count = len(repairs) if isinstance(repairs, list) else 1
    what = f"{count} thing{'' if count == 1 else 's'}"
    return News("drift", "warning", None, f"Somebody else changed the kernel's state; {what} put right.")


def _rival(said: Said) -> News:
    return News("conflict", "warning", str(said.get("finding")), f"{said.get('found')} {said.get('act')}".strip())


def _dropped(said: Said) -> News:
    words = "Intercepted connections are dropped on this machine, so they go directly: see hagw doctor."
    return News("conflict", "problem", None, words)


def _not_reached(said: Said) -> News:
    return News("kernel", "problem", None, f"The kernel does not take the state it should have{_because(said)}.")


def _worker_lost(said: Said) -> News:
    index = said.get("index")
    return News("worker", "warning", str(index), f"Worker {index} was lost and is replaced{_because(said)}.")


def _renewed(said: Said) -> News:
    return News("worker", "info", None, "Workers were replaced; the old ones finish their flows.")


def _ready(said: Said) -> News:
    return News("daemon", "info", None, "The daemon is ready.")


def _ends(said: Said) -> News:
    return News("daemon", "info", None, "The daemon ends; workers and kernel state stay.")


def _draining(said: Said) -> News:
    return News("gateway", "warning", None, "This HAG drains: it takes no new flows.")


def _taking(said: Said) -> News:
    return News("gateway", "good", None, "This HAG takes new flows again.")


def _customers(said: Said) -> News:
    return News("customer", "info", None, f"{said.get('customers')} customers may use this HAG now.")


def _connected(said: Said) -> News:
    name = str(said.get("customer"))
    return News("customer", "info", name, f"Customer {name} connected.")


TELLERS: Final[dict[str, Teller]] = {
    "uplink changed": _uplink,
    "uplink's family broken": _family,
    "gateway changed": _gateway,
    "interception changed": _interception,
    "configuration in force": _committed,
    "configuration waits for confirmation": _pending,
    "configuration rolled back": _rolled_back,
    "data cap changes what a line may carry": _cap_stage,
    "data cap warning": _cap_warning,
    "data cap period begins": _cap_period,
    "data cap corrected": _cap_corrected,
    "kernel state was changed by somebody else": _repaired,
    "kernel state not reached": _not_reached,
    "another program interferes": _rival,
    "intercepted connections are dropped on this machine": _dropped,
    "worker lost": _worker_lost,
    "workers renewed": _renewed,
    "draining": _draining,
    "taking new flows again": _taking,
    "customers changed": _customers,
    "customer connected": _connected,
    "daemon ready": _ready,
    "daemon ends, workers and kernel state stay": _ends,
}
