"""Judge the machine itself: clock, names, tables, space, limits, parameters, configuration, daemon."""

from collections.abc import Iterator
from typing import Final

from hagw.doctor.evidence import Evidence
from hagw.model.finding import Finding, Severity

RELEASED_S: Final = 1_735_689_600.0  # 2025-01-01: no clock that is right says less
_YOUNG_S: Final = 120.0
_CONNTRACK_FULL: Final = 0.95
_CONNTRACK_FILLING: Final = 0.8
_CONNTRACK_SMALL: Final = 16_384
_SPACE_NONE: Final = 1_000_000
_SPACE_LITTLE: Final = 16_000_000
_DESCRIPTORS: Final = 65_536
_BUFFER_BYTES: Final = 4_000_000
_RESOLVER_SLOW_MS: Final = 1_000.0


def check_rights(evidence: Evidence) -> Iterator[Finding]:
    """Say what was left out for want of rights."""
    if not evidence.box.is_root:
        yield Finding(
            "rights",
            "note",
            "Not run as root: filters, other users' processes and, where it may not be read, the configuration were"
            " left out.",
            "Run `hagw doctor` as root.",
        )


def check_configuration(evidence: Evidence) -> Iterator[Finding]:
    """The configuration can be used."""
    if not evidence.config_readable:
        said = f"{evidence.config_file} may not be read: lines and gateways were left out."
        yield Finding("configuration", "note", said, "Run `hagw doctor` as root.")
        return
    for fault in evidence.config_faults:
        yield Finding("configuration", "problem", fault, f"Mend it and run `hagw check {evidence.config_file}`.")
    if not evidence.config_faults:
        yield Finding("configuration", "ok", f"{evidence.config_file} can be used, role {evidence.role}")


def check_daemon(evidence: Evidence) -> Iterator[Finding]:
    """The daemon answers, and how well it does its job."""
    daemon = evidence.daemon
    match daemon.state:
        case None:
            yield Finding("daemon", "note", f"{daemon.reason} Traffic is as it was left.", "Start it if it should run.")
        case "bonded":
            yield Finding("daemon", "ok", f"The daemon says bonded: {daemon.reason}")
        case state:
            yield Finding("daemon", "warning", f"The daemon says {state}: {daemon.reason}", "Run `hagw status`.")


def check_clock(evidence: Evidence) -> Iterator[Finding]:
    """A CPE takes its gateway's time and needs no clock; a HAG's time is what cookies are made with."""
    box = evidence.box
    is_hag = evidence.role == "hag"
    if box.wall_s < RELEASED_S:
        yield Finding(
            "clock",
            "problem" if is_hag else "warning",
            f"The clock says {_days(RELEASED_S - box.wall_s)} before this program was made.",
            "Set it, and let a time service keep it (`timedatectl set-ntp true`).",
        )
    elif box.is_synchronised is False:
        yield Finding(
            "clock",
            "warning" if is_hag else "note",
            "The clock is plausible but no time service keeps it right, says the kernel.",
            "Start one (`timedatectl set-ntp true`); a CPE does without: it takes its gateway's time."
            if not is_hag
            else "Start one (`timedatectl set-ntp true`): customers authenticate by this machine's time.",
        )
    else:
        yield Finding("clock", "ok", "The clock is plausible and kept right.")


def check_uptime(evidence: Evidence) -> Iterator[Finding]:
    """What was measured right after boot may look worse than it is."""
    if evidence.box.uptime_s < _YOUNG_S:
        seconds = f"{evidence.box.uptime_s:.0f} s"
        yield Finding("uptime", "note", f"Booted {seconds} ago: lines may still come up.", "Look again in a minute.")
    else:
        yield Finding("uptime", "ok", f"up for {_days(evidence.box.uptime_s)}")


def check_resolvers(evidence: Evidence) -> Iterator[Finding]:
    """The machine's own resolvers answer, and over which line."""
    names = {address: line.name for line in evidence.lines or () for address in (line.address4, line.address6)}
    resolvers = evidence.box.resolvers
    if not resolvers:
        act = "Name one there; hagw itself needs none."
        yield Finding("dns", "warning", "/etc/resolv.conf names no resolver.", act)
    answering = [each for each in resolvers if each.rtt_ms is not None]
    for each in resolvers:
        way = f" over {names[each.source]}" if each.source in names else ""
        if each.rtt_ms is None:
            yield Finding(
                "dns",
                "note" if answering else "warning",
                f"Resolver {each.address} does not answer{way}: {each.why}.",
                "Name one in /etc/resolv.conf that every line reaches; hagw itself needs none.",
            )
        elif each.rtt_ms > _RESOLVER_SLOW_MS:
            slow = f"Resolver {each.address} took {each.rtt_ms:.0f} ms{way}."
            yield Finding("dns", "warning", slow, "Look at the load of that line, or name another resolver.")
        else:
            yield Finding("dns", "ok", f"resolver {each.address} answers in {each.rtt_ms:.0f} ms{way}")


def check_conntrack(evidence: Evidence) -> Iterator[Finding]:
    """The table of tracked flows has room."""
    count, most = evidence.box.conntrack_count, evidence.box.conntrack_max
    if count is None or not most:
        yield Finding("conntrack", "note", "No flows are tracked yet.", "Nothing to do: hagw's table begins it.")
        return
    said = f"{count} of {most} tracked flows"
    act = f"Raise it: `sysctl net.netfilter.nf_conntrack_max={2 * most}`, also in /etc/sysctl.d."
    if count >= _CONNTRACK_FULL * most:
        yield Finding("conntrack", "problem", f"{said}: new flows are dropped when it is full.", act)
    elif count >= _CONNTRACK_FILLING * most or most < _CONNTRACK_SMALL:
        yield Finding("conntrack", "warning", f"{said}: a busy LAN needs more.", act)
    else:
        yield Finding("conntrack", "ok", said)


def check_space(evidence: Evidence) -> Iterator[Finding]:
    """What must survive a loss of power can be written."""
    box = evidence.box
    if box.state_free_bytes is None:
        act = "Make it, or set HAGW_STATE_DIR."
        yield Finding("disk", "warning", f"{box.state_dir} and what is above it cannot be looked at.", act)
    elif not box.state_writable and box.is_root:
        act = "Mount it writable, or set HAGW_STATE_DIR to a place that is."
        yield Finding("disk", "problem", f"{box.state_dir} is on a read-only file system.", act)
    elif box.state_free_bytes < _SPACE_LITTLE:
        severity: Severity = "problem" if box.state_free_bytes < _SPACE_NONE else "warning"
        free = f"{box.state_free_bytes / 1e6:.1f} MB are free for {box.state_dir}."
        yield Finding("disk", severity, free, "Free some space: hagw keeps there what the kernel held before it.")
    else:
        yield Finding("disk", "ok", f"{box.state_free_bytes / 1e6:.0f} MB are free for {box.state_dir}")


def check_descriptors(evidence: Evidence) -> Iterator[Finding]:
    """Each connection takes two descriptors of its worker."""
    most = evidence.box.descriptors_max
    if most < _DESCRIPTORS:
        yield Finding(
            "descriptors",
            "warning",
            f"A process may open {most} descriptors: a worker carries at most {most // 2} connections.",
            "Raise it: `LimitNOFILE=1048576` in hagw's systemd unit, or `ulimit -Hn 1048576` before it starts.",
        )
    else:
        yield Finding("descriptors", "ok", f"a process may open {most} descriptors")


def check_buffers(evidence: Evidence) -> Iterator[Finding]:
    """A connection over all lines needs room for the fastest at the delay of the slowest."""
    for name in ("net/ipv4/tcp_rmem", "net/ipv4/tcp_wmem"):
        words = dict(evidence.box.sysctls).get(name, "").split()
        if len(words) == 3 and int(words[2]) < _BUFFER_BYTES:
            dotted = name.replace("/", ".")
            yield Finding(
                "buffers",
                "note",
                f"{dotted} allows {int(words[2]) / 1e6:.1f} MB a connection: too little beyond about"
                f" {int(words[2]) * 8 / 0.3 / 1e6:.0f} Mbit/s over lines whose round trips differ by 0.3 s.",
                f"Set `{dotted} = {words[0]} {words[1]} 6291456` in /etc/sysctl.d.",
            )


def check_parameters(evidence: Evidence) -> Iterator[Finding]:
    """The parameters a running CPE depends on have the values it gives them."""
    if evidence.role != "cpe":
        return
    values = dict(evidence.box.sysctls)
    runs = evidence.daemon.state is not None
    for name, wanted, why in _WANTED:
        value = values.get(name)
        if value is None or value == wanted:
            continue
        yield Finding(
            "parameters",
            "warning" if runs else "note",
            f"{name.replace('/', '.')} is {value}: {why}.",
            "hagw sets it: find who sets it back (`grep -r` in /etc/sysctl.d)." if runs else "hagw will set it.",
        )


_WANTED: Final = (
    ("net/ipv4/ip_forward", "1", "IPv4 is not forwarded"),
    ("net/ipv6/conf/all/forwarding", "1", "IPv6 is not forwarded"),
    ("net/mptcp/enabled", "1", "Multipath TCP is off"),
    ("net/bridge/bridge-nf-call-iptables", "0", "bridged packets pass the filter a layer too early (br_netfilter)"),
    ("net/bridge/bridge-nf-call-ip6tables", "0", "bridged packets pass the filter a layer too early (br_netfilter)"),
)


def _days(seconds: float) -> str:
    return f"{seconds / 86400:.0f} days" if seconds >= 2 * 86400 else f"{seconds / 3600:.1f} h"
