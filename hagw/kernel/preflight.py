"""Find out before anything is changed whether this machine can do what hagw needs, and say what is missing."""

import errno
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from hagw.errors import UnsupportedEnvironment
from hagw.kernel import sysctl
from hagw.kernel.facts import FactsReader
from hagw.kernel.mptcp import PathManager
from hagw.model.intent import CpeIntent, Intent
from hagw.plan.offered import refusals

Role = Literal["cpe", "hag"]

_CAP_NET_ADMIN: Final = 12
_TRIAL: Final = (
    "table inet hagw-trial { chain p { type filter hook prerouting priority mangle; "
    "meta l4proto tcp socket transparent 1 socket wildcard 0 meta mark set ct mark accept; "
    "meta nfproto ipv4 meta l4proto tcp tproxy ip to 127.0.0.1:5128 accept; "
    "meta nfproto ipv6 meta l4proto tcp tproxy ip6 to [::1]:5128 accept; }; "
    "chain n { type nat hook postrouting priority srcnat; masquerade; }; }"
)


@dataclass(frozen=True, slots=True)
class Found:
    """What a machine has. `nft_error` is empty when the table's features all work."""

    has_net_admin: bool
    has_mptcp: bool
    has_path_manager: bool
    has_userspace_path_manager: bool
    nft_error: str


def check(intent: Intent) -> None:
    """Raise UnsupportedEnvironment with a sentence for each thing that is missing."""
    role: Role = "cpe" if isinstance(intent, CpeIntent) else "hag"
    problems = explain(role, look(role)) or _refusals(intent)
    if problems:
        raise UnsupportedEnvironment("\n".join(problems))


def look(role: Role) -> Found:
    """Try what can be tried without changing anything."""
    has_net_admin = _has_capability(_CAP_NET_ADMIN)
    return Found(
        has_net_admin=has_net_admin,
        has_mptcp=_has_mptcp(),
        has_path_manager=_has_path_manager(),
        has_userspace_path_manager=any(
            sysctl.read(name) is not None for name in ("net/mptcp/pm_type", "net/mptcp/path_manager")
        ),
        nft_error=_try_nft() if role == "cpe" and has_net_admin else "",
    )


def explain(role: Role, found: Found) -> tuple[str, ...]:
    """Say what is missing for a role, most fundamental first; empty when nothing is."""
    problems = []
    if not found.has_net_admin:
        problems.append("hagw needs the capability CAP_NET_ADMIN: run it as root or through its systemd unit")
    if not found.has_mptcp or not found.has_path_manager:
        problems.append("this kernel has no Multipath TCP: hagw needs Linux 6.1 or later with CONFIG_MPTCP")
    elif role == "cpe" and not found.has_userspace_path_manager:
        problems.append("this kernel has no userspace path manager for Multipath TCP: hagw needs Linux 6.1 or later")
    if found.nft_error:
        problems.append(f"nftables cannot do what hagw needs (tproxy, socket, masquerade): {found.nft_error}")
    return tuple(problems)


def _refusals(intent: Intent) -> tuple[str, ...]:
    reader = FactsReader()
    try:
        return refusals(intent, reader.read(intent))
    finally:
        reader.close()


def _has_capability(number: int) -> bool:
    for line in Path("/proc/thread-self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def _has_mptcp() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_MPTCP).close()
    except OSError as error:
        return error.errno == errno.ENOPROTOOPT  # there, but switched off: we switch it on
    return True


def _has_path_manager() -> bool:
    try:
        PathManager().close()
    except OSError:
        return False
    return True


def _try_nft() -> str:
    """Have the kernel check a table without keeping it; return why it refuses."""
    try:
        from nftables import Nftables  # not on PyPI: it comes with the distribution
    except ImportError:
        return "the Python module of nftables is missing, install python3-nftables"
    try:
        context = Nftables()
    except OSError as error:
        return f"libnftables cannot be loaded: {error}"
    context.set_dry_run(True)
    code, _output, error_text = context.cmd(_TRIAL)
    return "" if code == 0 else " ".join(error_text.split())[:300]
