"""Every metric: its name with its unit, its labels, what it means, and where it is found. Pure.

Labels are names of the configuration, indexes of workers and words of ours: nothing that a host, a server or a stranger
chooses, and nothing of a flow. What is unknown is left out, never zero.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Document = Mapping[str, Any]  # of `hagw status --json`, with `mib`: the kernel's MPTCP counters by name
Sample = tuple[tuple[str, ...], float]

BOND_STATES: Final = ("bonded", "degraded", "unbonded", "off")
UPLINK_STATES: Final = ("up", "suspect", "down", "disabled")
CURRENT: Final = "MPCurrEstab"  # the one of the kernel's numbers that goes down too
_AWAY: Final = ("not_authorised", "slow", "crowded", "unproven", "shut_out")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; `name` is that of its samples, those of counters end in _total."""

    name: str
    kind: Literal["gauge", "counter"]
    labels: tuple[str, ...]
    meaning: str
    samples: Callable[[Document], Iterable[Sample]]


def _one(value: Callable[[Document], float | None]) -> Callable[[Document], Iterator[Sample]]:
    def found(document: Document) -> Iterator[Sample]:
        yield from _known((), value(document))

    return found


def _each(
    key: str, label: str, value: Callable[[Document], float | None], scale: float = 1.0
) -> Callable[[Document], Iterator[Sample]]:
    def found(document: Document) -> Iterator[Sample]:
        for entry in document[key]:
            number = value(entry)
            yield from _known((str(entry[label]),), None if number is None else number * scale)

    return found


def _both(key: str, label: str, down: str, up: str) -> Callable[[Document], Iterator[Sample]]:
    def found(document: Document) -> Iterator[Sample]:
        for entry in document[key]:
            yield from _known((str(entry[label]), "down"), entry[down])
            yield from _known((str(entry[label]), "up"), entry[up])

    return found


def _worker(number: str, scale: float = 1.0) -> Callable[[Document], Iterator[Sample]]:
    return _each("workers", "index", lambda worker: worker["stats"].get(number), scale)


def _known(labels: tuple[str, ...], value: float | None) -> Iterator[Sample]:
    if value is not None:
        yield labels, float(value)


def _states(document: Document) -> Iterator[Sample]:
    return (((state,), float(document["state"] == state)) for state in BOND_STATES)


def _uplink_states(document: Document) -> Iterator[Sample]:
    return (((up["name"], state), float(up["state"] == state)) for up in document["uplinks"] for state in UPLINK_STATES)


def _harmful(document: Document) -> Iterator[Sample]:
    for up in document["uplinks"]:
        withheld = {harm["direction"] for harm in up["harmful"]}
        yield from (((up["name"], way), float(way in withheld)) for way in ("down", "up"))


def _payload(document: Document) -> Iterator[Sample]:
    for worker in document["workers"]:
        for way in ("down", "up"):
            yield from _known((str(worker["index"]), way), worker["stats"].get(f"bytes_{way}"))


def _turned_away(document: Document) -> Iterator[Sample]:
    for worker in document["workers"]:
        for reason in _AWAY:
            yield from _known((str(worker["index"]), reason), worker["stats"].get(reason))


def _firewall(document: Document) -> Iterator[Sample]:
    firewall = document["firewall"] or {}
    for chain in ("input", "forward"):
        yield from _known((chain,), firewall.get(f"blocked_{chain}"))


def _mib(document: Document) -> Iterator[Sample]:
    return (((name,), float(value)) for name, value in document["mib"].items() if name != CURRENT)


METRICS: Final = (
    Metric("hagw_info", "gauge", ("version", "role"), "1", lambda d: [((d["version"], d["role"]), 1.0)]),
    Metric("hagw_state", "gauge", ("state",), f"1 for the present state, of {', '.join(BOND_STATES)}", _states),
    Metric(
        "hagw_intercepting",
        "gauge",
        ("family",),
        "whether the LAN's new connections are intercepted, by address family",
        lambda d: [(("4",), float(d["intercepting"])), (("6",), float(d["intercepting_ipv6"]))],
    ),
    Metric("hagw_flows_active", "gauge", (), "flows that workers carry now", _one(lambda d: d["flows_active"])),
    Metric("hagw_config_generation", "gauge", (), "generation in force", _one(lambda d: d["config_generation"])),
    Metric(
        "hagw_config_pending_seconds",
        "gauge",
        (),
        "until a change is taken back unless it is confirmed; absent without one",
        _one(lambda d: d["pending_confirm_s"]),
    ),
    Metric(
        "hagw_config_file_differs",
        "gauge",
        (),
        "whether the configuration file is not what is in force",
        _one(lambda d: d["config_file_differs"]),
    ),
    Metric(
        "hagw_drift_repairs_total",
        "counter",
        (),
        "times that somebody else's change of the kernel's state was put right",
        _one(lambda d: d["drift"]["repairs"]),
    ),
    Metric("hagw_rivals", "gauge", (), "findings that another program interferes", _one(lambda d: len(d["rivals"]))),
    # -- uplinks
    Metric(
        "hagw_uplink_state",
        "gauge",
        ("uplink", "state"),
        f"1 for the line's present state, of {', '.join(UPLINK_STATES)}",
        _uplink_states,
    ),
    Metric(
        "hagw_uplink_rtt_seconds",
        "gauge",
        ("uplink",),
        "round trip to the gateway",
        _each("uplinks", "name", lambda up: up["rtt_ms"], 0.001),
    ),
    Metric(
        "hagw_uplink_jitter_seconds",
        "gauge",
        ("uplink",),
        "how much the round trip varies",
        _each("uplinks", "name", lambda up: up["jitter_ms"], 0.001),
    ),
    Metric(
        "hagw_uplink_loss_ratio",
        "gauge",
        ("uplink",),
        "lost echoes, 0 to 1",
        _each("uplinks", "name", lambda up: up["loss"]),
    ),
    Metric(
        "hagw_uplink_rate_bits_per_second",
        "gauge",
        ("uplink", "direction"),
        "what the line carries now, IP bytes",
        _both("uplinks", "name", "down_bps", "up_bps"),
    ),
    Metric(
        "hagw_uplink_bytes_total",
        "counter",
        ("uplink", "direction"),
        "IP bytes since its interface was made",
        _both("uplinks", "name", "bytes_down", "bytes_up"),
    ),
    Metric(
        "hagw_uplink_kept_off_bytes_total",
        "counter",
        ("uplink",),
        "payload that other lines carried while this one stood by",
        _each("uplinks", "name", lambda up: up["kept_off_bytes"]),
    ),
    Metric(
        "hagw_uplink_probe_today_bytes",
        "gauge",
        ("uplink",),
        "what hagw itself spent on the line today",
        _each("uplinks", "name", lambda up: up["probe_bytes_today"]),
    ),
    Metric(
        "hagw_uplink_withheld",
        "gauge",
        ("uplink", "direction"),
        "whether the no-harm guard keeps bulk connections off the line",
        _harmful,
    ),
    # -- gateways
    Metric(
        "hagw_gateway_up",
        "gauge",
        ("gateway",),
        "whether the gateway answers",
        _each("gateways", "name", lambda gateway: gateway["state"] == "up"),
    ),
    Metric(
        "hagw_gateway_draining",
        "gauge",
        ("gateway",),
        "whether it takes no new flows",
        _each("gateways", "name", lambda gateway: gateway["draining"]),
    ),
    Metric(
        "hagw_gateway_rtt_seconds",
        "gauge",
        ("gateway",),
        "shortest round trip to it",
        _each("gateways", "name", lambda gateway: gateway["rtt_ms"], 0.001),
    ),
    Metric(
        "hagw_gateway_pool_connections",
        "gauge",
        ("gateway",),
        "warm connections ready, of all workers",
        _each("gateways", "name", lambda gateway: gateway["pool_ready"]),
    ),
    # -- workers
    Metric(
        "hagw_worker_up",
        "gauge",
        ("worker",),
        "whether it accepts connections",
        _each("workers", "index", lambda worker: worker["listening"]),
    ),
    Metric(
        "hagw_worker_starts_total",
        "counter",
        ("worker",),
        "how often this daemon had to start it",
        _each("workers", "index", lambda worker: worker["starts"]),
    ),
    Metric("hagw_worker_memory_bytes", "gauge", ("worker",), "resident memory", _worker("memory_kb", 1024.0)),
    Metric("hagw_worker_flows_total", "counter", ("worker",), "flows since it started", _worker("flows_total")),
    Metric("hagw_worker_direct_flows_total", "counter", ("worker",), "CPE: went direct", _worker("direct_total")),
    Metric("hagw_worker_reset_flows_total", "counter", ("worker",), "ended with a reset", _worker("reset_total")),
    Metric(
        "hagw_worker_refused_total",
        "counter",
        ("worker",),
        "CPE: servers that refused or were silent; HAG: requests refused",
        _worker("refused"),
    ),
    Metric("hagw_worker_payload_bytes_total", "counter", ("worker", "direction"), "payload carried", _payload),
    Metric(
        "hagw_worker_accept_errors_total", "counter", ("worker",), "connections turned away", _worker("accept_errors")
    ),
    Metric(
        "hagw_worker_malformed_total", "counter", ("worker",), "messages that are not Convert", _worker("malformed")
    ),
    Metric("hagw_worker_faults_total", "counter", ("worker",), "errors nobody foresaw", _worker("faults")),
    Metric("hagw_worker_turned_away_total", "counter", ("worker", "reason"), "HAG: peers turned away", _turned_away),
    Metric("hagw_worker_strangers", "gauge", ("worker",), "HAG: have shown no cookie yet", _worker("strangers")),
    Metric("hagw_worker_pending", "gauge", ("worker",), "HAG: servers being dialled", _worker("pending")),
    # -- data caps and firewall
    Metric(
        "hagw_cap_used_bytes",
        "gauge",
        ("cap", "direction"),
        "IP bytes used in the present period",
        _both("data_caps", "name", "used_down_bytes", "used_up_bytes"),
    ),
    Metric(
        "hagw_cap_used_ratio",
        "gauge",
        ("cap",),
        "share of its volume that is used, 1 = all",
        _each("data_caps", "name", lambda cap: cap["percent"], 0.01),
    ),
    Metric(
        "hagw_firewall_blocked_packets_total",
        "counter",
        ("chain",),
        "packets refused, to the gateway (input) and to the LAN (forward); from 0 when the table is put again",
        _firewall,
    ),
    # -- the kernel's Multipath TCP
    Metric(
        "hagw_mptcp_connections",
        "gauge",
        (),
        f"MPTCP connections established now in this network namespace (the kernel's {CURRENT})",
        _one(lambda d: d["mib"].get(CURRENT)),
    ),
    Metric(
        "hagw_mptcp_mib_total",
        "counter",
        ("counter",),
        "the kernel's MPTCP counters of this network namespace, by the names of `nstat -z 'MPTcpExt*'`",
        _mib,
    ),
)
