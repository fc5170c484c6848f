"""A pretend machine: the kernel in memory, with every interface, parameter and address that a configuration names."""

import time
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_network

from hagw.kernel.fake import FakeMachine, MemoryInMemory, World
from hagw.model.facts import Facts, LocalTime, UplinkFacts
from hagw.model.intent import CpeIntent, Intent, UplinkIntent
from hagw.model.resources import LinkSetting, Plan, Put, Sysctl

MTU = 1500
CONTROLS = ("bbr", "cubic", "reno")
HAG_ADDRESSES = (IPv4Address("198.51.100.10"), IPv6Address("2001:db8:100::10"))


class PretendMachine(FakeMachine):
    """The port in memory; whatever a step needs is there."""

    def __init__(self) -> None:
        super().__init__(MemoryInMemory(), World())
        self._began = time.monotonic()

    def facts(self, intent: Intent) -> Facts:
        """Return what a machine with all of the intent's lines plugged in would show."""
        now = datetime.now().astimezone()
        local = LocalTime(now.weekday(), now.hour * 60 + now.minute)
        if not isinstance(intent, CpeIntent):
            return Facts(
                {}, congestion_controls=CONTROLS, own_addresses=HAG_ADDRESSES, ipv6_egress=True, local_time=local
            )
        return Facts(
            uplinks={uplink.name: _plugged_in(uplink) for uplink in intent.uplinks},
            local_prefixes=(ip_network("192.168.77.0/24"), ip_network("fd77::/64")),
            congestion_controls=CONTROLS,
            own_addresses=(IPv4Address("192.168.77.1"),),
            interfaces=frozenset({"lo", *intent.lan_interfaces, *map(_interface, intent.uplinks)}),
            local_time=local,
        )

    def write(self, plan: Plan) -> Plan:
        """Take the steps; a parameter or interface that is not there yet is made first."""
        for step in plan:
            match step:
                case Put(Sysctl(name, _)):
                    self.world.sysctls.setdefault(name, "0")
                case Put(LinkSetting(device, name, _)):
                    self.world.links.setdefault((device, name), MTU)
                case _:
                    pass
        return super().write(plan)

    def counters(self) -> dict[str, int]:
        """Return what a firewall that keeps a few strangers out might count."""
        seconds = int(time.monotonic() - self._began)
        return {"allowed": seconds // 9, "blocked_input": seconds // 2, "blocked_forward": seconds // 31}


def _interface(uplink: UplinkIntent) -> str:
    """Return the name of a line's interface; one that is found by what it is gets one made of its name."""
    return uplink.interface or f"{uplink.name[:12]}0"


def _plugged_in(uplink: UplinkIntent) -> UplinkFacts:
    return UplinkFacts(
        uplink.name,
        ifindex=10 + uplink.slot,
        admin_up=True,
        carrier=True,
        address4=IPv4Address(f"10.64.{uplink.slot}.2"),
        gateway4=uplink.gateway4 or IPv4Address(f"10.64.{uplink.slot}.1"),
        mtu=uplink.mtu or MTU,
        mtu_max=9000,
        interface=_interface(uplink),
    )
