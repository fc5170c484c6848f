"""Ask a kernel to do each thing hagw needs, in a network namespace that ends with this process.

Run as `python -m hagw.doctor.trial`: prints one JSON document, trial to what went wrong ("" = it works). A process of
its own, since a namespace cannot be left again and the user namespace it takes without root needs a single thread.
"""

import ctypes
import fcntl
import json
import os
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address
from typing import Final, Literal

from hagw.dataplane.mptcp_socket import IPPROTO_MPTCP, MPTCP_INFO, SOL_MPTCP, SubflowReader, token_of
from hagw.errors import HagwError
from hagw.kernel import conntrack, sysctl
from hagw.kernel.facts import load_congestion_control, mptcp_schedulers
from hagw.kernel.mptcp import PathLimits, PathManager
from hagw.kernel.routing import Routing
from hagw.kernel.ruleset import try_ruleset
from hagw.model.ids import MARK_INTERCEPT, PRIORITY_INTERCEPT, PRIORITY_LOCAL, TABLE_INTERCEPT, TABLE_MAIN
from hagw.model.resources import Route, Rule, Sysctl

_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 0x1
_IP_TRANSPARENT: Final = 19
_IP_BIND_ADDRESS_NO_PORT: Final = 24
_JOIN_TIMEOUT_S: Final = 1.0
_UNUSED_MARK: Final = 0x2A000000

_CHAIN: Final = "table inet t {{ chain c {{ type {kind} hook {hook} priority {priority}; {rule}; }}; }}"


class Lacking(Exception):
    """The kernel did something else than was asked of it."""


def main() -> None:
    """Print what each trial met."""
    why = enter_fresh_namespace()
    document: dict[str, object] = {"why_not_tried": why, "lacks": {}, "schedulers": [], "path_managers": []}
    if not why:
        document["lacks"] = {name: attempt(trial) for name, trial in TRIALS}
        document["schedulers"] = mptcp_schedulers()
        document["path_managers"] = (sysctl.read("net/mptcp/available_path_managers") or "").split()
    json.dump(document, sys.stdout)


def enter_fresh_namespace() -> str:
    """Leave for a namespace of our own, its loopback up; return why that is not possible."""
    libc = ctypes.CDLL(None, use_errno=True)
    wanted = _CLONE_NEWNET if os.geteuid() == 0 else _CLONE_NEWNET | _CLONE_NEWUSER
    if libc.unshare(wanted) != 0:
        return f"no network namespace of its own: {os.strerror(ctypes.get_errno())}"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))
    return ""


def attempt(trial: Callable[[], None]) -> str:
    """Return what went wrong, "" for nothing."""
    try:
        trial()
    except (OSError, HagwError, Lacking) as why:
        return " ".join(str(why).split()) or type(why).__name__
    return ""


# -- sockets


def _mptcp() -> None:
    socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP).close()


def _mptcp6() -> None:
    socket.socket(socket.AF_INET6, socket.SOCK_STREAM, IPPROTO_MPTCP).close()


def _connects() -> None:
    with _connected() as (client, server):
        if token_of(client) is None or token_of(server) is None:
            raise Lacking("a connection over loopback fell back to plain TCP")


def _mptcp_info() -> None:
    with _connected() as (client, _):
        client.getsockopt(SOL_MPTCP, MPTCP_INFO, 16)


def _full_info() -> None:
    with _connected() as (client, _):
        SubflowReader().read_at_once(client)


def _subflow_infos() -> None:
    with _connected() as (client, _):
        if not SubflowReader().read_in_parts(client):
            raise Lacking("no subflow is listed")


def _bind_without_port() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP) as sock:
        sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)


def _transparent() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, _IP_TRANSPARENT, 1)


def _shared_port() -> None:
    with ExitStack() as both:
        port = 0
        for _ in range(2):
            sock = both.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(("127.0.0.1", port))
            sock.listen()
            port = sock.getsockname()[1]


def _bbr() -> None:
    if not load_congestion_control("bbr"):
        raise Lacking("bbr is not there")


@contextmanager
def _connected() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Yield both ends of a Multipath TCP connection over which data was acknowledged in both directions."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP) as client, _connected_from(client) as server:
        yield client, server


@contextmanager
def _connected_from(client: socket.socket) -> Iterator[socket.socket]:
    with ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP))
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client.settimeout(_JOIN_TIMEOUT_S)
        client.connect(listener.getsockname())
        server = sockets.enter_context(listener.accept()[0])
        server.settimeout(_JOIN_TIMEOUT_S)
        for one, other in ((client, server), (server, client)):
            one.sendall(b"?")
            other.recv(1)
        yield server


# -- path manager


def _path_manager() -> None:
    PathManager().close()


def _userspace_path_manager() -> None:
    with PathManager() as manager:
        missing = manager.missing_commands()
    if missing:
        raise Lacking(f"no command to {' or '.join(missing)} subflows")
    _choose("userspace")
    _choose("kernel")


def _subflow_joins() -> None:
    """Join a second subflow as a CPE does; the other end accepts it as a HAG does."""
    with PathManager() as manager:
        manager.set_limits(PathLimits(8, 0))
        _choose("userspace")
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP) as client:
            _choose("kernel")  # a socket keeps the path manager of the moment it was made; an accepted one is new
            with _connected_from(client):
                _join(manager, client)


def _join(manager: PathManager, client: socket.socket) -> None:
    token = token_of(client)
    if token is None:
        raise Lacking("no Multipath TCP")
    address, port = client.getpeername()
    loopback = socket.if_nametoindex("lo")
    manager.sf_create(token, ip_address("127.0.0.2"), 2, ip_address(address), port, loopback)
    deadline = time.monotonic() + _JOIN_TIMEOUT_S
    while client.getsockopt(SOL_MPTCP, MPTCP_INFO, 16)[0] == 0:
        if time.monotonic() > deadline:
            raise Lacking("the subflow was not established")
        time.sleep(0.005)


def _choose(path_manager: Literal["kernel", "userspace"]) -> None:
    if sysctl.read("net/mptcp/pm_type") is not None:
        sysctl.write(Sysctl("net/mptcp/pm_type", "1" if path_manager == "userspace" else "0"))
    elif sysctl.read("net/mptcp/path_manager") is not None:
        sysctl.write(Sysctl("net/mptcp/path_manager", path_manager))
    else:
        raise Lacking("neither net.mptcp.pm_type nor net.mptcp.path_manager")


# -- filter, routes, parameters


def _ruleset(text: str) -> Callable[[], None]:
    def put() -> None:
        try_ruleset(f"flush ruleset; {text}")

    return put


def _rule(rule: str, *, kind: str = "filter", hook: str = "prerouting", priority: str = "mangle") -> Callable[[], None]:
    return _ruleset(_CHAIN.format(kind=kind, hook=hook, priority=priority, rule=rule))


def _parameter(name: str) -> Callable[[], None]:
    def read() -> None:
        if sysctl.read(name) is None:
            raise Lacking(f"there is no {name.replace('/', '.')}")

    return read


def _policy_routing() -> None:
    routing = Routing()
    try:
        routing.put_route(Route(4, TABLE_INTERCEPT, "lo", kind="local"))
        routing.put_rule(Rule(4, PRIORITY_INTERCEPT, TABLE_INTERCEPT, mark=MARK_INTERCEPT))
        routing.put_rule(Rule(4, PRIORITY_LOCAL, TABLE_MAIN, incoming="lo", suppress_default=True))
        held = len(list(routing.read()))
    finally:
        routing.close()
    if held != 3:
        raise Lacking(f"of a route and two rules {held} were kept")


def _conntrack() -> None:
    conntrack.forget(_UNUSED_MARK, _UNUSED_MARK)


TRIALS: Final[tuple[tuple[str, Callable[[], None]], ...]] = (
    ("mptcp", _mptcp),
    ("mptcp-connection", _connects),
    ("mptcp-ipv6", _mptcp6),
    ("path-manager", _path_manager),
    ("userspace-path-manager", _userspace_path_manager),
    ("subflow-join", _subflow_joins),
    ("mptcp-info", _mptcp_info),
    ("mptcp-full-info", _full_info),
    ("mptcp-subflow-info", _subflow_infos),
    ("blackhole-timeout", _parameter("net/mptcp/blackhole_timeout")),
    ("scheduler-choice", _parameter("net/mptcp/scheduler")),
    ("bind-address-no-port", _bind_without_port),
    ("bbr", _bbr),
    ("transparent", _transparent),
    ("reuseport", _shared_port),
    ("migrate-requests", _parameter("net/ipv4/tcp_migrate_req")),
    ("policy-routing", _policy_routing),
    ("nftables", _ruleset("table inet t { counter c { }; set s { type ipv4_addr; flags interval; }; }")),
    ("tproxy-ipv4", _rule("meta nfproto ipv4 meta l4proto tcp tproxy ip to 127.0.0.1:5128 accept")),
    ("tproxy-ipv6", _rule("meta nfproto ipv6 meta l4proto tcp tproxy ip6 to [::1]:5128 accept")),
    ("socket-match", _rule("meta l4proto tcp socket transparent 1 socket wildcard 0 accept")),
    ("conntrack-mark", _rule("ct state new ct mark and 0x3f000000 == 0 ct mark set 0x1000000")),
    ("conntrack-netlink", _conntrack),
    ("address-type", _rule("fib daddr type local return")),
    ("segment-size", _rule("tcp flags syn tcp option maxseg size set rt mtu", hook="forward")),
    ("reset", _rule("meta l4proto tcp reject with tcp reset")),
    ("expiring-sets", _ruleset("table inet t { set s { typeof ip daddr . tcp dport; flags timeout; timeout 30s; }; }")),
    ("masquerade-ipv4", _rule("meta nfproto ipv4 masquerade", kind="nat", hook="postrouting", priority="srcnat")),
    ("masquerade-ipv6", _rule("meta nfproto ipv6 masquerade", kind="nat", hook="postrouting", priority="srcnat")),
)


if __name__ == "__main__":
    main()
