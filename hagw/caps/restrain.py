"""What data caps make of lines' health: who decides by health decides by them too, and need not know them."""

from collections.abc import Mapping
from dataclasses import replace

from hagw.model.health import UplinkHealth
from hagw.model.usage import Restraint


def restrained(healths: Mapping[str, UplinkHealth], restraints: Mapping[str, Restraint]) -> dict[str, UplinkHealth]:
    """Return the healths as they are to be acted on.

    A line that is cut is down. One on standby (or throttled, which includes that) is down for as long as another one
    that may carry traffic is up; it has no subflows then, which saves their keep-alives. One for overflow only stays
    up, and says so.
    """
    free = any(
        health.state == "up" and _stage(name, restraints) in ("normal", "overflow") for name, health in healths.items()
    )
    return {name: _restrained(health, restraints.get(name), free) for name, health in healths.items()}


def _stage(name: str, restraints: Mapping[str, Restraint]) -> str:
    found = restraints.get(name)
    return "normal" if found is None else found.stage


def _restrained(health: UplinkHealth, restraint: Restraint | None, is_other_up: bool) -> UplinkHealth:
    if restraint is None:
        return health
    away = restraint.stage == "cut" or (restraint.stage in ("standby", "throttle") and is_other_up)
    if away and (restraint.stage == "cut" or health.state in ("up", "suspect")):
        return replace(health, state="down", reason=restraint.reason, cap=restraint.stage)
    return replace(health, reason=health.reason or restraint.reason, cap=restraint.stage)
