"""Sections that only a file of `role: cpe` may have."""

import math

from pydantic import Field

from hagw.config.rule_values import Domain, Dscp, Protocol, Window
from hagw.config.sections import Port, Section
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
    Rung,
    Share,
    Truth,
    Volume,
)
from hagw.model.ids import PORT_CONTROL, PORT_CONVERT, PORT_PROBE
from hagw.model.intent import (
    Addressing,
    AllowIntent,
    CapPeriod,
    DataCapIntent,
    FirewallIntent,
    FirewallProtocol,
    InterfaceMatch,
    PoolIntent,
    PortalIntent,
    ProbeStyle,
    QuicStyle,
    SendingMode,
    SpeedtestIntent,
    StandbyStyle,
    SteeringMode,
    UplinkKind,
)
from hagw.policy.applications import Application

_POOL = PoolIntent()
_PORTAL = PortalIntent()
_CAP = DataCapIntent("", ())


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
