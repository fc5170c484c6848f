"""What is true of the machine right now, as read from the kernel: the other input of the desired state."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from hagw.model.intent import IPAddress, IPNetwork


@dataclass(frozen=True, slots=True)
class UplinkFacts:
    """An uplink's interface as the kernel shows it. Addresses are global ones; None = the family is not usable.

    An address or MTU that hagw itself is to set counts as there: it is, as soon as the desired state is reached.
    """

    name: str
    ifindex: int | None  # None = the interface does not exist
    admin_up: bool = False
    carrier: bool = False
    address4: IPv4Address | None = None
    address6: IPv6Address | None = None
    gateway4: IPv4Address | None = None
    gateway6: IPv6Address | None = None
    onlink4: bool = False  # default route without a gateway (ppp, wwan raw-ip)
    onlink6: bool = False
    mtu: int = 1500
    accepts_ra: bool = False  # the kernel itself takes default routes from router advertisements here
    interface: str = ""  # the interface's name; "" = as in the configuration
    problem: str = ""  # why there is no interface, where that needs saying
    candidates: tuple[str, ...] = ()  # interfaces of which one may be meant, while there is none
    mtu_min: int = 0  # what the driver can do
    mtu_max: int = 0  # 0 = it does not say
    foreign_addresses: frozenset[IPAddress] = frozenset()  # on the interface, but not set by us


@dataclass(frozen=True, slots=True)
class LocalTime:
    """A weekday (0 = Monday) and minutes since midnight, where the machine is."""

    day: int
    minute: int


@dataclass(frozen=True, slots=True)
class Facts:
    """All uplinks' facts, by name, and the prefixes of this machine's LAN side and own addresses."""

    uplinks: dict[str, UplinkFacts]
    local_prefixes: tuple[IPNetwork, ...] = ()
    congestion_controls: tuple[str, ...] = ()
    mptcp_schedulers: tuple[str, ...] = ("default",)  # packet schedulers the kernel offers
    sysctls: frozenset[str] = frozenset()  # optional ones that exist on this kernel, as "net/ipv4/…"
    own_addresses: tuple[IPAddress, ...] = ()
    ipv6_egress: bool = False  # the main table has an IPv6 default route
    interfaces: frozenset[str] = frozenset()  # all there are; empty = not looked
    ipv6: bool = True  # the kernel has IPv6 and it is not switched off
    local_time: LocalTime = LocalTime(0, 0)
