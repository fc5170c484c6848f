"""The documents that tell of flows, and what would become of one: their shapes, as in `documents`."""

from typing import Any, NotRequired

from typing_extensions import TypedDict


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
