"""Judge what runs beside hagw: what exactly it does to routes, rules, filters and paths, and how to settle it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from hagw.doctor.evidence import BaseChain, Evidence, Rivals, Role
from hagw.model.finding import Finding, Severity
from hagw.model.ids import MARK_INTERCEPT, MARK_MASK, PRIORITIES

_MARK: Final = f"{MARK_INTERCEPT:#x}/{MARK_MASK:#x}"
_NM_DISABLED: Final = 0x1  # of connection.mptcp-flags
_TRUE: Final = frozenset({"1", "yes", "y", "true", "t", "on"})  # as systemd reads them
_LEFTOVERS: Final = ("glorytun", "glorytun-udp", "glorytun-tcp", "mlvpn", "omr-admin", "ss-redir", "omr-tracker")


@dataclass(frozen=True, slots=True)
class Sign:
    """A rival that is told by its traces alone: a finding for each, which both sentences may name as `{}`."""

    name: str
    severity: Severity
    traces: Callable[[Rivals], Iterable[object]]
    found: str
    act: str


MPTCPD: Final = Sign(
    "rival.mptcpd",  # two path managers for the same connections: it acts on every one of the namespace
    "warning",
    lambda rivals: rivals.processes & {"mptcpd"},
    "mptcpd runs: it manages the paths of all Multipath TCP connections here, also of hagw's where its plugin"
    " is for the userspace path manager, and raises the kernel's limits.",
    "Run `systemctl disable --now mptcp.service`.",
)
SIGNS: Final = (
    MPTCPD,
    Sign(
        "rival.ifupdown-hook",
        "warning",
        lambda rivals: rivals.ifupdown_hooks,
        "{} makes rules and routes for Multipath TCP when an interface comes up: they are consulted beside hagw's.",
        "Remove it, or take its execute permission away: `chmod -x {}`.",
    ),
    Sign(
        "rival.ifupdown-uplink",
        "warning",
        lambda rivals: rivals.ifupdown_uplinks,
        "{}: it makes routing rules by itself.",
        "Leave only address and gateway in that stanza: hagw makes rules and tables of the lines.",
    ),
    Sign(
        "rival.firewalld",  # in the input and the forward hook
        "warning",
        lambda rivals: rivals.processes & {"firewalld"},
        "firewalld runs: intercepted connections pass its input rules, unconverted ones its forward rules, and a"
        " zone that does not allow them rejects both.",
        "Put the LAN's interfaces into a zone that accepts (`firewall-cmd --permanent --zone=trusted"
        " --add-interface=LAN`), allow it to the lines' zone by a policy, and reload.",
    ),
    Sign(
        "rival.ufw",
        "warning",
        lambda rivals: _if(rivals.ufw),
        "ufw is enabled: it drops intercepted connections in its input rules and unconverted ones when forwarding,"
        " unless both are allowed.",
        "Run `ufw allow in on LAN` and `ufw route allow in on LAN` for each interface of the LAN.",
    ),
    Sign(
        "rival.docker",  # sets the policy of the forward hook to drop, has bridged packets filtered
        "warning",
        lambda rivals: _if("dockerd" in rivals.processes or rivals.docker_bridge),
        "Docker is here: it drops what is forwarded and not a container's, and has bridged packets pass the filter"
        " (br_netfilter), which hagw switches off: containers of one bridge are then not kept apart.",
        "Allow the LAN (`iptables -I DOCKER-USER -i LAN -j ACCEPT` and `iptables -I DOCKER-USER -o LAN -j ACCEPT`,"
        " at each start of Docker), or run containers on another machine.",
    ),
    Sign(
        "rival.tproxy",  # who intercepts first decides
        "problem",
        lambda rivals: rivals.tproxy,
        "Chain {} intercepts connections as well: they reach hagw or the other, by the chains' priority.",
        "Stop the other transparent proxy, or have it leave the LAN's interfaces out.",
    ),
    Sign(
        "rival.iptables-legacy",  # cannot be seen from nftables
        "warning",
        lambda rivals: _if(", ".join(rivals.legacy_tables)),
        "iptables-legacy has tables {}: their rules hold beside those of nftables and were not looked at.",
        "Move them to nftables (`iptables-legacy-save`, `iptables-nft-restore`) and flush them.",
    ),
    Sign(
        "rival.sysctl",  # at boot or when an interface appears
        "note",
        lambda rivals: rivals.sysctl_files,
        "{}: hagw sets it otherwise, and again when this was applied in between.",
        "Remove the line if nothing else needs it.",
    ),
    Sign(
        "rival.unread",
        "note",
        lambda rivals: _if(rivals.why_no_rules),
        "Filters and routing rules of others were not looked at: {}.",
        "Run `hagw doctor` as root.",
    ),
    Sign(
        "rival.unseen",
        "note",
        lambda rivals: _if(rivals.unseen_processes),
        "{} processes of others do not say whether they are in this network namespace.",
        "Run `hagw doctor` as root.",
    ),
)


def check_networkd(rivals: Rivals) -> Iterator[Finding]:
    """systemd-networkd removes rules and routes it did not make itself, unless told otherwise (networkd.conf(5))."""
    if "systemd-network" not in rivals.processes:
        return
    settings = dict(rivals.networkd)
    taken = [
        what
        for key, what in (("ManageForeignRoutingPolicyRules", "rules"), ("ManageForeignRoutes", "routes"))
        if settings.get(key, "yes").lower() in _TRUE
    ]
    if taken:
        yield Finding(
            "rival.networkd",
            "warning",
            f"systemd-networkd runs and takes away {' and '.join(taken)} of others whenever it starts or is reloaded.",
            "Write `[Network]`, `ManageForeignRoutingPolicyRules=no` and `ManageForeignRoutes=no`, a line each, to"
            " /etc/systemd/networkd.conf.d/90-hagw.conf and run `systemctl restart systemd-networkd`.",
        )
    else:
        yield Finding("rival.networkd", "ok", "systemd-networkd runs and leaves the rules and routes of others alone.")


def check_networkd_claims(rivals: Rivals) -> Iterator[Finding]:
    """Rules and tables of .network files that are in hagw's ranges."""
    for claim in rivals.networkd_claims:
        yield Finding(
            "rival.networkd-claims",
            "problem",
            f"{claim}: that number is hagw's.",
            f"Choose a priority or table outside {PRIORITIES.start}-{PRIORITIES.stop - 1} there.",
        )


def check_network_manager(rivals: Rivals) -> Iterator[Finding]:
    """NetworkManager (1.40 and later) makes an MPTCP endpoint of every address once net.mptcp.enabled is 1."""
    if "NetworkManager" not in rivals.processes:
        return
    settings = dict(rivals.network_manager)
    if not _number(settings.get("connection.mptcp-flags", "")) & _NM_DISABLED:
        yield Finding(
            "rival.networkmanager-mptcp",
            "note",
            "NetworkManager runs and registers the lines' addresses as endpoints of the in-kernel path manager: other"
            " programs' Multipath TCP connections of this machine spread over the lines as it likes.",
            "Write `[connection-hagw]` and `connection.mptcp-flags=1` (disabled), a line each, to"
            " /etc/NetworkManager/conf.d/90-hagw.conf and run `systemctl reload NetworkManager`.",
        )
    yield Finding(
        "rival.networkmanager",
        "note",
        "NetworkManager runs; "
        + (f"unmanaged: {settings['unmanaged-devices']}." if "unmanaged-devices" in settings else "it may manage all.")
        + " It may configure the lines (address, route, radio); when it drops one, it removes that line's routes.",
        "Keep it from interfaces of the LAN that something else configures: `[keyfile]` and"
        " `unmanaged-devices=interface-name:LAN` in /etc/NetworkManager/conf.d/90-hagw.conf.",
    )


def check_openmptcprouter(rivals: Rivals) -> Iterator[Finding]:
    """What an earlier aggregation router left on the machine."""
    running = sorted(rivals.processes.intersection(_LEFTOVERS))
    if running or rivals.openmptcprouter:
        found = ", ".join([*(f"process {name}" for name in running), *rivals.openmptcprouter])
        yield Finding(
            "rival.openmptcprouter",
            "warning",
            f"OpenMPTCProuter or parts of it are here: {found}. It marks, tunnels and proxies the same traffic.",
            "Stop and disable its services and remove its parameter files, or use a fresh system.",
        )


def check_rules(rivals: Rivals) -> Iterator[Finding]:
    """Routing rules of others that are consulted before hagw's, or among them."""
    for rule in rivals.rules:
        said = f"IPv{rule.family} rule `{rule.text}`"
        if rule.priority in PRIORITIES:
            act = f"Give it a priority outside {PRIORITIES.start}-{PRIORITIES.stop - 1}."
            yield Finding("rival.rule", "problem", f"{said} is among hagw's own.", act)
        else:
            yield Finding(
                "rival.rule",
                "note" if rule.is_narrow else "warning",
                f"{said} is consulted before hagw's: what it matches goes where it says.",
                f"If that is not meant, give it a priority above {PRIORITIES.stop - 1}.",
            )


def check_chains(rivals: Rivals) -> Iterator[Finding]:
    """Filters that drop what they do not know: intercepted packets pass the input hook, unconverted ones forward."""
    for chain in rivals.chains:
        if chain.drops_rest and not _passes(chain):
            yield _input(chain) if chain.hook == "input" else _forward(chain)


def check_signs(rivals: Rivals) -> Iterator[Finding]:
    """Those that are told by their traces."""
    return _signs(SIGNS, rivals)


def check_mptcpd(rivals: Rivals) -> Iterator[Finding]:
    """The one of them that matters on a HAG."""
    return _signs((MPTCPD,), rivals)


CHECKS: Final = (
    check_networkd,
    check_networkd_claims,
    check_network_manager,
    check_openmptcprouter,
    check_signs,
    check_rules,
    check_chains,
)


def findings(role: Role, rivals: Rivals) -> tuple[Finding, ...]:
    """Return what the checks find. A HAG intercepts nothing: there only those that manage paths matter."""
    return tuple(finding for check in (CHECKS if role == "cpe" else _FOR_HAG) for finding in check(rivals))


def interferences(role: Role, rivals: Rivals) -> tuple[Finding, ...]:
    """Return those that are more than a note."""
    return tuple(finding for finding in findings(role, rivals) if finding.severity in ("warning", "problem"))


def check_rivals(evidence: Evidence) -> Iterator[Finding]:
    """Yield the rivals, or that there are none."""
    found = findings(evidence.role, evidence.rivals)
    yield from found
    if not found:
        yield Finding("rival", "ok", "no other program that manages routes, filters or paths was found")


_FOR_HAG: Final = (check_network_manager, check_mptcpd, check_openmptcprouter)


def _signs(signs: Iterable[Sign], rivals: Rivals) -> Iterator[Finding]:
    for sign in signs:
        for trace in sign.traces(rivals):
            yield Finding(sign.name, sign.severity, sign.found.format(trace), sign.act.format(trace))


def _if(trace: object) -> tuple[object, ...]:
    """Return a trace that is there or not."""
    return (trace,) if trace else ()


def _passes(chain: BaseChain) -> bool:
    return chain.passes_lan or (chain.hook == "input" and chain.passes_marked)


def _input(chain: BaseChain) -> Finding:
    return Finding(
        "rival.input-filter",
        "warning" if chain.jumps else "problem",
        f"Chain {chain.place} drops what it does not know{_unless(chain)}: intercepted connections of the LAN pass it"
        " on their way to hagw.",
        f"Accept them there: `meta mark & {MARK_MASK:#x} == {MARK_INTERCEPT:#x} accept` (iptables: `-m mark --mark"
        f" {_MARK} -j ACCEPT`).",
    )


def _forward(chain: BaseChain) -> Finding:
    return Finding(
        "rival.forward-filter",
        "warning" if chain.jumps else "problem",
        f"Chain {chain.place} drops what it does not know{_unless(chain)}: what hagw does not convert (UDP, and all of"
        " the LAN's traffic while the gateway is away) is forwarded through it.",
        "Accept there what comes from the LAN's interfaces, and answers (`ct state established,related`).",
    )


def _unless(chain: BaseChain) -> str:
    return " (unless a chain it jumps to accepts it)" if chain.jumps else ""


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        return 0
