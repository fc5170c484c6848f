"""What is wrong enough to tell somebody, by the status document. Pure; texts are those of `hagw status`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Severity = Literal["error", "warning"]
KINDS: Final = ("state", "uplink", "gateway", "worker", "cap", "rival", "config")
_STARTS_MANY: Final = 3  # of one worker; the first is no restart


@dataclass(frozen=True, slots=True)
class Alert:
    """Something wrong now. The same `kind` and `subject` is the same alert, however its text changes."""

    kind: str
    subject: str
    severity: Severity
    text: str

    @property
    def key(self) -> str:
        """What it is known by."""
        return f"{self.kind}:{self.subject}"


def alerts(status: Mapping[str, Any]) -> tuple[Alert, ...]:
    """Return what is wrong now."""
    return tuple(each for rule in _RULES for each in rule(status))


def _state(status: Mapping[str, Any]) -> Iterator[Alert]:
    if status["state"] in ("unbonded", "off"):
        yield Alert("state", "", "error", f"{status['state']}: {status['reason']}")


def _uplinks(status: Mapping[str, Any]) -> Iterator[Alert]:
    for up in status["uplinks"]:
        if up["state"] == "down":
            yield Alert("uplink", up["name"], "warning", f"Uplink {up['name']} is down: {up['reason'] or 'no reason'}")


def _gateways(status: Mapping[str, Any]) -> Iterator[Alert]:
    for gateway in status["gateways"]:
        if gateway["state"] == "down":
            name = gateway["name"]
            yield Alert("gateway", name, "warning", f"Gateway {name} is down: {gateway['reason'] or 'no answer'}")


def _workers(status: Mapping[str, Any]) -> Iterator[Alert]:
    for worker in status["workers"]:
        if worker["starts"] > _STARTS_MANY:
            text = f"Worker {worker['index']} was started {worker['starts']} times: {worker['reason'] or 'see its log'}"
            yield Alert("worker", str(worker["index"]), "warning", text)


def _caps(status: Mapping[str, Any]) -> Iterator[Alert]:
    for cap in status["data_caps"]:
        if cap["stage"] != "normal" or cap["warned_percent"] is not None:
            severity: Severity = "error" if cap["stage"] == "cut" else "warning"
            yield Alert("cap", cap["name"], severity, cap["reason"])


def _rivals(status: Mapping[str, Any]) -> Iterator[Alert]:
    for rival in status["rivals"]:
        if rival["severity"] == "error":
            yield Alert("rival", rival["id"], "error", f"{rival['found']} {rival['act']}")


def _config(status: Mapping[str, Any]) -> Iterator[Alert]:
    if status["config_notice"]:
        yield Alert("config", "", "warning", status["config_notice"])


_RULES: Final = (_state, _uplinks, _gateways, _workers, _caps, _rivals, _config)
