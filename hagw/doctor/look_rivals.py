"""See who else routes, filters or manages paths here: processes of this namespace, files below `root`, rules.

`root` is the machine's / for everybody but tests. Nobody is asked over D-Bus: what is not running cannot harm now, and
what is written in files holds after the next boot.
"""

import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from hagw.doctor.evidence import BaseChain, ForeignRule, Rivals
from hagw.kernel.rules import SeenRule, read_rules
from hagw.kernel.ruleset import read_ruleset
from hagw.model.ids import (
    MARK_INTERCEPT,
    NFT_TABLE,
    PRIORITIES,
    ROUTE_PROTOCOL,
    TABLE_BEST,
    TABLE_INTERCEPT,
    TABLE_UPLINK_BASE,
)
from hagw.model.intent import CpeIntent, Intent

_OURS: Final = frozenset({*PRIORITIES, *range(TABLE_UPLINK_BASE, max(TABLE_BEST, TABLE_INTERCEPT) + 1)})
_SYSTEM_DIRS: Final = ("etc", "run", "usr/local/lib", "usr/lib")
_RPDB_LOCAL: Final = 0
_L3MDEV: Final = 1000  # the kernel's own rule for VRF devices
_RTPROT_KERNEL: Final = 2
# What hagw sets to another value, by the last part of a parameter's name.
_AGAINST_US: Final = {
    "net.ipv4.ip_forward": "0",
    "net.ipv4.conf.all.forwarding": "0",
    "net.ipv6.conf.all.forwarding": "0",
    "net.mptcp.enabled": "0",
    "net.ipv4.tcp_early_demux": "1",
    "net.ipv4.tcp_migrate_req": "0",
    "net.bridge.bridge-nf-call-iptables": "1",
    "net.bridge.bridge-nf-call-ip6tables": "1",
}
_OPENMPTCPROUTER: Final = (
    "etc/config/openmptcprouter",
    "etc/openmptcprouter-vps-admin",
    "etc/sysctl.d/90-shadowsocks.conf",
    "etc/systemd/system/omr.service",
    "lib/systemd/system/omr.service",
    "proc/sys/net/mptcp/mptcp_enabled",  # the parameter of the kernel before Multipath TCP was upstream
)


class RivalLooker:
    """Looks for rivals again and again; not for several threads at once."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def look(self, intent: Intent | None) -> Rivals:
        """Look everywhere (a tenth of a second); what cannot be read is counted or named, never an error."""
        lan = frozenset(intent.lan_interfaces) if isinstance(intent, CpeIntent) else frozenset()
        try:
            ruleset, why = read_ruleset(), ""
        except OSError as error:
            ruleset, why = (), str(error)
        rules, why_rules = _rules()
        return replace(
            _look_at_files(intent, self._root),
            chains=base_chains(ruleset, lan),
            tproxy=tproxy_chains(ruleset),
            rules=rules,
            why_no_rules=why or why_rules,
        )


def _look_at_files(intent: Intent | None, root: Path) -> Rivals:
    processes, unseen = processes_here(root / "proc")
    uplinks = {up.interface for up in intent.uplinks if up.interface} if isinstance(intent, CpeIntent) else set()
    hooks, stanzas = ifupdown(root, uplinks)
    return Rivals(
        processes=processes,
        unseen_processes=unseen if os.geteuid() else 0,  # root sees all but what has a user namespace of its own
        networkd=tuple(networkd_settings(root).items()),
        networkd_claims=networkd_claims(root),
        network_manager=tuple(network_manager_settings(root).items()),
        ifupdown_hooks=hooks,
        ifupdown_uplinks=stanzas,
        ufw="ENABLED=yes" in _lines(root / "etc/ufw/ufw.conf"),
        docker_bridge="docker0" in {name for _, name in socket.if_nameindex()},
        openmptcprouter=tuple(f"/{path}" for path in _OPENMPTCPROUTER if (root / path).exists()),
        sysctl_files=sysctl_files(root, uplinks),
        legacy_tables=tuple(
            sorted({line for name in ("ip", "ip6") for line in _lines(root / f"proc/net/{name}_tables_names")})
        ),
    )


# -- processes


def processes_here(proc: Path) -> tuple[frozenset[str], int]:
    """Return the names of the processes in our network namespace, and how many do not show theirs to us."""
    try:
        ours = os.readlink(proc / "thread-self/ns/net")
    except OSError:
        ours = ""
    names, unseen = set(), 0
    for directory in proc.iterdir():
        if not directory.name.isdigit():
            continue
        try:
            if os.readlink(directory / "ns/net") == ours:
                names.add((directory / "comm").read_text().strip())
        except PermissionError:
            unseen += 1
        except OSError:
            continue  # it ended meanwhile
    return frozenset(names), unseen


# -- files


def networkd_settings(root: Path) -> dict[str, str]:
    """Return [Network] of networkd.conf: one main file, then the drop-ins by name, /etc's before others."""
    main = next(
        (path for each in _SYSTEM_DIRS if (path := root / each / "systemd/networkd.conf").is_file()),
        None,
    )
    files = [] if main is None else [main]
    files += _drop_ins(root, "systemd/networkd.conf.d", ".conf")
    return {key: value for file in files for section, key, value in _entries(file) if section == "Network"}


def networkd_claims(root: Path) -> tuple[str, ...]:
    """Return where .network files use a priority or table of ours."""
    return tuple(
        f"/{file.relative_to(root)} has {key}={value} in [{section}]"
        for file in _drop_ins(root, "systemd/network", ".network")
        for section, key, value in _entries(file)
        if key in ("Priority", "Table", "RouteTable") and value.isdigit() and int(value) in _OURS
    )


def network_manager_settings(root: Path) -> dict[str, str]:
    """Return the keys of NetworkManager.conf that matter, in the order NetworkManager reads its files."""
    directory = "NetworkManager/conf.d"
    early = [file for each in ("usr/lib", "run") for file in sorted((root / each / directory).glob("*.conf"))]
    late = sorted((root / "etc" / directory).glob("*.conf"))
    shadowed = {file.name for file in late}
    files = [*(f for f in early if f.name not in shadowed), root / "etc/NetworkManager/NetworkManager.conf", *late]
    found = {}
    for file in files:
        for section, key, value in _entries(file):
            if (section == "keyfile" and key == "unmanaged-devices") or (
                section.startswith("connection") and key == "connection.mptcp-flags"
            ):
                found[key] = value
    return found


def ifupdown(root: Path, uplinks: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return hooks for Multipath TCP, and stanzas of uplinks that call `ip rule`."""
    hooks = [
        f"/{path.relative_to(root)}"
        for directory in ("if-up.d", "if-pre-up.d", "if-down.d", "if-post-down.d")
        for path in sorted((root / "etc/network" / directory).glob("*mptcp*"))
        if os.access(path, os.X_OK)
    ]
    stanzas = []
    files = [root / "etc/network/interfaces", *sorted((root / "etc/network/interfaces.d").glob("*"))]
    for file in files:
        interface = ""
        for line in _lines(file):
            words = line.split()
            if words[0] == "iface" and len(words) > 1:
                interface = words[1]
            elif interface in uplinks and words[0] in ("up", "post-up", "pre-up") and " rule " in f" {line} ":
                stanzas.append(f"/{file.relative_to(root)}, `iface {interface}`: `{line}`")
    return tuple(hooks), tuple(stanzas)


def sysctl_files(root: Path, uplinks: Iterable[str]) -> tuple[str, ...]:
    """Return the lines of sysctl.d and sysctl.conf that set a parameter against hagw."""
    against = {**_AGAINST_US, **{f"net.ipv4.conf.{name}.rp_filter": "1" for name in uplinks}}
    files = [*_drop_ins(root, "sysctl.d", ".conf"), root / "etc/sysctl.conf"]
    found = []
    for file in files:
        for line in _lines(file):
            key, _, value = (part.strip() for part in line.lstrip("-").partition("="))
            dotted = key.replace("/", ".")
            if against.get(dotted) == value:
                found.append(f"/{file.relative_to(root)}: {dotted} = {value}")
    return tuple(found)


def _drop_ins(root: Path, directory: str, suffix: str) -> list[Path]:
    """Return files by name; of several with one name that of the most important directory, as systemd does."""
    chosen: dict[str, Path] = {}
    for each in reversed(_SYSTEM_DIRS):
        for path in (root / each / directory).glob(f"*{suffix}"):
            chosen[path.name] = path
    return [chosen[name] for name in sorted(chosen)]


def _entries(file: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (section, key, value) of a file in the style of .ini; keys may repeat."""
    section = ""
    for line in _lines(file):
        if line.startswith("["):
            section = line.strip("[]")
        elif "=" in line:
            key, _, value = line.partition("=")
            yield section, key.strip(), value.strip()


def _lines(file: Path) -> list[str]:
    """Return a file's lines without comments and blanks; none of one that is not there or not ours to read."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    stripped = (line.strip() for line in text.splitlines())
    return [line for line in stripped if line and line[0] not in "#;"]


# -- rules and filters


def _rules() -> tuple[tuple[ForeignRule, ...], str]:
    try:
        return foreign_rules(read_rules()), ""
    except OSError as why:
        return (), str(why)


def foreign_rules(seen: Iterable[SeenRule]) -> tuple[ForeignRule, ...]:
    """Return the rules that are not ours and are consulted before the last of ours."""
    return tuple(
        ForeignRule(rule.priority, rule.family, str(rule), "from " in rule.selector or "to " in rule.selector)
        for rule in seen
        if rule.protocol != ROUTE_PROTOCOL
        and _RPDB_LOCAL < rule.priority < PRIORITIES.stop
        and not (rule.priority == _L3MDEV and rule.protocol == _RTPROT_KERNEL)
    )


def base_chains(ruleset: Iterable[dict[str, Any]], lan: frozenset[str]) -> tuple[BaseChain, ...]:
    """Return the chains of others on the input and forward hooks."""
    rules: dict[str, list[list[dict[str, Any]]]] = {}
    chains = []
    for entry in ruleset:
        if "rule" in entry:
            rule = entry["rule"]
            rules.setdefault(_place(rule, rule["chain"]), []).append(rule["expr"])
        elif entry.get("chain", {}).get("hook") in ("input", "forward"):
            chains.append(entry["chain"])
    found = []
    for chain in chains:
        mine = rules.get(_place(chain, chain["name"]), [])
        if chain["table"] == NFT_TABLE or chain["family"] not in ("ip", "ip6", "inet"):
            continue
        found.append(
            BaseChain(
                place=_place(chain, chain["name"]),
                hook=chain["hook"],
                drops_rest=chain.get("policy") == "drop" or any(_drops_all(rule) for rule in mine),
                passes_marked=any(_names_mark(rule) and _accepts(rule) for rule in mine),
                passes_lan=any(_passes_from(rule, lan) for rule in mine),
                jumps=any("jump" in part or "goto" in part for rule in mine for part in rule),
            )
        )
    return tuple(found)


def tproxy_chains(ruleset: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """Return the chains of others that hand packets to a transparent proxy, also those of iptables-nft."""
    found: dict[str, None] = {}
    for entry in ruleset:
        rule = entry.get("rule")
        if rule is not None and rule["table"] != NFT_TABLE and any(_is_tproxy(part) for part in rule["expr"]):
            found[_place(rule, rule["chain"])] = None
    return tuple(found)


def _place(entry: dict[str, Any], chain: str) -> str:
    return f"{entry['family']} {entry['table']} {chain}"


def _is_tproxy(part: dict[str, Any]) -> bool:
    return "tproxy" in part or (part.get("xt") or {}).get("name") == "TPROXY"


def _accepts(rule: list[dict[str, Any]]) -> bool:
    return any("accept" in part for part in rule)


def _drops_all(rule: list[dict[str, Any]]) -> bool:
    """Tell a rule without conditions that drops or rejects."""
    return all(part.keys() & {"drop", "reject", "counter", "log"} for part in rule) and any(
        part.keys() & {"drop", "reject"} for part in rule
    )


def _names_mark(rule: list[dict[str, Any]]) -> bool:
    return any(part.get("match", {}).get("right") == MARK_INTERCEPT for part in rule)


def _passes_from(rule: list[dict[str, Any]], lan: frozenset[str]) -> bool:
    """Tell a rule that accepts everything from one of the LAN's interfaces."""
    matches = [part["match"] for part in rule if "match" in part]
    if not _accepts(rule) or any("xt" in part for part in rule) or len(matches) != 1:
        return False
    left, right = matches[0]["left"], matches[0]["right"]
    named = right.get("set", []) if isinstance(right, dict) else [right]
    return left == {"meta": {"key": "iifname"}} and matches[0]["op"] == "==" and bool(lan.intersection(map(str, named)))
