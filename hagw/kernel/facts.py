"""Read what is true of the machine: lines, addresses, gateways, connected networks, kernel features."""

import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from socket import AF_INET, AF_INET6
from typing import Any, Final

from hagw.kernel import sysctl
from hagw.kernel.links import describe_links
from hagw.kernel.rtnl import Rtnl
from hagw.model.facts import Facts, LocalTime, UplinkFacts
from hagw.model.ids import ADDRESS_PROTOCOL, TABLE_MAIN
from hagw.model.intent import CpeIntent, Intent, IPAddress, IPNetwork, UplinkIntent
from hagw.model.remembered import RememberedSysctl
from hagw.plan.cpe import BRIDGE_SYSCTLS
from hagw.uplinks import interfaces

OPTIONAL_SYSCTLS: Final = (
    "net/mptcp/pm_type",
    "net/mptcp/path_manager",
    "net/mptcp/blackhole_timeout",
    "net/mptcp/scheduler",
    "net/ipv4/tcp_early_demux",
    "net/ipv4/icmp_ratelimit",
    "net/ipv6/icmp/ratelimit",
    "net/ipv4/tcp_migrate_req",
    *BRIDGE_SYSCTLS,
)
_IFF_UP: Final = 0x1
_IFF_POINTOPOINT: Final = 0x10
_RTN_UNICAST: Final = 1
_SCOPE_GLOBAL: Final = 0
_SCOPE_SITE: Final = 200
_IFA_F_SECONDARY: Final = 0x01  # of IPv6 addresses: temporary
_IFA_F_UNUSABLE: Final = 0x08 | 0x20 | 0x40  # duplicate, deprecated, tentative
_GLOBAL_UNICAST6: Final = ip_network("2000::/3")


@dataclass(frozen=True, slots=True)
class _Default:
    """A default route of the main table, or one that was there."""

    ifindex: int
    gateway: IPAddress | None
    family: int
    metric: int


class FactsReader:
    """Reads facts over one rtnetlink socket; one thread."""

    def __init__(self) -> None:
        self._netlink = Rtnl()
        self._asked_for: set[str] = set()  # congestion controls the kernel was asked to load
        self._last: dict[int, tuple[_Default, frozenset[IPAddress]]] = {}  # by interface; with the addresses then

    def read(self, intent: Intent, forwarding: RememberedSysctl | None = None) -> Facts:
        """Read all facts that the desired state of `intent` depends on. Raises OSError.

        `forwarding` is what was there before hagw switched IPv6 forwarding on; None = it did not.
        """
        ipv6 = sysctl.read("net/ipv6/conf/lo/disable_ipv6") == "0"
        links = {link.get_attr("IFLA_IFNAME"): link for link in self._netlink.dump("links")}
        addresses = self._netlink.dump("addr")
        routes = [route for route in self._netlink.dump("routes", family=AF_INET) if _is_main(route)]
        if ipv6:
            routes += [route for route in self._netlink.dump("routes", family=AF_INET6) if _is_main(route)]
        defaults = sorted(_defaults(routes), key=lambda route: route.metric)
        ways = [*defaults, *self._lost(defaults, addresses)]
        uplinks: dict[str, UplinkFacts] = {}
        for uplink, found in _found(intent, links):
            if isinstance(found, interfaces.Missing):
                uplinks[uplink.name] = UplinkFacts(uplink.name, None, problem=found.why, candidates=found.candidates)
            else:
                link = links[found.interface]
                fact = _uplink(uplink, found.interface, link, addresses, ways, ipv6)
                uplinks[uplink.name] = replace(fact, accepts_ra=_accepts_ra(found.interface, forwarding))
        return Facts(
            uplinks=uplinks,
            local_prefixes=_local_prefixes(addresses, routes),
            congestion_controls=self._congestion_controls(intent.congestion_control or "bbr"),
            mptcp_schedulers=mptcp_schedulers(),
            sysctls=frozenset(name for name in OPTIONAL_SYSCTLS if sysctl.read(name) is not None),
            own_addresses=_own_addresses(addresses),
            interfaces=frozenset(links),
            ipv6_egress=any(route.family == AF_INET6 for route in defaults),
            ipv6=ipv6,
            local_time=_local_time(),
        )

    def close(self) -> None:
        """Close the socket."""
        self._netlink.close()

    def _lost(self, defaults: list[_Default], addresses: list[Any]) -> list[_Default]:
        """Return the IPv4 default routes that somebody removed while the address they came with stayed.

        A DHCP client that gives a line up takes the address along. In IPv6 it is the word of the router itself that
        it is one no more: there it counts.
        """
        there: dict[int, set[IPAddress]] = {}
        for address in addresses:
            if address["family"] == AF_INET:
                there.setdefault(address["index"], set()).add(ip_address(address.get_attr("IFA_LOCAL")))
        present = {route.ifindex: route for route in reversed(defaults) if route.family == AF_INET}
        lost = {
            ifindex: (route, before & there.get(ifindex, set()))
            for ifindex, (route, before) in self._last.items()
            if ifindex not in present
        }
        now = {ifindex: (route, frozenset(there.get(ifindex, ()))) for ifindex, route in present.items()}
        self._last = now | {ifindex: (route, still) for ifindex, (route, still) in lost.items() if still}
        return [route for route, still in lost.values() if still]

    def _congestion_controls(self, wanted: str) -> tuple[str, ...]:
        """Return what there is, `wanted` loaded if it can be: distributions build bbr as a module nobody loads."""
        found = congestion_controls()
        if wanted not in found and wanted not in self._asked_for:
            self._asked_for.add(wanted)  # once: each time costs a process of modprobe
            load_congestion_control(wanted)
            found = congestion_controls()
        return found


def _local_time() -> LocalTime:
    now = time.localtime()
    return LocalTime(now.tm_wday, now.tm_hour * 60 + now.tm_min)


def _found(
    intent: Intent, links: dict[str, Any]
) -> Iterator[tuple[UplinkIntent, interfaces.Found | interfaces.Missing]]:
    """Yield a CPE's uplinks with their interfaces."""
    if isinstance(intent, CpeIntent):
        needs_driver = any(up.match is not None and up.match.driver is not None for up in intent.uplinks)
        found = interfaces.find(intent, describe_links(links, with_drivers=needs_driver))
        yield from ((uplink, found[uplink.name]) for uplink in intent.uplinks)


def _uplink(
    uplink: UplinkIntent, interface: str, link: Any, addresses: list[Any], defaults: list[_Default], ipv6: bool
) -> UplinkFacts:
    ifindex: int = link["index"]
    mine = [address for address in addresses if address["index"] == ifindex]
    point_to_point = bool(link["flags"] & _IFF_POINTOPOINT)
    # Ours are there as soon as the desired state is reached: one pass is enough for them and their routes.
    own = {each.version: each.ip for each in uplink.addresses}
    address4 = own.get(4) or next(iter(_usable4(mine)), None)
    address6 = (own.get(6) or _best6(mine)) if ipv6 else None
    default4 = next((route for route in defaults if route.ifindex == ifindex and route.family == AF_INET), None)
    default6 = next((route for route in defaults if route.ifindex == ifindex and route.family == AF_INET6), None)
    gateway4 = uplink.gateway4 or (default4.gateway if default4 else None)
    gateway6 = uplink.gateway6 or (default6.gateway if default6 else None)
    return UplinkFacts(
        name=uplink.name,
        ifindex=ifindex,
        admin_up=bool(link["flags"] & _IFF_UP),
        carrier=link.get_attr("IFLA_CARRIER") != 0,
        address4=address4 if isinstance(address4, IPv4Address) else None,
        address6=address6 if isinstance(address6, IPv6Address) else None,
        gateway4=gateway4 if isinstance(gateway4, IPv4Address) else None,
        gateway6=gateway6 if isinstance(gateway6, IPv6Address) else None,
        onlink4=gateway4 is None and (default4 is not None or point_to_point),
        onlink6=gateway6 is None and (default6 is not None or point_to_point),
        mtu=uplink.mtu or link.get_attr("IFLA_MTU") or 1500,
        interface=interface,
        mtu_min=link.get_attr("IFLA_MIN_MTU") or 0,
        mtu_max=link.get_attr("IFLA_MAX_MTU") or 0,
        foreign_addresses=frozenset(_foreign(mine)),
    )


def _foreign(addresses: Iterable[Any]) -> Iterator[IPAddress]:
    for address in addresses:
        if address.get_attr("IFA_PROTO") != ADDRESS_PROTOCOL:
            yield ip_address(address.get_attr("IFA_LOCAL") or address.get_attr("IFA_ADDRESS"))


def _usable4(addresses: Iterable[Any]) -> list[IPv4Address]:
    return [
        IPv4Address(address.get_attr("IFA_LOCAL") or address.get_attr("IFA_ADDRESS"))
        for address in addresses
        if address["family"] == AF_INET and address["scope"] in (_SCOPE_GLOBAL, _SCOPE_SITE)
    ]


def _best6(addresses: Iterable[Any]) -> IPv6Address | None:
    """Choose the address to use: public before private, lasting before temporary; none that is not ready."""
    found = []
    for address in addresses:
        flags = address.get_attr("IFA_FLAGS") or address["flags"]
        usable = address["family"] == AF_INET6 and address["scope"] == _SCOPE_GLOBAL and not flags & _IFA_F_UNUSABLE
        if not usable:
            continue
        value = IPv6Address(address.get_attr("IFA_LOCAL") or address.get_attr("IFA_ADDRESS"))
        found.append((value not in _GLOBAL_UNICAST6, bool(flags & _IFA_F_SECONDARY), value))
    return min(found)[-1] if found else None


def _is_main(route: Any) -> bool:
    table = route.get_attr("RTA_TABLE") or route["table"]
    return bool(table == TABLE_MAIN and route["type"] == _RTN_UNICAST)


def _defaults(routes: Iterable[Any]) -> list[_Default]:
    """Return the main table's default routes; those with several next hops count once for each."""
    found = []
    for route in routes:
        if route["dst_len"] != 0:
            continue
        metric = route.get_attr("RTA_PRIORITY") or 0
        for hop in route.get_attr("RTA_MULTIPATH") or (route,):
            ifindex = hop["oif"] if hop is not route else route.get_attr("RTA_OIF")
            gateway = hop.get_attr("RTA_GATEWAY")
            if ifindex is not None:
                address = None if gateway is None else ip_address(gateway)
                found.append(_Default(ifindex, address, route["family"], metric))
    return found


def _local_prefixes(addresses: Iterable[Any], routes: Iterable[Any]) -> tuple[IPNetwork, ...]:
    """Return own addresses, connected networks, and whatever the main table routes somewhere in particular."""
    found: set[IPNetwork] = {ip_network(address) for address in _own_addresses(addresses)}
    for route in routes:
        if route["dst_len"] != 0:
            found.add(ip_network(f"{route.get_attr('RTA_DST')}/{route['dst_len']}"))
    return tuple(sorted(found, key=lambda prefix: (prefix.version, int(prefix.network_address), prefix.prefixlen)))


def _own_addresses(addresses: Iterable[Any]) -> tuple[IPAddress, ...]:
    found = {ip_address(each.get_attr("IFA_LOCAL") or each.get_attr("IFA_ADDRESS")) for each in addresses}
    return tuple(sorted(found, key=lambda address: (address.version, int(address))))


def _accepts_ra(interface: str, forwarding: RememberedSysctl | None) -> bool:
    """Tell whether the kernel takes routes from advertisements here: accept_ra 2 always, 1 while not forwarding.

    That hagw itself switched forwarding on does not count, else a line that is given up and taken again would be
    another one; nor for interfaces made since, which would forward only because of that.
    """
    accept = sysctl.read(f"net/ipv6/conf/{interface}/accept_ra")
    name = f"net/ipv6/conf/{interface}/forwarding"
    before = sysctl.read(name) if forwarding is None else forwarding.along.get(name, forwarding.previous)
    return accept == "2" or (accept == "1" and before == "0")


def congestion_controls() -> tuple[str, ...]:
    """Return the congestion controls that are loaded."""
    for name in ("available", "allowed"):
        found = sysctl.read(f"net/ipv4/tcp_{name}_congestion_control")
        if found:
            return tuple(found.split())
    return ()


def load_congestion_control(name: str) -> bool:
    """Have the kernel load a congestion control, and say whether it has it. Needs CAP_NET_ADMIN."""
    with socket.socket(AF_INET, socket.SOCK_STREAM) as trial:
        try:
            trial.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())
        except OSError:
            return False
    return True


def mptcp_schedulers() -> tuple[str, ...]:
    """Return the packet schedulers of this kernel: "default" alone where it does not say (Linux 6.1)."""
    found = sysctl.read("net/mptcp/available_schedulers")
    return tuple(found.split()) if found else ("default",)
