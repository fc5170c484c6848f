"""Sections that files of both roles may have, and what all sections are made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from hagw.config.values import Address, Duration, Name, Truth, WebhookUrl
from hagw.model.intent import AlertsIntent, FlowLimits, HistoryIntent, MetricsIntent, WebhookIntent, WebIntent
from hagw.model.web import PORT_METRICS, PORT_WEB

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
_LIMITS = FlowLimits()
_HISTORY = HistoryIntent()


class Section(BaseModel):
    """A mapping whose keys are all known."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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
