"""Makes the documents of `status --json` and `flows --json`, whose shapes are in `hagw.control.status_documents`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from hagw.control.drift import KINDS, Drift
from hagw.control.efficiency import Goodput, bonding_efficiency
from hagw.control.ports import GatewayHealths, Interception, Traffic, UplinkHealths
from hagw.control.snapshots import UNKNOWN_GATEWAY, UNKNOWN_UPLINK
from hagw.control.standing import Standing
from hagw.control.status_documents import (
    BondState,
    ChannelStatus,
    CpeVersionStatus,
    DriftStatus,
    FamilyStatus,
    FirewallStatus,
    FlowsDocument,
    GatewayStatus,
    HarmStatus,
    MptcpStatus,
    RepairStatus,
    RivalStatus,
    StatusDocument,
    UplinkStatus,
    WorkerStatus,
)
from hagw.control.usage import DataCapStatus
from hagw.control.workers import WorkerReport
from hagw.model.finding import Finding
from hagw.model.health import MptcpHealth, UplinkHealth
from hagw.model.intent import CpeIntent, GatewayIntent, HagIntent, Intent, UplinkIntent
from hagw.model.snapshot import LearnedView

SCHEMA = 1
STANDING = Standing()


_BLOCKED: Final = (
    "Intercepted connections do not reach the workers: another input chain on this machine drops them (hagw doctor)."
)


@dataclass(frozen=True, slots=True)
class StatusInputs:
    """Everything a status document is made of. `trouble` is a reconcile failure in one sentence, "" = none."""

    intent: Intent
    version: str
    uplinks: UplinkHealths
    gateways: GatewayHealths
    traffic: Mapping[str, Traffic]
    workers: tuple[WorkerReport, ...]
    interception: Interception
    mptcp: Mapping[str, MptcpHealth] = field(default_factory=dict)
    learned: tuple[LearnedView, ...] = ()
    probe_bytes: Mapping[str, int] = field(default_factory=dict)
    kept_off: Mapping[str, int] = field(default_factory=dict)
    now: float = 0.0  # CLOCK_MONOTONIC, which the two before refer to
    trouble: str = ""
    counted: Mapping[str, int] = field(default_factory=dict)
    drift: Drift = field(default_factory=Drift)
    standing: Standing = STANDING
    rivals: tuple[Finding, ...] = ()
    channels: Mapping[str, ChannelStatus] = field(default_factory=dict)
    cpe_versions: list[CpeVersionStatus] = field(default_factory=list)
    data_caps: list[DataCapStatus] = field(default_factory=list)
    draining: bool = False
    retired: tuple[WorkerReport, ...] = ()
    goodput: Goodput | None = None
    blocked: frozenset[int] = frozenset()  # families whose intercepted connections did not arrive


def status_document(inputs: StatusInputs) -> StatusDocument:
    """Return the status document of either role."""
    intent = inputs.intent
    state, reason = verdict(inputs)
    is_cpe = isinstance(intent, CpeIntent)
    return StatusDocument(
        schema=SCHEMA,
        role="cpe" if is_cpe else "hag",
        version=inputs.version,
        state=state,
        reason=reason,
        intercepting=inputs.interception.ipv4,
        intercepting_ipv6=inputs.interception.ipv6,
        uplinks=[_uplink(u, inputs) for u in intent.uplinks] if isinstance(intent, CpeIntent) else [],
        gateways=[_gateway(g, inputs) for g in intent.gateways] if isinstance(intent, CpeIntent) else [],
        cpe_versions=inputs.cpe_versions,
        workers=[_worker(w) for w in inputs.workers],
        workers_retired=[_worker(w) for w in inputs.retired],
        firewall=_firewall(intent, inputs.counted) if isinstance(intent, CpeIntent) else None,
        flows_active=sum(_count(w.stats.get("flows_active")) for w in (*inputs.workers, *inputs.retired)),
        goodput_down_bps=None if inputs.goodput is None else round(inputs.goodput.down_bps),
        goodput_up_bps=None if inputs.goodput is None else round(inputs.goodput.up_bps),
        bonding_efficiency=_efficiency(intent, inputs) if isinstance(intent, CpeIntent) else None,
        config_generation=inputs.standing.generation,
        pending_confirm_s=inputs.standing.pending_confirm_s,
        config_file_differs=inputs.standing.file_differs,
        config_notice=inputs.standing.notice,
        drift=_drift(inputs.drift),
        rivals=[RivalStatus(id=f.id, severity=f.severity, found=f.found, act=f.act) for f in inputs.rivals],
        data_caps=inputs.data_caps,
    )


def flows_document(flows: Iterable[dict[str, Any]], silent: tuple[int, ...]) -> FlowsDocument:
    """Return the flows document, newest flow first."""
    ordered = sorted(flows, key=lambda flow: -(flow.get("started_s") or 0.0))
    return FlowsDocument(schema=SCHEMA, flows=ordered, incomplete=list(silent))


def verdict(inputs: StatusInputs) -> tuple[BondState, str]:
    """Return how well hagw does its job now, and one sentence why."""
    if isinstance(inputs.intent, HagIntent):
        return _hag_verdict(inputs)
    return _cpe_verdict(inputs.intent, inputs)


def _cpe_verdict(intent: CpeIntent, inputs: StatusInputs) -> tuple[BondState, str]:
    if not any(w.is_listening for w in inputs.workers):
        return "off", inputs.trouble or "No worker is ready yet; all traffic is forwarded directly."
    if dead := _dead_lines(intent, inputs):
        return "unbonded", f"No uplink works: {dead}. Nothing reaches the Internet."
    gateways = [(g.name, inputs.gateways.get(g.name, UNKNOWN_GATEWAY)) for g in intent.gateways]
    if not any(health.reach == "up" and not health.draining for _, health in gateways):
        return "unbonded", f"{_gateways_down(intent, inputs)} New connections go directly over the best uplink."
    if 4 in inputs.blocked:
        return "unbonded", f"{_BLOCKED} New connections go directly over the best uplink."
    if not inputs.interception.ipv4:
        return "off", inputs.trouble or "New connections are not intercepted yet."
    enabled = [(u, inputs.uplinks.get(u.name, UNKNOWN_UPLINK)) for u in intent.uplinks if u.enabled]
    if bad := [f"{u.name} is {h.state}{_because(h)}" for u, h in enabled if h.state != "up"]:
        return "degraded", f"{'; '.join(bad)}."
    if broken := [f"{u.name}: {why}" for u, h in enabled for _, why in sorted(h.broken.items())]:
        return "degraded", f"{'; '.join(broken)}."
    if stripped := [f"{u.name}: {m.reason}" for u, _ in enabled if (m := _stripping(inputs, u.name)) is not None]:
        return "degraded", f"{'; '.join(stripped)}."
    if len(enabled) < 2:
        return "degraded", "Only one uplink is enabled."
    if 6 in inputs.blocked:
        return "degraded", f"IPv6: {_BLOCKED}"
    if any(health.reach == "down" or health.draining for _, health in gateways):
        return "degraded", _gateways_down(intent, inputs)
    if inputs.trouble:
        return "degraded", inputs.trouble
    if away := [w for w in inputs.workers if not w.is_listening]:
        return "degraded", _workers_away(away, len(inputs.workers))
    return "bonded", f"All {len(enabled)} uplinks are in use."


def _hag_verdict(inputs: StatusInputs) -> tuple[BondState, str]:
    away = [w for w in inputs.workers if not w.is_listening]
    if len(away) == len(inputs.workers):
        return "off", inputs.trouble or "No worker is listening."
    if inputs.trouble:
        return "degraded", inputs.trouble
    if away:
        return "degraded", _workers_away(away, len(inputs.workers))
    if inputs.draining:
        return "degraded", "It is draining: new flows go elsewhere (hagw drain --undo takes them again)."
    return "bonded", f"All {len(inputs.workers)} workers are listening."


def _dead_lines(intent: CpeIntent, inputs: StatusInputs) -> str:
    """Return why no line can be used, "" where one can: one that is suspect carries what cannot go elsewhere."""
    enabled = [(u.name, inputs.uplinks.get(u.name, UNKNOWN_UPLINK)) for u in intent.uplinks if u.enabled]
    if any(health.state in ("up", "suspect") for _, health in enabled):
        return ""
    return "; ".join(f"{name} is {health.state}{_because(health)}" for name, health in enabled) or "none is enabled"


def _gateways_down(intent: CpeIntent, inputs: StatusInputs) -> str:
    if not intent.gateways:
        return "No gateway is configured."
    parts = []
    for gateway in intent.gateways:
        health = inputs.gateways.get(gateway.name, UNKNOWN_GATEWAY)
        if health.reach == "up" and not health.draining:
            continue
        states = {"unknown": "has not answered yet", "down": "is down", "up": "is draining"}
        parts.append(f"Gateway {gateway.name} {states[health.reach]}{f' ({health.reason})' if health.reason else ''}.")
    return " ".join(parts)


def _workers_away(away: list[WorkerReport], total: int) -> str:
    named = ", ".join(f"{w.index} ({w.reason or 'not listening'})" for w in away)
    return f"{len(away)} of {total} workers not ready: {named}."


def _stripping(inputs: StatusInputs, uplink: str) -> MptcpHealth | None:
    found = inputs.mptcp.get(uplink)
    return found if found is not None and found.state in ("stripped", "join-stripped") else None


def _because(health: UplinkHealth) -> str:
    return f" ({health.reason})" if health.reason else ""


def _uplink(uplink: UplinkIntent, inputs: StatusInputs) -> UplinkStatus:
    health = inputs.uplinks.get(uplink.name, UNKNOWN_UPLINK)
    traffic = inputs.traffic.get(uplink.name)
    return UplinkStatus(
        name=uplink.name,
        kind=uplink.kind,
        interface=uplink.interface,
        state=health.state if uplink.enabled else "disabled",
        reason=health.reason if uplink.enabled else "disabled in the configuration",
        rtt_ms=health.rtt_ms,
        loss=_share(health.loss),
        jitter_ms=health.jitter_ms,
        jitter_up_ms=health.jitter_up_ms,
        jitter_down_ms=health.jitter_down_ms,
        loss_up=_share(health.loss_up),
        loss_down=_share(health.loss_down),
        down_bps=None if traffic is None else round(traffic.down_bps),
        up_bps=None if traffic is None else round(traffic.up_bps),
        bytes_down=None if traffic is None else traffic.bytes_down,
        bytes_up=None if traffic is None else traffic.bytes_up,
        probe_bytes_today=inputs.probe_bytes.get(uplink.name),
        kept_off_bytes=inputs.kept_off.get(uplink.name, 0),
        cap_stage=health.cap,
        mptcp=_mptcp(inputs.mptcp.get(uplink.name, MptcpHealth()), inputs.now),
        harmful=_harmful(uplink.name, inputs),
        broken_families=[FamilyStatus(family=each, reason=why) for each, why in sorted(health.broken.items())],
    )


def _efficiency(intent: CpeIntent, inputs: StatusInputs) -> float | None:
    return bonding_efficiency(
        inputs.goodput, intent.uplinks, inputs.uplinks, inputs.traffic, inputs.learned, inputs.now
    )


def _mptcp(health: MptcpHealth, now: float) -> MptcpStatus:
    return MptcpStatus(
        state=health.state,
        reason=health.reason,
        age_s=None if health.at is None else round(max(0.0, now - health.at), 1),
        capable_ok=health.capable_ok,
        capable_failed=health.capable_failed,
        joins_ok=health.joins_ok,
        joins_failed=health.joins_failed,
        joins_lost=health.joins_lost,
    )


def _harmful(uplink: str, inputs: StatusInputs) -> list[HarmStatus]:
    """Return the directions in which the line is known to hold connections up."""
    found = []
    for view in inputs.learned:
        if view.uplink == uplink and view.harmful and view.doubted_until is not None:
            again_s = view.doubted_until - inputs.now
            if again_s > 0:
                found.append(HarmStatus(direction=view.direction, reason=view.harmful, again_s=round(again_s, 1)))
    return found


def _gateway(gateway: GatewayIntent, inputs: StatusInputs) -> GatewayStatus:
    health = inputs.gateways.get(gateway.name, UNKNOWN_GATEWAY)
    assert isinstance(inputs.intent, CpeIntent)
    if health.reach == "up" and _dead_lines(inputs.intent, inputs):
        health = replace(health, reach="unknown", reason="No uplink works: it cannot be asked.", rtt_ms=None)
    return GatewayStatus(
        name=gateway.name,
        address=str(gateway.addresses[0]),
        state=health.reach,
        reason=health.reason or _channel_trouble(inputs.channels.get(gateway.name)),
        draining=health.draining,
        overloaded=health.overloaded,
        weight=gateway.weight,
        rtt_ms=health.rtt_ms,
        channel=inputs.channels.get(gateway.name),
        pool_ready=sum(pool_ready(w.stats, gateway.name) for w in inputs.workers),
    )


def _channel_trouble(channel: ChannelStatus | None) -> str:
    return "" if channel is None or channel["state"] == "connected" else channel["reason"]


def _firewall(intent: CpeIntent, counted: Mapping[str, int]) -> FirewallStatus:
    return FirewallStatus(
        enabled=intent.firewall.enabled,
        allowed=counted.get("allowed"),
        blocked_input=counted.get("blocked_input"),
        blocked_forward=counted.get("blocked_forward"),
    )


def pool_ready(stats: Mapping[str, Any], gateway: str) -> int:
    """Return a worker's warm connections to `gateway`, 0 where it says nothing usable."""
    pool = stats.get("pool")
    return _count(pool.get(gateway)) if isinstance(pool, dict) else 0


def _worker(report: WorkerReport) -> WorkerStatus:
    return WorkerStatus(
        index=report.index,
        pid=report.pid,
        state=report.state,
        reason=report.reason,
        listening=report.is_listening,
        adopted=report.adopted,
        starts=report.starts,
        snapshot_generation=report.generation,
        stats=report.stats,
    )


def _drift(drift: Drift) -> DriftStatus:
    last = None
    if drift.last is not None:
        at = datetime.fromtimestamp(drift.last.at, UTC).isoformat(timespec="milliseconds")
        last = RepairStatus(at=at, repaired=list(drift.last.steps), took_ms=drift.last.took_ms)
    return DriftStatus(repairs=drift.repairs, lost=dict(zip(KINDS, drift.lost, strict=True)), last=last)


def _share(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0
