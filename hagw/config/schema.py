"""What a configuration file may contain: one model a role, its sections beside. `load` turns them into intents."""

from typing import Literal

from pydantic import Field

from hagw.config.cpe_sections import (
    DataCapSection,
    FirewallSection,
    GatewaySection,
    LanSection,
    PoolSection,
    PortalSection,
    RuleSection,
    SpeedtestSection,
    UplinkSection,
)
from hagw.config.hag_sections import (
    CookiesSection,
    CustomerSection,
    DestinationsSection,
    EgressSection,
    ListenSection,
    RegistrySection,
)
from hagw.config.sections import (
    AlertsSection,
    CongestionControl,
    HistorySection,
    LimitsSection,
    MetricsSection,
    MptcpSection,
    Section,
    Version,
    WebSection,
    Workers,
)
from hagw.config.values import Prefix
from hagw.model.ids import MAX_UPLINKS


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
