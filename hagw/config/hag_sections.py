"""Sections that only a file of `role: hag` may have."""

from typing import Literal

from pydantic import Field

from hagw.config.sections import Port, Section
from hagw.config.values import Address, Key, Name, Prefix, Rate, RegistryUrl, TruthOrAuto
from hagw.model.ids import PORT_CONTROL, PORT_CONVERT, PORT_PROBE
from hagw.model.intent import BindCookies, CustomerLimits, EgressIntent, ServerMptcp

_EGRESS = EgressIntent()


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

    bind: TruthOrAuto = Field(
        default="auto", description="only from addresses where the customer's CPE has proved to be; auto = if it can"
    )

    def to_intent(self) -> BindCookies:
        """Return the trusted value."""
        return "auto" if self.bind == "auto" else "on" if self.bind else "off"
