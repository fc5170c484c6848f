"""A machine on which all is well, to be varied."""

from typing import Any

from hagw.doctor.evidence import Box, Connection, Daemon, Echo, Evidence, Kernel, Line, PathMtu, Resolver, Rivals
from hagw.doctor.examine import judge
from hagw.doctor.trial import TRIALS
from hagw.model.finding import Finding

HAG = "198.51.100.10"
KERNEL = Kernel(
    release="6.18.0",
    tried=frozenset(name for name, _ in TRIALS),
    schedulers=("default",),
    path_managers=("kernel", "userspace"),
)
LINE = Line(
    name="dsl",
    interface="dsl0",
    enabled=True,
    present=True,
    up=True,
    carrier=True,
    mtu=1500,
    address4="198.18.1.2",
    has_route4=True,
    rp_filter="2",
    echoes=(Echo("hag", HAG, 25.0, clock_ahead_s=0.1),),
    connections=(Connection("hag", HAG, "mptcp"),),
    path_mtus=(PathMtu("hag", HAG, 1500),),
)
BOX = Box(
    wall_s=1_795_000_000.0,
    uptime_s=9_000.0,
    is_synchronised=True,
    resolvers=(Resolver("192.0.2.53", "198.18.1.2", 20.0),),
    sysctls=(
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv6/conf/all/forwarding", "1"),
        ("net/mptcp/enabled", "1"),
        ("net/ipv4/tcp_rmem", "4096 131072 6291456"),
        ("net/ipv4/tcp_wmem", "4096 16384 4194304"),
    ),
    conntrack_count=100,
    conntrack_max=262_144,
    state_dir="/var/lib/hagw",
    state_free_bytes=10**9,
    state_writable=True,
    descriptors_max=1_048_576,
    is_root=True,
)
WELL = Evidence(
    role="cpe",
    kernel=KERNEL,
    rivals=Rivals(),
    box=BOX,
    daemon=Daemon("bonded", "All 3 uplinks are in use."),
    lan_interfaces=("lan0",),
    lines=(LINE,),
    config_file="/etc/hagw/hagw.yaml",
)


def bad(evidence: Evidence) -> dict[str, Finding]:
    """Return what is not ok, by id."""
    return {finding.id: finding for finding in judge(evidence) if finding.severity != "ok"}


def severities(evidence: Evidence) -> dict[str, Any]:
    """Return the severity of what is not ok, by id."""
    return {name: finding.severity for name, finding in bad(evidence).items()}
