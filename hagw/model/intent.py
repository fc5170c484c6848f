"""What the owner wants: the parsed configuration of either role. Built by `hagw.config`, trusted everywhere else."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Literal

from hagw.model.ids import PORT_CONTROL
from hagw.model.web import PORT_METRICS, PORT_WEB

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network
IPInterface = IPv4Interface | IPv6Interface
UplinkKind = Literal["dsl", "ethernet", "pppoe", "wwan", "wifi"]
SteeringMode = Literal[
    "load-balancing", "active-standby", "smallest-delay", "priority-based", "redundant", "direct", "block"
]  # fmt: skip
SendingMode = Literal["load-balancing", "active-standby", "smallest-delay", "priority-based"]
StandbyStyle = Literal["warm", "cold"]
QuicStyle = Literal["reject", "steer"]
Addressing = Literal["dhcp", "static", "ra"]
ProbeStyle = Literal["normal", "gentle", "fast"]
ServerMptcp = Literal["off", "auto"]
BindCookies = Literal["off", "auto", "on"]  # auto: of CPEs that renew their proofs over the control channel
FirewallProtocol = Literal["tcp", "udp", "icmp", "esp", "gre"]
CapPeriod = Literal["month", "day"]


@dataclass(frozen=True, slots=True)
class InterfaceMatch:
    """What an uplink's interface is known by instead of its name; all that is given must fit."""

    name: str | None = None  # glob
    mac: str | None = None  # lower case; the permanent address where the hardware has one
    driver: str | None = None  # glob


@dataclass(frozen=True, slots=True)
class UplinkIntent:
    """One access line. Rates are hints in bit/s of IP bytes; None = learn. Gateways: None = from the main table.

    `interface` "" = whichever `match` fits: `hagw.uplinks.interfaces` finds its name. `addresses` are ours to set, with
    `addressing` "static" only, at most one a family; so is the `mtu`.
    """

    name: str
    kind: UplinkKind
    interface: str
    slot: int
    enabled: bool = True
    metered: bool = False
    cost: int = 0
    rate_down_bps: int | None = None
    rate_up_bps: int | None = None
    gateway4: IPv4Address | None = None
    gateway6: IPv6Address | None = None
    match: InterfaceMatch | None = None
    addressing: Addressing = "dhcp"
    addresses: tuple[IPInterface, ...] = ()
    mtu: int | None = None  # None = as the system has it
    probing: ProbeStyle = "normal"
    prefix6: IPv6Network | None = None  # what the provider leads to us over this line


@dataclass(frozen=True, slots=True)
class GatewayIntent:
    """A hybrid access gateway this CPE may use; `key` is the pre-shared customer key (32 bytes).

    Both are empty where the configuration names none: the CPE enrols, and the daemon knows them from there.
    `weight` is its share of the flows against the others'; 0 = only while no other takes them.
    """

    name: str
    addresses: tuple[IPAddress, ...]
    port: int
    probe_port: int
    customer: str
    key: bytes
    control_port: int = PORT_CONTROL
    weight: int = 100


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """Hours of some weekdays (0 = Monday), in minutes since midnight, local time; the end is not part of it.

    An end that is not after the begin is on the next day: the days are those on which the window begins.
    """

    days: tuple[int, ...]
    begin_minute: int
    end_minute: int


@dataclass(frozen=True, slots=True)
class TrafficDescriptor:
    """Which flows a rule is for; an empty tuple matches everything, all given components must match."""

    sources: tuple[IPNetwork, ...] = ()
    destinations: tuple[IPNetwork, ...] = ()
    destination_ports: tuple[tuple[int, int], ...] = ()  # inclusive ranges
    macs: tuple[str, ...] = ()  # of the LAN host, or of the router that it is behind; lower case
    interfaces: tuple[str, ...] = ()  # LAN interfaces
    protocols: tuple[int, ...] = ()  # IANA numbers
    dscps: tuple[int, ...] = ()  # 0..63, of the first packet
    domains: tuple[str, ...] = ()  # lower case; "*.example.org" is every name below example.org, not itself
    applications: tuple[str, ...] = ()  # names of `hagw.policy.applications`
    times: tuple[TimeWindow, ...] = ()


@dataclass(frozen=True, slots=True)
class SendingIntent:
    """How to carry the converted flows of a rule that mostly send; `uplinks` empty = all."""

    mode: SendingMode
    uplinks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleIntent:
    """An ATSSS rule: lower precedence is evaluated earlier, first match wins. `uplinks` empty = all.

    Their order counts in the modes that prefer one line to another. `standby` is for active-standby. `weights` are for
    load-balancing: percent of the bytes, in the order of `uplinks`, which then names all; empty = as fast as possible.
    `quic` None = refused where the rule bonds TCP.
    """

    name: str
    precedence: int
    traffic: TrafficDescriptor
    mode: SteeringMode
    uplinks: tuple[str, ...] = ()
    standby: StandbyStyle = "warm"
    weights: tuple[int, ...] = ()
    sending: SendingIntent | None = None
    quic: QuicStyle | None = None


@dataclass(frozen=True, slots=True)
class AllowIntent:
    """What may begin a flow from an uplink: to the gateway itself, or to `destinations` wherever they are.

    Ports (inclusive ranges) for tcp and udp only; `icmp` stands for echo requests. Empty `sources` or `uplinks` = any.
    """

    name: str
    protocol: FirewallProtocol
    destination_ports: tuple[tuple[int, int], ...] = ()
    sources: tuple[IPNetwork, ...] = ()
    destinations: tuple[IPNetwork, ...] = ()
    uplinks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FirewallIntent:
    """The base firewall: nothing comes in from the uplinks but what is allowed."""

    enabled: bool = True
    allow: tuple[AllowIntent, ...] = ()


@dataclass(frozen=True, slots=True)
class DataCapIntent:
    """The volume that a contract allows its lines together in a period; at least one of the volumes is given.

    `warn` and the rungs of the ladder are shares of it (0.9 = 90 %); None = this rung is left out.
    """

    name: str
    uplinks: tuple[str, ...]
    volume_bytes: int | None = None
    volume_down_bytes: int | None = None
    volume_up_bytes: int | None = None
    period: CapPeriod = "month"
    billing_day: int = 1  # a month that is shorter begins on its last day
    warn: tuple[float, ...] = (0.75, 0.9)
    overflow_only: float | None = None
    standby_only: float | None = None
    throttle: float | None = None
    throttle_rate_bps: int = 512_000
    cut: float | None = 1.0


@dataclass(frozen=True, slots=True)
class PoolIntent:
    """Warm connections per worker, gateway and set of uplinks."""

    size_min: int = 3
    size_max: int = 32
    idle_s: float = 900.0


@dataclass(frozen=True, slots=True)
class PortalIntent:
    """What to ask for over a line that may be behind a captive portal, and its right answer.

    `url` None = port 80 of the gateway's address: no third party is asked. `body` None = any.
    """

    enabled: bool = True
    url: str | None = None
    status: int = 204
    body: str | None = None


@dataclass(frozen=True, slots=True)
class WebIntent:
    """Where `hagw web` listens besides loopback: `addresses`, else on the LAN interfaces (a CPE) or nowhere (a HAG).

    `names` are what browsers may call this machine. `certificate` and `key` are files of the owner's, "" = our own.
    """

    enabled: bool = True
    port: int = PORT_WEB
    addresses: tuple[IPAddress, ...] = ()
    names: tuple[str, ...] = ()
    certificate: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class MetricsIntent:
    """Where metrics are served without a login; no address = nowhere."""

    addresses: tuple[IPAddress, ...] = ()
    port: int = PORT_METRICS


@dataclass(frozen=True, slots=True)
class WebhookIntent:
    """Where alerts are sent; `url` and `secret` (which signs them, "" = nothing does) are secrets."""

    name: str
    url: str
    secret: str = ""


@dataclass(frozen=True, slots=True)
class AlertsIntent:
    """Whom to tell what is wrong, once it has lasted `after_s`; so many times an hour at most."""

    webhooks: tuple[WebhookIntent, ...] = ()
    after_s: float = 30.0
    hourly_max: int = 30


@dataclass(frozen=True, slots=True)
class FlowLimits:
    """Bounds on what LAN hosts (CPE) or customers (HAG) can make us hold."""

    flows_max: int = 20_000
    idle_s: float = 7_500.0  # RFC 5382 REQ-5 asks for no less than 2 h 4 min
    half_closed_s: float = 600.0
    connect_s: float = 15.0
    message_s: float = 5.0  # a stranger's unfinished Convert message
    warm_idle_s: float = 1_800.0  # an authenticated one waiting for its Connect
    pending_per_customer: int = 512
    warm_per_customer: int = 512
    first_bytes_s: float = 0.01  # wait for a client's first bytes where a rule needs the server's name


@dataclass(frozen=True, slots=True)
class HistoryIntent:
    """What is kept of the past on disk. `domains`: names of servers are shown with flows.

    `enabled` False = nothing; `events_s` = how long events are kept.
    """

    enabled: bool = True
    events_s: float = 30 * 86_400.0
    domains: bool = True


@dataclass(frozen=True, slots=True)
class SpeedtestIntent:
    """Where speed tests get bytes from and send them to; "" = nowhere, there are none."""

    down: str = ""
    up: str = ""


@dataclass(frozen=True, slots=True)
class CpeIntent:
    """Configuration of `role: cpe`."""

    lan_interfaces: tuple[str, ...]
    uplinks: tuple[UplinkIntent, ...]
    gateways: tuple[GatewayIntent, ...]
    rules: tuple[RuleIntent, ...] = ()
    bypass: tuple[IPNetwork, ...] = ()
    firewall: FirewallIntent = FirewallIntent()
    workers: int = 0  # 0 = one a core, at least two
    congestion_control: str | None = None  # None = bbr where the kernel has it, else cubic
    mptcp_scheduler: str | None = None  # None = leave the kernel's
    pool: PoolIntent = PoolIntent()
    limits: FlowLimits = FlowLimits()
    portal_check: PortalIntent = PortalIntent()
    data_caps: tuple[DataCapIntent, ...] = ()
    speedtest: SpeedtestIntent = SpeedtestIntent()
    web: WebIntent = WebIntent()
    history: HistoryIntent = HistoryIntent()
    metrics: MetricsIntent = MetricsIntent()
    alerts: AlertsIntent = AlertsIntent()


@dataclass(frozen=True, slots=True)
class CustomerLimits:
    """What one customer may use of a gateway; None = no bound but the gateway's own."""

    connections_max: int | None = None
    connects_per_s: float | None = None
    pending_max: int | None = None
    rate_down_bps: int | None = None  # payload
    rate_up_bps: int | None = None
    month_bytes: int | None = None  # payload, both directions, in a calendar month (UTC)


@dataclass(frozen=True, slots=True)
class CustomerIntent:
    """A CPE known to this HAG. `sources` empty = from anywhere.

    `old_key` is valid too while a CPE takes over a new one. `allow` and `deny` are added to the gateway's own lists.
    `blocked` says why it gets no new connections now, "" = it does.
    """

    name: str
    key: bytes
    sources: tuple[IPNetwork, ...] = ()
    old_key: bytes | None = None
    allow: tuple[IPNetwork, ...] = ()
    deny: tuple[IPNetwork, ...] = ()
    limits: CustomerLimits = CustomerLimits()
    blocked: str = ""


@dataclass(frozen=True, slots=True)
class DestinationPolicy:
    """What customers may reach. `deny` wins over `allow`; both are added to the built-in refusals."""

    allow: tuple[IPNetwork, ...] = ()
    deny: tuple[IPNetwork, ...] = ()
    server_mptcp: ServerMptcp = "off"
    server_mptcp_prefixes: tuple[IPNetwork, ...] = ()  # always tried with MPTCP


@dataclass(frozen=True, slots=True)
class EgressIntent:
    """External addresses that customers share; none = as the system routes. Each customer has a block of ports."""

    addresses: tuple[IPAddress, ...] = ()
    ports_per_customer: int = 1_024


@dataclass(frozen=True, slots=True)
class HagIntent:
    """Configuration of `role: hag`."""

    listen: tuple[IPAddress, ...]
    port: int
    probe_port: int
    control_port: int
    customers: tuple[CustomerIntent, ...]
    destinations: DestinationPolicy = DestinationPolicy()
    workers: int = 0
    congestion_control: str | None = None
    mptcp_scheduler: str | None = None
    limits: FlowLimits = FlowLimits()
    registry_url: str = ""  # "" = a SQLite file in the state directory
    egress: EgressIntent = EgressIntent()
    history: HistoryIntent = HistoryIntent()
    bind_cookies: BindCookies = "auto"  # to the addresses that a customer's CPE has proved to be at
    probing: ProbeStyle = "normal"  # what CPEs are told; "gentle" has them ask less
    web: WebIntent = WebIntent()
    metrics: MetricsIntent = MetricsIntent()
    alerts: AlertsIntent = AlertsIntent()


Intent = CpeIntent | HagIntent
