"""Judge what runs beside hagw: what exactly it does to routes, rules, filters and paths, and how to settle it."""

from collections.abc import Iterator
from typing import Final

from hagw.doctor.evidence import BaseChain, Evidence, Rivals, Role
from hagw.model.finding import Finding
from hagw.model.ids import MARK_INTERCEPT, MARK_MASK, PRIORITIES

_MARK: Final = f"{MARK_INTERCEPT:#x}/{MARK_MASK:#x}"
_NM_DISABLED: Final = 0x1  # of connection.mptcp-flags
_TRUE: Final = frozenset({"1", "yes", "y", "true", "t", "on"})  # as systemd reads them
_LEFTOVERS: Final = ("glorytun", "glorytun-udp", "glorytun-tcp", "mlvpn", "omr-admin", "ss-redir", "omr-tracker")


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


def check_mptcpd(rivals: Rivals) -> Iterator[Finding]:
    """Two path managers for the same connections: mptcpd acts on every one of the namespace."""
    if "mptcpd" in rivals.processes:
        yield Finding(
            "rival.mptcpd",
            "warning",
            "mptcpd runs: it manages the paths of all Multipath TCP connections here, also of hagw's where its plugin"
            " is for the userspace path manager, and raises the kernel's limits.",
            "Run `systemctl disable --now mptcp.service`.",
        )


def check_ifupdown(rivals: Rivals) -> Iterator[Finding]:
    """Scripts and stanzas of /etc/network that make rules of their own for each line."""
    for hook in rivals.ifupdown_hooks:
        yield Finding(
            "rival.ifupdown-hook",
            "warning",
            f"{hook} makes rules and routes for Multipath TCP when an interface comes up: they are consulted beside"
            " hagw's.",
            f"Remove it, or take its execute permission away: `chmod -x {hook}`.",
        )
    for stanza in rivals.ifupdown_uplinks:
        yield Finding(
            "rival.ifupdown-uplink",
            "warning",
            f"{stanza}: it makes routing rules by itself.",
            "Leave only address and gateway in that stanza: hagw makes rules and tables of the lines.",
        )


def check_firewalld(rivals: Rivals) -> Iterator[Finding]:
    """firewalld rejects what a zone does not allow, in the input and the forward hook."""
    if "firewalld" in rivals.processes:
        yield Finding(
            "rival.firewalld",
            "warning",
            "firewalld runs: intercepted connections pass its input rules, unconverted ones its forward rules, and a"
            " zone that does not allow them rejects both.",
            "Put the LAN's interfaces into a zone that accepts (`firewall-cmd --permanent --zone=trusted"
            " --add-interface=LAN`), allow it to the lines' zone by a policy, and reload.",
        )


def check_ufw(rivals: Rivals) -> Iterator[Finding]:
    """ufw denies input and forwarding unless told otherwise."""
    if rivals.ufw:
        yield Finding(
            "rival.ufw",
            "warning",
            "ufw is enabled: it drops intercepted connections in its input rules and unconverted ones when forwarding,"
            " unless both are allowed.",
            "Run `ufw allow in on LAN` and `ufw route allow in on LAN` for each interface of the LAN.",
        )


def check_docker(rivals: Rivals) -> Iterator[Finding]:
    """Docker sets the policy of the forward hook to drop and has bridged packets filtered."""
    if "dockerd" in rivals.processes or rivals.docker_bridge:
        yield Finding(
            "rival.docker",
            "warning",
            "Docker is here: it drops what is forwarded and not a container's, and has bridged packets pass the filter"
            " (br_netfilter), which hagw switches off: containers of one bridge are then not kept apart.",
            "Allow the LAN (`iptables -I DOCKER-USER -i LAN -j ACCEPT` and `iptables -I DOCKER-USER -o LAN -j ACCEPT`,"
            " at each start of Docker), or run containers on another machine.",
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


def check_tproxy(rivals: Rivals) -> Iterator[Finding]:
    """Another transparent proxy: who intercepts first decides."""
    for place in rivals.tproxy:
        yield Finding(
            "rival.tproxy",
            "problem",
            f"Chain {place} intercepts connections as well: they reach hagw or the other, by the chains' priority.",
            "Stop the other transparent proxy, or have it leave the LAN's interfaces out.",
        )


def check_legacy(rivals: Rivals) -> Iterator[Finding]:
    """Rules of iptables-legacy are beside nftables and cannot be seen from there."""
    if rivals.legacy_tables:
        yield Finding(
            "rival.iptables-legacy",
            "warning",
            f"iptables-legacy has tables {', '.join(rivals.legacy_tables)}: their rules hold beside those of nftables"
            " and were not looked at.",
            "Move them to nftables (`iptables-legacy-save`, `iptables-nft-restore`) and flush them.",
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


def check_sysctl_files(rivals: Rivals) -> Iterator[Finding]:
    """Parameters that other files set against hagw, at boot or when an interface appears."""
    for line in rivals.sysctl_files:
        yield Finding(
            "rival.sysctl",
            "note",
            f"{line}: hagw sets it otherwise, and again when this was applied in between.",
            "Remove the line if nothing else needs it.",
        )


def check_chains(rivals: Rivals) -> Iterator[Finding]:
    """Filters that drop what they do not know: intercepted packets pass the input hook, unconverted ones forward."""
    for chain in rivals.chains:
        if chain.drops_rest and not _passes(chain):
            yield _input(chain) if chain.hook == "input" else _forward(chain)


def check_unread(rivals: Rivals) -> Iterator[Finding]:
    """What could not be looked at."""
    if rivals.why_no_rules:
        yield Finding(
            "rival.unread",
            "note",
            f"Filters and routing rules of others were not looked at: {rivals.why_no_rules}.",
            "Run `hagw doctor` as root.",
        )
    if rivals.unseen_processes:
        yield Finding(
            "rival.unseen",
            "note",
            f"{rivals.unseen_processes} processes of others do not say whether they are in this network namespace.",
            "Run `hagw doctor` as root.",
        )


CHECKS: Final = (
    check_networkd,
    check_networkd_claims,
    check_network_manager,
    check_mptcpd,
    check_ifupdown,
    check_firewalld,
    check_ufw,
    check_docker,
    check_openmptcprouter,
    check_tproxy,
    check_legacy,
    check_rules,
    check_sysctl_files,
    check_chains,
    check_unread,
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
