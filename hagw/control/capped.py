"""The observers as data caps leave them: what a line's health is when its volume is used up."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from hagw.caps.restrain import restrained
from hagw.control.data_caps import DataCaps
from hagw.control.ports import GatewayHealths, HealthPort, Traffic, UplinkHealths
from hagw.model.facts import Facts
from hagw.model.intent import GatewayIntent, PortalIntent, UplinkIntent
from hagw.uplinks.interfaces import resolve


def true_time(gateways: GatewayHealths) -> float:
    """Return the wall clock's time by a gateway that told its own, else by this machine, whose clock may be wrong."""
    offset_s = next((each.clock_offset_s for each in gateways.values() if each.clock_offset_s is not None), None)
    return time.time() if offset_s is None else time.clock_gettime(time.CLOCK_BOOTTIME) + offset_s


class CappedHealth:
    """A health port in front of another one: measures no line that is cut, and calls it down."""

    def __init__(self, observed: HealthPort, caps: DataCaps) -> None:
        self._observed = observed
        self._caps = caps

    def update(self, uplinks: Sequence[UplinkIntent], facts: Facts, gateways: Sequence[GatewayIntent]) -> None:
        """Take uplinks, facts and gateways; a line that is cut is not asked: its answers would cost volume as well."""
        self._caps.use({uplink.name: uplink.interface for uplink in (resolve(each, facts) for each in uplinks)})
        cut = {name for name, restraint in self._caps.restraints.items() if restraint.stage == "cut"}
        measured = [replace(each, enabled=False) if each.name in cut else each for each in uplinks]
        self._observed.update(measured, facts, gateways)

    def look_for_portals(self, portal_check: PortalIntent | None) -> None:
        """Look for captive portals as this says from now on, None = never."""
        self._observed.look_for_portals(portal_check)

    def uplinks(self) -> UplinkHealths:
        """Return the present health by uplink name, as it is to be acted on."""
        return restrained(self._observed.uplinks(), self._caps.restraints)

    def gateways(self) -> GatewayHealths:
        """Return the present health by gateway name."""
        return self._observed.gateways()

    def heard_at(self, gateway: str) -> float | None:
        """Return when (CLOCK_MONOTONIC) the gateway last gave a proof of life, None = never."""
        return self._observed.heard_at(gateway)

    def rates(self) -> Mapping[str, Traffic]:
        """Return what each uplink carries, by name."""
        return self._observed.rates()

    def prove(self, gateway: str) -> None:
        """Have a gateway get to know our addresses."""
        self._observed.prove(gateway)

    def report_gateway(self, gateway: str, answered: bool, reason: str) -> None:
        """Take in what a worker's own connections to the gateway showed."""
        self._observed.report_gateway(gateway, answered, reason)
