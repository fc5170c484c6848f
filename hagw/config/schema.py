"""What a configuration file may contain: one model a section, one per role on top. `load` turns them into intents."""

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from hagw.config.rule_values import Domain, Dscp, Protocol, Window
from hagw.config.values import (
    Address,
    Address4,
    Address6,
    Duration,
    Interface,
    InterfaceGlob,
    Key,
    Mac,
    Name,
    OwnAddress,
    Ports,
    Prefix,
    Prefix6,
    Rate,
    RegistryUrl,
    Rung,
    Share,
    Truth,
    Volume,
    WebhookUrl,
)
from hagw.model.ids import MAX_UPLINKS, PORT_CONTROL, PORT_CONVERT, PORT_PROBE
from hagw.model.intent import (
    Addressing,
    AlertsIntent,
    AllowIntent,
    CapPeriod,
    CustomerLimits,
    DataCapIntent,
    EgressIntent,
    FirewallIntent,
    FirewallProtocol,
    FlowLimits,
    HistoryIntent,
    InterfaceMatch,
    MetricsIntent,
    PoolIntent,
    PortalIntent,
    ProbeStyle,
    QuicStyle,
    SendingMode,
    ServerMptcp,
    SpeedtestIntent,
    StandbyStyle,
    SteeringMode,
    UplinkKind,
    WebhookIntent,
    WebIntent,
)
from hagw.model.web import PORT_METRICS, PORT_WEB
from hagw.policy.applications import Application

Version = Annotated[int, Field(description="version of the format")]
Port = Annotated[int, Field(ge=1, le=65535)]
Workers = Annotated[int, Field(ge=0, le=256, description="worker processes; 0 = one a core, at least two")]
CongestionControl = Annotated[
    str | None,
    Field(pattern=r"^[a-z0-9_-]{1,15}$", description="bbr where the kernel has it, else cubic, if not given"),
]
Scheduler = Annotated[
    str | None,
    Field(pattern=r"^[A-Za-z0-9_-]{1,15}$", description="packet scheduler of the kernel; its own choice if not given"),
]
HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$")]
File = Annotated[str, Field(pattern=r"^/[^\x00-\x1f]{1,1000}$")]
WebhookSecret = Annotated[str, Field(pattern=r"^[!-~]{8,256}$")]
_ALERTS = AlertsIntent()
_POOL = PoolIntent()
_LIMITS = FlowLimits()
_PORTAL = PortalIntent()
_EGRESS = EgressIntent()
_HISTORY = HistoryIntent()
_CAP = DataCapIntent("", ())


class Section(BaseModel):
    """A mapping whose keys are all known."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LanSection(Section):
    """The side whose hosts are served."""

    interfaces: tuple[Interface, ...] = Field(min_length=1, description="interfaces that LAN hosts are behind")


class MatchSection(Section):
    """What an interface is known by where its name is not certain; all that is given must fit."""

    name: InterfaceGlob | None = Field(default=None, description="pattern of its name, such as wwan*")
    mac: Mac | None = Field(default=None, description="its hardware's address")
    driver: InterfaceGlob | None = Field(default=None, description="its driver, as `ethtool -i` names it; a pattern")

    def to_intent(self) -> InterfaceMatch:
        """Return the trusted value."""
        return InterfaceMatch(self.name, self.mac, self.driver)


class UplinkSection(Section):
    """One access line."""

    name: Name = Field(description="name of the line, used in rules and in every report")
    kind: UplinkKind = Field(description="kind of access")
    interface: Interface | None = Field(default=None, description="network interface of the line, or give `match`")
    match: MatchSection | None = Field(default=None, description="how to know its interface, instead of `interface`")
    enabled: Truth = Field(default=True, description="false = configured but not used")
    metered: Truth = Field(default=False, description="true = bytes cost money: used last among equals")
    cost: int = Field(default=0, ge=0, le=1000, description="lower is preferred")
    rate_down: Rate | None = Field(default=None, description="rate of IP bytes towards us; learnt if not given")
    rate_up: Rate | None = Field(default=None, description="rate of IP bytes from us; learnt if not given")
    gateway4: Address4 | None = Field(default=None, description="IPv4 router; from the main table if not given")
    gateway6: Address6 | None = Field(default=None, description="IPv6 router; from the main table if not given")
    address: Addressing = Field(
        default="dhcp", description="dhcp: as the system configures it; static: hagw sets `addresses`; ra: IPv6 by RA"
    )
    addresses: tuple[OwnAddress, ...] = Field(default=(), description="with `address: static`: one a family at most")
    mtu: int | None = Field(default=None, ge=1280, le=9216, description="set on the interface; left alone if not given")
    prefix6: Prefix6 | None = Field(default=None, description="IPv6 prefix that the provider leads to us over it")
    probe: ProbeStyle = Field(default="normal", description="normal, gentle (asks less) or fast (asks more)")


class GatewaySection(Section):
    """A hybrid access gateway this CPE may use."""

    name: Name = Field(description="name of the gateway")
    addresses: tuple[Address, ...] = Field(min_length=1, description="IPv4 and IPv6 addresses of the gateway")
    port: Port = Field(default=PORT_CONVERT, description="TCP port of its converter")
    probe_port: Port = Field(default=PORT_PROBE, description="UDP port of its echo responder")
    control_port: Port = Field(default=PORT_CONTROL, description="TCP port of its control channel")
    customer: Name | None = Field(
        default=None, description="our name at the gateway; left out where `hagw enrol` got it"
    )
    key: Key | None = Field(default=None, description="key shared with the gateway; likewise")
    weight: int = Field(
        default=100, ge=0, le=1000, description="share of the flows; 0 = only while no other takes them"
    )


class TrafficSection(Section):
    """Which flows a rule is for; what is not given matches everything."""

    source: tuple[Prefix, ...] = Field(default=(), description="prefixes of LAN hosts")
    destination: tuple[Prefix, ...] = Field(default=(), description="prefixes of servers")
    destination_port: tuple[Ports, ...] = Field(default=(), description="ports or ranges of servers")
    source_mac: tuple[Mac, ...] = Field(default=(), description="MAC addresses of LAN hosts")
    source_interface: tuple[Interface, ...] = Field(default=(), description="LAN interfaces that flows come from")
    protocol: tuple[Protocol, ...] = Field(default=(), description="IP protocols, by name or number")
    dscp: tuple[Dscp, ...] = Field(default=(), description="DSCPs of the first packet, by name or number")
    domain: tuple[Domain, ...] = Field(default=(), description="names of servers; *.example.org is all names below")
    application: tuple[Application, ...] = Field(default=(), description="sets of ports and names that hagw knows")
    time: tuple[Window, ...] = Field(default=(), description="hours and weekdays, local time: mon-fri 08:00-18:00")


class SendingSection(Section):
    """How a rule's flows are carried that mostly send."""

    mode: SendingMode = Field(description="steering mode")
    uplinks: tuple[Name, ...] = Field(default=(), description="lines to use, as in the rule; all if not given")


class SteeringSection(Section):
    """How a rule's flows are carried."""

    mode: SteeringMode = Field(description="steering mode")
    uplinks: tuple[Name, ...] = Field(
        default=(), description="lines to use, the preferred one first; all if not given, then the cheaper first"
    )
    standby: StandbyStyle = Field(
        default="warm", description="active-standby: warm = the other lines are joined; cold = only when needed"
    )
    weights: tuple[int, ...] = Field(
        default=(), description="load-balancing: percent of the bytes for each of `uplinks`, 100 together"
    )
    sending: SendingSection | None = Field(
        default=None, description="how to carry those that mostly send, if not as the others"
    )
    quic: QuicStyle | None = Field(
        default=None, description="reject = answer QUIC with an ICMP error; steer = over one line; else by the mode"
    )


class RuleSection(Section):
    """An ATSSS rule."""

    name: Name = Field(description="name of the rule, shown with every flow it decides")
    precedence: int = Field(ge=0, le=255, description="lower is evaluated earlier, the first match wins")
    traffic: TrafficSection = TrafficSection()
    steering: SteeringSection


class AllowSection(Section):
    """What may come in from an uplink."""

    name: Name = Field(description="name of the entry")
    protocol: FirewallProtocol = Field(description="tcp, udp, icmp (echo requests), esp or gre")
    destination_port: tuple[Ports, ...] = Field(default=(), description="ports, for tcp and udp")
    source: tuple[Prefix, ...] = Field(default=(), description="prefixes it may come from; anywhere if not given")
    destination: tuple[Prefix, ...] = Field(
        default=(), description="prefixes behind the gateway; the gateway itself if not given"
    )
    uplinks: tuple[Name, ...] = Field(default=(), description="lines it may come in over; all if not given")


class FirewallSection(Section):
    """What may come in from the uplinks: nothing but answers, unless it is allowed."""

    enabled: Truth = Field(default=True, description="false = hagw lets everything in")
    allow: tuple[AllowSection, ...] = ()

    def to_intent(self) -> FirewallIntent:
        """Return the trusted value."""
        allow = tuple(
            AllowIntent(each.name, each.protocol, each.destination_port, each.source, each.destination, each.uplinks)
            for each in self.allow
        )
        return FirewallIntent(self.enabled, allow)


class DataCapSection(Section):
    """A volume that lines may carry in a period, and what happens as it is used up."""

    name: Name = Field(description="name of the cap, shown with its usage")
    uplinks: tuple[Name, ...] = Field(min_length=1, description="lines that share it")
    volume: Volume | None = Field(default=None, description="both directions together")
    volume_down: Volume | None = Field(default=None, description="towards us only")
    volume_up: Volume | None = Field(default=None, description="from us only")
    period: CapPeriod = Field(default="month", description="month (from `billing_day` on) or day")
    billing_day: int = Field(default=1, ge=1, le=31, description="day of the month that a period begins on")
    warn: tuple[Share, ...] = Field(default=_CAP.warn, max_length=16, description="shares that are warned at")
    overflow_only: Rung | None = Field(default=None, description="from here on it carries only what others cannot")
    standby_only: Rung | None = Field(default=None, description="from here on it is used while no other line works")
    throttle: Rung | None = Field(default=None, description="from here on it is slow as well")
    throttle_rate: Rate = Field(default=_CAP.throttle_rate_bps, description="how slow, each direction")
    cut: Rung | None = Field(default=None, description="from here on it carries nothing: 100 % if not given, or never")

    def to_intent(self) -> DataCapIntent:
        """Return the trusted value."""
        rungs = (self.overflow_only, self.standby_only, self.throttle, self.cut or _CAP.cut)
        overflow, standby, throttle, cut = (None if share == math.inf else share for share in rungs)
        return DataCapIntent(
            name=self.name,
            uplinks=self.uplinks,
            volume_bytes=self.volume,
            volume_down_bytes=self.volume_down,
            volume_up_bytes=self.volume_up,
            period=self.period,
            billing_day=self.billing_day,
            warn=tuple(sorted(self.warn)),
            overflow_only=overflow,
            standby_only=standby,
            throttle=throttle,
            throttle_rate_bps=self.throttle_rate,
            cut=cut,
        )


class PoolSection(Section):
    """Warm connections, per worker, gateway and set of uplinks."""

    size_min: int = Field(default=_POOL.size_min, ge=0, le=1000)
    size_max: int = Field(default=_POOL.size_max, ge=0, le=1000)
    idle: Duration = Field(default=_POOL.idle_s, description="a warm connection nobody took is closed after this")

    def to_intent(self) -> PoolIntent:
        """Return the trusted value."""
        return PoolIntent(self.size_min, self.size_max, self.idle)


class PortalSection(Section):
    """What to ask for over a line that may be behind a captive portal, and its right answer."""

    enabled: Truth = True
    url: str | None = Field(default=None, pattern=r"^http://[!-~]{1,500}$", description="asked instead of the gateway")
    status: int = Field(default=_PORTAL.status, ge=100, le=599, description="the right answer's status")
    body: str | None = Field(default=None, max_length=1000, description="the right answer's body; any if not given")

    def to_intent(self) -> PortalIntent:
        """Return the trusted value."""
        return PortalIntent(self.enabled, self.url, self.status, self.body)


class SpeedtestSection(Section):
    """Where speed tests of single lines get bytes from and send them to."""

    down: str | None = Field(default=None, pattern=r"^https?://[!-~]{1,500}$", description="answers with many bytes")
    up: str | None = Field(default=None, pattern=r"^https?://[!-~]{1,500}$", description="takes a POST of many bytes")

    def to_intent(self) -> SpeedtestIntent:
        """Return the trusted value."""
        return SpeedtestIntent(self.down or "", self.up or "")


class HistorySection(Section):
    """What is kept of the past on disk."""

    enabled: Truth = Field(default=True, description="series of what lines carried, and events")
    events: Duration = Field(default=_HISTORY.events_s, description="how long events are kept")
    domains: Truth = Field(default=True, description="show names of servers with flows")

    def to_intent(self) -> HistoryIntent:
        """Return the trusted value."""
        return HistoryIntent(self.enabled, self.events, self.domains)


class LimitsSection(Section):
    """Bounds on what hosts or customers can make this machine hold."""

    flows_max: int = Field(default=_LIMITS.flows_max, ge=1, le=10_000_000)
    idle: Duration = _LIMITS.idle_s
    half_closed: Duration = _LIMITS.half_closed_s
    connect: Duration = _LIMITS.connect_s
    message: Duration = _LIMITS.message_s
    warm_idle: Duration = _LIMITS.warm_idle_s
    first_bytes: Duration = _LIMITS.first_bytes_s
    pending_per_customer: int = Field(default=_LIMITS.pending_per_customer, ge=1, le=1_000_000)
    warm_per_customer: int = Field(default=_LIMITS.warm_per_customer, ge=1, le=1_000_000)

    def to_intent(self) -> FlowLimits:
        """Return the trusted value."""
        return FlowLimits(
            flows_max=self.flows_max,
            idle_s=self.idle,
            half_closed_s=self.half_closed,
            connect_s=self.connect,
            message_s=self.message,
            warm_idle_s=self.warm_idle,
            first_bytes_s=self.first_bytes,
            pending_per_customer=self.pending_per_customer,
            warm_per_customer=self.warm_per_customer,
        )


class WebSection(Section):
    """The admin page: where `hagw web` listens, and its certificate."""

    enabled: Truth = True
    port: Port = PORT_WEB
    listen: tuple[Address, ...] = Field(
        default=(),
        max_length=16,
        description="own addresses; else the LAN's interfaces (CPE), or loopback (HAG)",
    )
    names: tuple[HostName, ...] = Field(default=(), max_length=16, description="names that browsers may use for it")
    certificate: File | None = Field(default=None, description="PEM file; one of its own if not given")
    certificate_key: File | None = Field(default=None, description="PEM file of the certificate's key")

    def to_intent(self) -> WebIntent:
        """Return the trusted value."""
        listen = tuple(dict.fromkeys(self.listen))
        return WebIntent(
            self.enabled, self.port, listen, self.names, self.certificate or "", self.certificate_key or ""
        )


class MetricsSection(Section):
    """Where metrics are served to a scraper without a login."""

    listen: tuple[Address, ...] = Field(default=(), max_length=16, description="own addresses; nowhere if not given")
    port: Port = PORT_METRICS

    def to_intent(self) -> MetricsIntent:
        """Return the trusted value."""
        return MetricsIntent(tuple(dict.fromkeys(self.listen)), self.port)


class WebhookSection(Section):
    """Where alerts are sent."""

    name: Name = Field(description="name of the webhook")
    url: WebhookUrl = Field(description="asked by POST with the alert as JSON")
    secret: WebhookSecret | None = Field(default=None, description="signs what is sent (HMAC-SHA256)")


class AlertsSection(Section):
    """Whom to tell what is wrong."""

    webhooks: tuple[WebhookSection, ...] = Field(default=(), max_length=8, description="where alerts are sent")
    after: Duration = Field(default=_ALERTS.after_s, description="how long something has to be wrong")
    hourly_max: int = Field(default=_ALERTS.hourly_max, ge=1, le=3600, description="so many alerts an hour at most")

    def to_intent(self) -> AlertsIntent:
        """Return the trusted value."""
        hooks = tuple(WebhookIntent(each.name, each.url, each.secret or "") for each in self.webhooks)
        return AlertsIntent(hooks, self.after, self.hourly_max)


class MptcpSection(Section):
    """How the kernel's Multipath TCP works, beyond what is necessary."""

    scheduler: Scheduler = None


class CpeFile(Section):
    """A file of `role: cpe`."""

    version: Version
    role: Literal["cpe"] = Field(description="what this machine is")
    lan: LanSection = Field(description="the side whose hosts are served")
    uplinks: tuple[UplinkSection, ...] = Field(min_length=1, max_length=MAX_UPLINKS, description="the access lines")
    gateways: tuple[GatewaySection, ...] = Field(min_length=1, max_length=16, description="where to convert")
    rules: tuple[RuleSection, ...] = ()
    bypass: tuple[Prefix, ...] = Field(default=(), description="servers that are always reached directly")
    firewall: FirewallSection = FirewallSection()
    workers: Workers = 0
    congestion_control: CongestionControl = None
    mptcp: MptcpSection = MptcpSection()
    pool: PoolSection = PoolSection()
    limits: LimitsSection = LimitsSection()
    portal_check: PortalSection = PortalSection()
    history: HistorySection = HistorySection()
    speedtest: SpeedtestSection = SpeedtestSection()
    data_caps: tuple[DataCapSection, ...] = Field(default=(), max_length=64, description="volumes of contracts")
    web: WebSection = WebSection()
    metrics: MetricsSection = MetricsSection()
    alerts: AlertsSection = AlertsSection()


class ListenSection(Section):
    """Where the gateway is reached."""

    addresses: tuple[Address, ...] = Field(min_length=1, description="own addresses, 0.0.0.0 and :: for all")
    port: Port = Field(default=PORT_CONVERT, description="TCP port of the converter")
    probe_port: Port = Field(default=PORT_PROBE, description="UDP port of the echo responder")
    control_port: Port = Field(default=PORT_CONTROL, description="TCP port of the control channel")
    probing: Literal["normal", "gentle"] = Field(
        default="normal", description="how much CPEs with a control channel ask the echo responder"
    )


class CustomerLimitsSection(Section):
    """What a customer may use of this gateway; no bound but the gateway's own if not given."""

    connections: int | None = Field(default=None, ge=1, le=10_000_000)
    connects_per_s: int | None = Field(default=None, ge=1, le=1_000_000)
    pending: int | None = Field(default=None, ge=1, le=1_000_000)
    rate_down: Rate | None = Field(default=None, description="payload towards the customer")
    rate_up: Rate | None = Field(default=None, description="payload from the customer")

    def to_intent(self) -> CustomerLimits:
        """Return the trusted value."""
        return CustomerLimits(self.connections, self.connects_per_s, self.pending, self.rate_down, self.rate_up)


class CustomerSection(Section):
    """A CPE that may use this gateway."""

    name: Name
    key: Key = Field(description="key shared with this customer alone")
    sources: tuple[Prefix, ...] = Field(default=(), description="prefixes it may come from; anywhere if not given")
    allow: tuple[Prefix, ...] = Field(default=(), description="destinations allowed to it beside the gateway's")
    deny: tuple[Prefix, ...] = Field(default=(), description="destinations denied to it beside the gateway's")
    limits: CustomerLimitsSection = CustomerLimitsSection()


class DestinationsSection(Section):
    """What customers may reach. `deny` wins over `allow`."""

    allow: tuple[Prefix, ...] = ()
    deny: tuple[Prefix, ...] = ()
    server_mptcp: ServerMptcp = "off"
    server_mptcp_prefixes: tuple[Prefix, ...] = ()


class RegistrySection(Section):
    """Where the customers are kept that `hagw customer` adds."""

    url: RegistryUrl | None = Field(
        default=None, description="database; a SQLite file in the state directory if not given"
    )


class EgressSection(Section):
    """External addresses that customers share."""

    addresses: tuple[Address, ...] = Field(default=(), max_length=256, description="own addresses towards servers")
    ports_per_customer: int = Field(default=_EGRESS.ports_per_customer, ge=16, le=32_256)

    def to_intent(self) -> EgressIntent:
        """Return the trusted value."""
        return EgressIntent(tuple(dict.fromkeys(self.addresses)), self.ports_per_customer)


class CookiesSection(Section):
    """What a cookie is good for."""

    bind: Truth = Field(default=False, description="only from addresses where the customer's CPE has proved to be")


class HagFile(Section):
    """A file of `role: hag`."""

    version: Version
    role: Literal["hag"] = Field(description="what this machine is")
    listen: ListenSection = Field(description="where the gateway is reached")
    customers: tuple[CustomerSection, ...] = Field(default=(), description="who may use it, beside the registry's")
    registry: RegistrySection = RegistrySection()
    destinations: DestinationsSection = DestinationsSection()
    egress: EgressSection = EgressSection()
    cookies: CookiesSection = CookiesSection()
    web: WebSection = WebSection()
    history: HistorySection = HistorySection()
    metrics: MetricsSection = MetricsSection()
    alerts: AlertsSection = AlertsSection()
    workers: Workers = 0
    congestion_control: CongestionControl = None
    mptcp: MptcpSection = MptcpSection()
    limits: LimitsSection = LimitsSection()


ROLES: dict[str, type[CpeFile] | type[HagFile]] = {"cpe": CpeFile, "hag": HagFile}
