"""Judge what the kernel did when it was asked to: what hagw cannot do without, and what it does without the rest."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hagw.doctor.evidence import Evidence, Role
from hagw.model.finding import Finding, Severity


@dataclass(frozen=True, slots=True)
class Feature:
    """One trial: what it shows, how grave its failure is for which roles, and what to do then."""

    trial: str
    shows: str
    roles: tuple[Role, ...]
    severity: Severity
    act: str


_BOTH: Final[tuple[Role, ...]] = ("cpe", "hag")
_CPE: Final[tuple[Role, ...]] = ("cpe",)
_NEWER: Final = "Boot a kernel of version 6.1 or later with CONFIG_MPTCP."
_NFT: Final = "Install the kernel's nftables modules ({}) and python3-nftables."
_NOTHING: Final = "Nothing to do: hagw does without."

FEATURES: Final[tuple[Feature, ...]] = (
    Feature("mptcp", "Multipath TCP sockets", _BOTH, "problem", _NEWER),
    Feature("mptcp-connection", "a Multipath TCP connection over loopback", _BOTH, "problem", _NEWER),
    Feature("mptcp-ipv6", "Multipath TCP over IPv6", _BOTH, "warning", "Boot a kernel with CONFIG_MPTCP_IPV6."),
    Feature("path-manager", "the path manager's netlink family", _BOTH, "problem", _NEWER),
    Feature("userspace-path-manager", "the userspace path manager and its commands", _CPE, "problem", _NEWER),
    Feature("subflow-join", "joining a second subflow from userspace", _CPE, "problem", _NEWER),
    Feature("mptcp-info", "socket option MPTCP_INFO", _BOTH, "problem", _NEWER),
    Feature(
        "mptcp-full-info", "socket option MPTCP_FULL_INFO", _BOTH, "note", "Nothing to do: two older ones are used."
    ),
    Feature("mptcp-subflow-info", "socket options MPTCP_TCPINFO and MPTCP_SUBFLOW_ADDRS", _BOTH, "note", _NOTHING),
    Feature(
        "blackhole-timeout",
        "parameter net.mptcp.blackhole_timeout",
        _BOTH,
        "note",
        "Nothing to do: a kernel without it does not give Multipath TCP up after one filtered SYN.",
    ),
    Feature(
        "scheduler-choice",
        "parameter net.mptcp.scheduler",
        _BOTH,
        "note",
        "Nothing to do: the default packet scheduler is used, and `mptcp.scheduler` must not name another.",
    ),
    Feature("bind-address-no-port", "IP_BIND_ADDRESS_NO_PORT on Multipath TCP sockets", _CPE, "note", _NOTHING),
    Feature(
        "bbr",
        "congestion control bbr",
        _BOTH,
        "warning",
        "Install the module tcp_bbr (CONFIG_TCP_CONG_BBR): with cubic, which is used instead, 1 % loss costs three"
        " quarters of a line's rate.",
    ),
    Feature("transparent", "transparent sockets (IP_TRANSPARENT)", _CPE, "problem", "Give hagw CAP_NET_ADMIN."),
    Feature("reuseport", "several listeners on one port (SO_REUSEPORT)", _BOTH, "problem", _NEWER),
    Feature(
        "migrate-requests",
        "parameter net.ipv4.tcp_migrate_req",
        _BOTH,
        "note",
        "Nothing to do: connections that a dying worker had not accepted yet are reset instead of moved.",
    ),
    Feature(
        "policy-routing",
        "routing rules by mark",
        _CPE,
        "problem",
        "Boot a kernel with CONFIG_IP_MULTIPLE_TABLES and CONFIG_IPV6_MULTIPLE_TABLES.",
    ),
    Feature("nftables", "nftables and its Python module", _CPE, "problem", _NFT.format("nf_tables")),
    Feature("tproxy-ipv4", "transparent proxying of IPv4", _CPE, "problem", _NFT.format("nft_tproxy")),
    Feature("tproxy-ipv6", "transparent proxying of IPv6", _CPE, "problem", _NFT.format("nft_tproxy")),
    Feature("socket-match", "matching of local sockets", _CPE, "problem", _NFT.format("nft_socket")),
    Feature(
        "conntrack-mark", "marks of tracked flows", _CPE, "problem", _NFT.format("nft_ct, CONFIG_NF_CONNTRACK_MARK")
    ),
    Feature(
        "conntrack-netlink",
        "access to tracked flows",
        _CPE,
        "problem",
        "Install the module nf_conntrack_netlink: without it UDP flows stay on a line that failed.",
    ),
    Feature("address-type", "matching by address type", _CPE, "problem", _NFT.format("nft_fib_inet")),
    Feature("segment-size", "clamping of the segment size", _CPE, "problem", _NFT.format("nft_exthdr, nft_rt")),
    Feature("reset", "resetting connections", _CPE, "problem", _NFT.format("nft_reject_inet")),
    Feature("expiring-sets", "sets whose elements expire", _CPE, "problem", _NFT.format("nft_set_hash")),
    Feature("masquerade-ipv4", "masquerading of IPv4", _CPE, "problem", _NFT.format("nft_masq")),
    Feature("masquerade-ipv6", "masquerading of IPv6", _CPE, "problem", _NFT.format("nft_masq, NF_NAT for IPv6")),
)


def check_features(evidence: Evidence) -> Iterator[Finding]:
    """Yield a finding for each feature the role needs."""
    kernel = evidence.kernel
    if kernel.why_not_tried:
        yield Finding(
            "kernel",
            "note",
            f"What kernel {kernel.release} can do was not tried: {kernel.why_not_tried}.",
            "Run `hagw doctor` as root.",
        )
        return
    lacks = dict(kernel.lacks)
    for feature in FEATURES:
        if evidence.role not in feature.roles or feature.trial not in kernel.tried:
            continue
        name = f"kernel.{feature.trial}"
        why = lacks.get(feature.trial)
        if why is None:
            yield Finding(name, "ok", f"{feature.shows}: works")
        else:
            yield Finding(name, feature.severity, f"{feature.shows}: {why}", feature.act)


def check_subflow_info(evidence: Evidence) -> Iterator[Finding]:
    """Find a kernel with neither way to ask for a connection's subflows: each alone is enough."""
    if {"mptcp-full-info", "mptcp-subflow-info"} <= dict(evidence.kernel.lacks).keys():
        yield Finding("kernel.subflow-figures", "problem", "The kernel tells nothing about subflows.", _NEWER)


def check_offered(evidence: Evidence) -> Iterator[Finding]:
    """Name the packet schedulers and path managers on offer, and what the configuration wants beyond that."""
    kernel = evidence.kernel
    if kernel.schedulers:
        yield Finding("kernel.schedulers", "ok", f"packet schedulers: {', '.join(kernel.schedulers)}")
    if kernel.path_managers:
        yield Finding("kernel.path-managers", "ok", f"path managers: {', '.join(kernel.path_managers)}")
    for sentence in evidence.wanted:
        yield Finding("kernel.wanted", "problem", sentence, "Choose one that is offered, or leave the key out.")
