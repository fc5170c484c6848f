"""The documents that are told beside status: their shapes, for OpenAPI and whoever generates types of it."""

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from hagw.api.config_documents import Issue
from hagw.control.status_documents import GatewayStatus, UplinkStatus
from hagw.control.usage import DataCapStatus


class Fault(TypedDict):
    """One thing wrong with a request: where, and why."""

    path: str
    message: str
    line: NotRequired[int | None]


class Problem(TypedDict):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: NotRequired[list[Fault]]
    issues: NotRequired[list[Issue]]
    retry_after_s: NotRequired[int]
    must_change_password: NotRequired[bool]
    stale: NotRequired[bool]
    generation: NotRequired[int]


class HealthDocument(TypedDict):
    """State and reason only."""

    schema: int
    state: str
    reason: str


class UplinksDocument(TypedDict):
    """All lines."""

    schema: int
    uplinks: list[UplinkStatus]


class UplinkDocument(TypedDict):
    """One line."""

    schema: int
    uplink: UplinkStatus
    data_caps: list[DataCapStatus]


class GatewaysDocument(TypedDict):
    """All gateways."""

    schema: int
    gateways: list[GatewayStatus]


class RuleEntry(TypedDict):
    """A rule as the configuration's text has it; numbers are words there. `active`: it is within its hours."""

    name: str
    precedence: int
    active: bool
    traffic: dict[str, Any]
    steering: dict[str, Any]


class RulesDocument(TypedDict):
    """The rules in force, lowest precedence first."""

    schema: int
    generation: int
    rules: list[RuleEntry]


class SchemaDocument(TypedDict):
    """The JSON schema of this role's configuration."""

    schema: int
    role: str
    json_schema: dict[str, Any]


class UsageDocument(TypedDict):
    """`hagw usage --json`."""

    schema: int
    data_caps: list[DataCapStatus]


class DrainDocument(TypedDict):
    """`hagw drain --json`."""

    schema: int
    draining: bool
    flows_active: int


class RenewDocument(TypedDict):
    """`hagw reload-workers --json`: processes."""

    schema: int
    workers: list[int | None]
    retired: list[int | None]


class EventEntry(TypedDict):
    """Something that happened, at `at` (UTC): to `subject`, told in `text`."""

    id: int
    at: str
    kind: str
    severity: Literal["info", "good", "warning", "problem"]
    subject: str | None
    text: str


class EventsDocument(TypedDict):
    """`hagw events --json`, newest first."""

    schema: int
    events: list[EventEntry]


class HistoryDocument(TypedDict):
    """Series by name, such as `uplink.dsl.down_bps`: a value every `step_s` since `begin_unix_s`, null = a gap."""

    schema: int
    range: str
    step_s: int
    begin_unix_s: int
    series: dict[str, list[float | None]]


class FindingEntry(TypedDict):
    """What `hagw doctor` found."""

    id: str
    severity: str
    found: str
    act: str


class DoctorDocument(TypedDict):
    """`hagw doctor --json`."""

    schema: int
    findings: list[FindingEntry]


class SpeedtestDocument(TypedDict):
    """A speed test: `running`, `done`, `cancelled` or `failed`. Rates and bytes are payload."""

    schema: int
    id: str
    uplink: str
    direction: str
    state: str
    progress: float
    rate_bps: int | None
    bytes: int
    limit_bytes: int
    reason: str


class SpeedtestsDocument(TypedDict):
    """The speed tests that are remembered, newest first."""

    schema: int
    speedtests: list[SpeedtestDocument]


class CustomerLimitsEntry(TypedDict):
    """What a customer may use; null = no bound."""

    connections_max: int | None
    connects_per_s: float | None
    pending_max: int | None
    rate_down_bps: int | None
    rate_up_bps: int | None
    month_bytes: int | None


class CustomerChannel(TypedDict):
    """A control channel that a customer's CPE has: from where, its version and whether ours is another, since when."""

    source: str
    version: str
    version_differs: bool
    since: int


class CustomerEntry(TypedDict):
    """A HAG's customer: invited, active, revoked, or `configured` in the file; no keys."""

    name: str
    state: str
    sources: list[str]
    allow: list[str]
    deny: list[str]
    limits: CustomerLimitsEntry
    rotating: bool
    enrolled: bool
    created_at: int | None
    note: str
    month_used_bytes: int | None
    flows_active: int
    channels: list[CustomerChannel]


class CustomersDocument(TypedDict):
    """All customers."""

    schema: int
    customers: list[CustomerEntry]


class CustomerDocument(TypedDict):
    """One customer."""

    schema: int
    customer: CustomerEntry


class CodeDocument(TypedDict):
    """A code that a CPE enrols with, once."""

    schema: int
    customer: str
    code: str
    valid_hours: float
