"""The shapes of `status --json` and `flows --json`: what others script against, so keys are added, never renamed.

`hagw.control.status` makes the documents.
"""

from typing import Any, Literal

from typing_extensions import TypedDict  # pydantic, which describes these for OpenAPI, wants it before 3.12

from hagw.control.usage import DataCapStatus

BondState = Literal["bonded", "degraded", "unbonded", "off"]


class MptcpStatus(TypedDict):
    """What Multipath TCP meets on a line; `age_s` is that of the newest evidence, null = there is none."""

    state: str
    reason: str
    age_s: float | None
    capable_ok: int
    capable_failed: int
    joins_ok: int
    joins_failed: int
    joins_lost: int


class HarmStatus(TypedDict):
    """Why bulk connections do without a line in one direction, and in how many seconds it is tried again."""

    direction: str
    reason: str
    again_s: float


class FamilyStatus(TypedDict):
    """An address family of a line that leads nowhere although the other one works."""

    family: int
    reason: str


class UplinkStatus(TypedDict):
    """One access line. Bytes and rates are of IP packets, both null until known; loss is 0..1."""

    name: str
    kind: str
    interface: str
    state: str
    reason: str
    rtt_ms: float | None
    loss: float | None
    jitter_ms: float | None
    jitter_up_ms: float | None
    jitter_down_ms: float | None
    loss_up: float | None
    loss_down: float | None
    down_bps: int | None
    up_bps: int | None
    bytes_down: int | None
    bytes_up: int | None
    probe_bytes_today: int | None
    kept_off_bytes: int
    cap_stage: str
    mptcp: MptcpStatus
    harmful: list[HarmStatus]
    broken_families: list[FamilyStatus]


class ChannelStatus(TypedDict):
    """The control channel to a gateway: which line it uses and the version at the other end, null while unknown.

    `limits` are those that the gateway holds us to, as it said last: names as in `hagw customer show`.
    """

    state: str
    reason: str
    uplink: str | None
    version: str | None
    version_differs: bool
    limits: dict[str, float]


class CpeVersionStatus(TypedDict):
    """How many CPEs of a version have a control channel to this HAG, and whether that version is another than ours."""

    version: str
    cpes: int
    differs: bool


class GatewayStatus(TypedDict):
    """One hybrid access gateway; `pool_ready` counts warm connections of all workers.

    `channel` is null where the configuration itself has name and key, and no channel is needed.
    """

    name: str
    address: str
    state: str
    reason: str
    draining: bool
    overloaded: bool
    weight: int
    rtt_ms: float | None
    pool_ready: int
    channel: ChannelStatus | None


class WorkerStatus(TypedDict):
    """One worker process."""

    index: int
    pid: int | None
    state: str
    reason: str
    listening: bool
    adopted: bool
    starts: int
    snapshot_generation: int | None
    stats: dict[str, Any]


class RepairStatus(TypedDict):
    """The latest time that somebody else's change was put right; `at` in UTC."""

    at: str
    repaired: list[str]
    took_ms: float


class DriftStatus(TypedDict):
    """What others did to the kernel's state since the daemon started; `lost` counts what was gone or changed."""

    repairs: int
    lost: dict[str, int]
    last: RepairStatus | None


class FirewallStatus(TypedDict):
    """The base firewall: packets counted since its table was made, null while unknown."""

    enabled: bool
    allowed: int | None
    blocked_input: int | None
    blocked_forward: int | None


class RivalStatus(TypedDict):
    """A program or rule that interferes with hagw, as `hagw doctor` tells it."""

    id: str
    severity: str
    found: str
    act: str


class StatusDocument(TypedDict):
    """`hagw status --json`. Goodput is payload of all flows together, null while unknown.

    `bonding_efficiency` is goodput / what the usable lines can carry together (configured rates, else learnt ones),
    0..1, of the direction that is fuller; null on a HAG and while next to nothing runs.
    """

    schema: int
    role: str
    version: str
    state: BondState
    reason: str
    intercepting: bool
    intercepting_ipv6: bool
    uplinks: list[UplinkStatus]
    gateways: list[GatewayStatus]
    cpe_versions: list[CpeVersionStatus]
    workers: list[WorkerStatus]
    workers_retired: list[WorkerStatus]
    firewall: FirewallStatus | None
    flows_active: int
    goodput_down_bps: int | None
    goodput_up_bps: int | None
    bonding_efficiency: float | None
    config_generation: int
    pending_confirm_s: float | None
    drift: DriftStatus
    config_file_differs: bool
    config_notice: str
    rivals: list[RivalStatus]
    data_caps: list[DataCapStatus]


class FlowsDocument(TypedDict):
    """`hagw flows --json`; `incomplete` names the workers that did not answer in time."""

    schema: int
    flows: list[dict[str, Any]]
    incomplete: list[int]
