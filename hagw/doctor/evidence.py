"""What was seen of a machine, as values: the input of all checks. None or "" = it could not be looked at, see `why`."""

from dataclasses import dataclass
from typing import Final, Literal

Role = Literal["cpe", "hag"]

# Why a gateway was not asked for an echo.
NOT_ENROLLED: Final = "no key for it is in the configuration or in an enrolment that can be read"


@dataclass(frozen=True, slots=True)
class Kernel:
    """What a kernel did when it was asked to, in a namespace of its own. `lacks`: trial to what went wrong."""

    release: str
    tried: frozenset[str] = frozenset()
    lacks: tuple[tuple[str, str], ...] = ()
    schedulers: tuple[str, ...] = ()
    path_managers: tuple[str, ...] = ()
    why_not_tried: str = ""


@dataclass(frozen=True, slots=True)
class BaseChain:
    """A foreign nftables chain on a hook that LAN traffic passes.

    `drops_rest`: what no rule accepts is dropped. `passes_marked`: a rule accepts our intercepted packets by mark.
    `passes_lan`: a rule accepts everything from a LAN interface. `jumps`: other chains decide too.
    """

    place: str  # "ip filter INPUT"
    hook: Literal["input", "forward"]
    drops_rest: bool
    passes_marked: bool
    passes_lan: bool
    jumps: bool


@dataclass(frozen=True, slots=True)
class ForeignRule:
    """A routing rule that is not ours; `text` is how ip-rule(8) would say it."""

    priority: int
    family: int
    text: str
    is_narrow: bool  # it matches chosen sources or destinations only


@dataclass(frozen=True, slots=True)
class Rivals:
    """Programs and rules beside hagw that route, filter or manage paths."""

    processes: frozenset[str] = frozenset()
    unseen_processes: int = 0  # those whose network namespace is not ours to see
    networkd: tuple[tuple[str, str], ...] = ()  # [Network] of networkd.conf, drop-ins included
    networkd_claims: tuple[str, ...] = ()  # files that use our priorities or tables
    network_manager: tuple[tuple[str, str], ...] = ()  # keys of NetworkManager.conf that matter, drop-ins included
    ifupdown_hooks: tuple[str, ...] = ()  # scripts that make routes for Multipath TCP
    ifupdown_uplinks: tuple[str, ...] = ()  # stanzas of uplinks that make rules or routes by themselves
    ufw: bool = False
    docker_bridge: bool = False
    openmptcprouter: tuple[str, ...] = ()
    sysctl_files: tuple[str, ...] = ()  # "file: key = value" against what hagw sets
    legacy_tables: tuple[str, ...] = ()  # of iptables-legacy
    chains: tuple[BaseChain, ...] = ()
    tproxy: tuple[str, ...] = ()  # chains of others that intercept
    rules: tuple[ForeignRule, ...] = ()
    why_no_rules: str = ""  # nftables or routing rules could not be read


@dataclass(frozen=True, slots=True)
class Resolver:
    """A resolver of this machine; `source` is the address the question left from, None = no route."""

    address: str
    source: str | None
    rtt_ms: float | None  # None = no answer
    why: str = ""


@dataclass(frozen=True, slots=True)
class Box:
    """The machine itself."""

    wall_s: float
    uptime_s: float
    is_synchronised: bool | None
    resolvers: tuple[Resolver, ...]
    sysctls: tuple[tuple[str, str], ...]
    conntrack_count: int | None
    conntrack_max: int | None
    state_dir: str
    state_free_bytes: int | None
    state_writable: bool
    descriptors_max: int
    is_root: bool


@dataclass(frozen=True, slots=True)
class Echo:
    """What a gateway's echo responder said over one line, in one family."""

    gateway: str
    address: str
    rtt_ms: float | None
    why: str = ""
    clock_ahead_s: float | None = None  # of the gateway's clock


@dataclass(frozen=True, slots=True)
class Connection:
    """What became of a Multipath TCP connection to a gateway's converter over one line."""

    gateway: str
    address: str
    outcome: Literal["mptcp", "tcp", "failed"]
    why: str = ""


@dataclass(frozen=True, slots=True)
class PathMtu:
    """The largest packet that came back from a gateway over one line. None = it does not answer pings."""

    gateway: str
    address: str
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class Line:
    """One uplink."""

    name: str
    interface: str
    enabled: bool
    present: bool
    up: bool = False
    carrier: bool = False
    mtu: int = 0
    address4: str | None = None
    address6: str | None = None
    has_route4: bool = False
    has_route6: bool = False
    rp_filter: str | None = None
    echoes: tuple[Echo, ...] = ()
    connections: tuple[Connection, ...] = ()
    path_mtus: tuple[PathMtu, ...] = ()


@dataclass(frozen=True, slots=True)
class Daemon:
    """The daemon on this machine's runtime directory; `state` None = it does not answer."""

    state: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that was looked at. A part that is None was left out, `notes` says why."""

    role: Role
    kernel: Kernel
    rivals: Rivals
    box: Box
    daemon: Daemon
    lan_interfaces: tuple[str, ...] = ()
    lines: tuple[Line, ...] | None = None
    config_file: str = ""
    config_faults: tuple[str, ...] = ()
    config_readable: bool = True  # False = there, but not for us to read
    wanted: tuple[str, ...] = ()  # names the configuration asks for and the kernel lacks
