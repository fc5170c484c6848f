"""The documents that are told beside status: their shapes, for OpenAPI and whoever generates types of it."""

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from hagw.control.status_documents import GatewayStatus, UplinkStatus
from hagw.control.usage import DataCapStatus


class Fault(TypedDict):
    """One thing wrong with a request: where, and why."""

    path: str
    message: str
    line: NotRequired[int | None]


class Issue(TypedDict):
    """One thing wrong in a configuration's text."""

    file: str
    line: int | None
    path: str
    message: str


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


class Carried(TypedDict):
    """Bytes of payload by direction."""

    down: int
    up: int


class Cost(TypedDict):
    """What the configuration says of a line's costs."""

    cost: int
    metered: bool


class Subflow(TypedDict):
    """One subflow of a connection."""

    uplink: str
    state: str
    backup: bool
    rtt_ms: float | None


class FlowEntry(TypedDict):
    """One connection. Bytes are payload; `rule`, `mode` and lines are null or empty on a HAG."""

    id: str
    client: str
    client_port: int
    server: str | None
    server_port: int | None
    domain: str | None
    domain_source: NotRequired[str]
    path: str
    gateway: str | None
    rule: str | None
    mode: str | None
    why: str
    state: str
    bytes_down: int
    bytes_up: int
    by_uplink: dict[str, Carried]
    costs: NotRequired[dict[str, Cost]]
    kept_off: NotRequired[dict[str, int]]
    subflows: list[Subflow]
    started_s: float


class FlowsPage(TypedDict):
    """`total` fit the question, `flows` are those of the page; `incomplete` names workers that did not answer."""

    schema: int
    flows: list[FlowEntry]
    total: int
    incomplete: list[int]


class FlowEvent(TypedDict):
    """What happened to a subflow, in seconds since the flow began."""

    at_s: float
    uplink: str
    event: str
    reason: str


class FlowTold(FlowEntry):
    """A flow with its timeline."""

    timeline: NotRequired[list[FlowEvent]]
    domain_confidence: str | None
    last_change: FlowEvent | None


class FlowDocument(TypedDict):
    """`hagw explain --flow --json`."""

    schema: int
    flow: FlowTold
    text: list[str]


class ExplainedRule(TypedDict):
    """A rule, and whether it matches; `descriptor` is the first that did not."""

    name: str
    precedence: int | None
    descriptor: str | None
    wanted: str | None
    result: str
    found: Any


class ExplainedUplink(TypedDict):
    """A line, and whether it is used."""

    name: str
    state: str
    use: str
    reason: str
    cost: int
    metered: bool


class ExplainedGateway(TypedDict):
    """A gateway, and why it is chosen or not."""

    name: str
    reason: str


class ExplainDocument(TypedDict):
    """`hagw explain --json`."""

    schema: int
    flow: dict[str, Any]
    path: str
    rule: str
    mode: str
    why: str
    gateway: str | None
    rules: list[ExplainedRule]
    uplinks: list[ExplainedUplink]
    gateways: list[ExplainedGateway]
    notes: list[str]
    text: list[str]


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


class ConfigStanding(TypedDict):
    """How the configuration stands."""

    schema: int
    generation: int
    pending_confirm_s: float | None
    file_differs: bool
    notice: str


class ConfigDocument(ConfigStanding):
    """The text in force; keys are masked for who is no admin."""

    text: str


class CheckDocument(TypedDict):
    """`hagw check --json`."""

    schema: int
    ok: bool
    issues: list[Issue]


class EditDocument(TypedDict):
    """A text with edits made: what it says as a tree (null: it is not YAML), and every mistake in it."""

    schema: int
    text: str
    tree: dict[str, Any] | None
    issues: list[Issue]


class PlanDocument(TypedDict):
    """`hagw plan --json`."""

    schema: int
    changes: list[str]
    steps: list[str]
    obstacles: list[str]


class OutcomeDocument(TypedDict):
    """What became of a change: `unchanged`, `in force`, `pending` or `rolled back`."""

    schema: int
    result: str
    generation: int
    changes: list[str]
    steps: int
    pending_confirm_s: float | None
    notice: str


class ThreeGppDocument(TypedDict):
    """Rules in the words of TS 29.512 (`pccRules`, `traffContDecs`), and which line is which access."""

    schema: int
    three_gpp: str
    non_three_gpp: str
    document: dict[str, Any]


class SetDocument(OutcomeDocument):
    """`lines` went (`- `) from the text and came (`+ `) into it."""

    lines: list[str]


class GenerationEntry(TypedDict):
    """One generation of the configuration."""

    number: int
    created: str
    by: str
    note: str
    sha256: str
    slots: dict[str, int]
    result: str
    reason: str
    decided: str


class GenerationsDocument(ConfigStanding):
    """`hagw history --json`."""

    generations: list[GenerationEntry]


class DiffDocument(TypedDict):
    """`hagw diff --json`."""

    schema: int
    a: str
    b: str
    equal: bool
    diff: str


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
