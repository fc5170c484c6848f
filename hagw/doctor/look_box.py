"""See the machine itself: clock, resolvers, tables, space, limits, parameters."""

import ctypes
import os
import random
import resource
import select
import socket
import struct
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from hagw.doctor.evidence import Box, Resolver
from hagw.kernel import sysctl

_TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronised
_TIMEX_BYTES: Final = 256
_DNS_TIMEOUT_S: Final = 1.5
_DNS_HEADER: Final = struct.Struct("!6H")
_ROOT_NS: Final = b"\0" + struct.pack("!2H", 2, 1)  # name ".", type NS, class IN: every resolver knows
_RESOLVERS_MAX: Final = 3  # as the C library reads them
_SYSCTLS: Final = (
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/mptcp/enabled",
    "net/bridge/bridge-nf-call-iptables",
    "net/bridge/bridge-nf-call-ip6tables",
    "net/ipv4/tcp_rmem",
    "net/ipv4/tcp_wmem",
)


def look_box(state_dir: Path, root: Path = Path("/")) -> Box:
    """Look at everything; takes up to 1.5 s for a resolver that is silent."""
    space, writable = _space(state_dir)
    values = ((name, sysctl.read(name)) for name in _SYSCTLS)
    return Box(
        wall_s=time.time(),
        uptime_s=time.clock_gettime(time.CLOCK_BOOTTIME),
        is_synchronised=_is_synchronised(),
        resolvers=tuple(_ask(address) for address in resolvers(root)),
        sysctls=tuple((name, value) for name, value in values if value is not None),
        conntrack_count=_number("net/netfilter/nf_conntrack_count"),
        conntrack_max=_number("net/netfilter/nf_conntrack_max"),
        state_dir=str(state_dir),
        state_free_bytes=space,
        state_writable=writable,
        descriptors_max=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        is_root=os.geteuid() == 0,
    )


def resolvers(root: Path) -> tuple[str, ...]:
    """Return the addresses in resolv.conf."""
    try:
        lines = (root / "etc/resolv.conf").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    words = (line.split() for line in lines)
    return tuple(each[1] for each in words if len(each) > 1 and each[0] == "nameserver")[:_RESOLVERS_MAX]


def _ask(address: str) -> Resolver:
    """Ask one resolver for the name servers of the root."""
    number = random.getrandbits(16)
    try:
        family = socket.AF_INET6 if ip_address(address.partition("%")[0]).version == 6 else socket.AF_INET
    except ValueError:
        return Resolver(address, None, None, "that is no address")
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(socket.getaddrinfo(address, 53, type=socket.SOCK_DGRAM)[0][4])
            source = sock.getsockname()[0]
            asked_at = time.monotonic()
            sock.send(_DNS_HEADER.pack(number, 0x0100, 1, 0, 0, 0) + _ROOT_NS)
            for answer in _answers(sock, _DNS_TIMEOUT_S):
                if answer[:2] == number.to_bytes(2, "big"):
                    return Resolver(address, source, (time.monotonic() - asked_at) * 1000)
        except OSError as why:
            return Resolver(address, None, None, why.strerror or str(why))
    return Resolver(address, source, None, f"no answer within {_DNS_TIMEOUT_S:g} s")


def _answers(sock: socket.socket, timeout_s: float) -> Iterator[bytes]:
    deadline = time.monotonic() + timeout_s
    while (left := deadline - time.monotonic()) > 0 and select.select([sock], [], [], left)[0]:
        yield sock.recv(2048)


def _is_synchronised() -> bool | None:
    """Ask the kernel whether a time service keeps its clock right; None = it does not say."""
    state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    return None if state < 0 else state != _TIME_ERROR


def _number(name: str) -> int | None:
    text = sysctl.read(name)
    return int(text) if text is not None and text.isdigit() else None


def _space(directory: Path) -> tuple[int | None, bool]:
    """Return the free bytes of a directory, or of the first above it that is there, and whether it can be written."""
    for each in (directory, *directory.parents):
        try:
            found = os.statvfs(each)
        except FileNotFoundError:
            continue
        except OSError:
            break
        return found.f_bavail * found.f_frsize, not found.f_flag & os.ST_RDONLY
    return None, False
