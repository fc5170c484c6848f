"""A CPE in a namespace: one LAN host, two lines to two providers, and a server that both lead to.

    host 192.168.77.2 -- lan0 cpe a0 10.1.0.2 -- 10.1.0.1 ispa -- 203.0.113.10 server
                             cpe b0 10.2.0.2 -- 10.2.0.1 ispb --/
The providers drop what their customer sends from an address that is not theirs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from namespaces import Namespace, link

from hagw.control.store import Store, namespace_identity
from hagw.kernel.machine import Machine
from hagw.model.health import UplinkHealth
from hagw.model.intent import CpeIntent, GatewayIntent, UplinkIntent
from hagw.model.resources import KernelState
from hagw.plan import cpe
from hagw.plan.diff import diff

GATEWAY = GatewayIntent("hag", (ip_address("198.51.100.10"),), 5124, 5124, "home", bytes(range(32)))
INTENT = CpeIntent(
    lan_interfaces=("lan0",),
    uplinks=(
        UplinkIntent(name="a", kind="dsl", interface="a0", slot=1),
        UplinkIntent(name="b", kind="wwan", interface="b0", slot=2, cost=5),
    ),
    gateways=(GATEWAY,),
)
FILTER = (
    "add table inet sources; add chain inet sources f {{ type filter hook forward priority 0; }}; "
    'add rule inet sources f iifname "customer" ip saddr != {four} drop; '
    'add rule inet sources f iifname "customer" ip6 saddr != {six} drop'
)
SERVER4 = "203.0.113.10"
SERVER6 = "2001:db8:113::10"


@dataclass(frozen=True)
class Topology:
    """All namespaces of the picture above."""

    host: Namespace
    cpe: Namespace
    server: Namespace
    isps: dict[str, Namespace]


def build(namespace: Callable[[str], Namespace]) -> Topology:
    """Make the topology; the CPE forwards and its main table leads over line a, as a plain router's."""
    host, cpe_side, server = namespace("host"), namespace("cpe"), namespace("server")
    isps = {"a": namespace("ispa"), "b": namespace("ispb")}
    link(host, "eth0", cpe_side, "lan0")
    cpe_side.ip(*_address("lan0", "192.168.77.1/24", "fd77::1/64"))
    host.ip(*_address("eth0", "192.168.77.2/24", "fd77::2/64"), *_default("192.168.77.1", "fd77::1"))
    server.ip(*_address("lo", f"{SERVER4}/32", f"{SERVER6}/128"))
    for number, (name, isp) in enumerate(isps.items(), start=1):
        isp.sysctl("net/ipv4/ip_forward", "1")
        isp.sysctl("net/ipv6/conf/all/forwarding", "1")
        link(cpe_side, f"{name}0", isp, "customer")
        link(isp, "net", server, f"{name}0")
        four, six = f"10.{number}.0", f"2001:db8:{number}:"
        far4, far6 = f"10.{number}1.0", f"2001:db8:{number}1:"
        isp.run("nft", FILTER.format(four=f"{four}.0/24", six=f"{six}:/64"))
        isp.ip(
            *_address("customer", f"{four}.1/24", f"{six}:1/64"),
            *_address("net", f"{far4}.1/24", f"{far6}:1/64"),
            f"route add {SERVER4}/32 via {far4}.2",
            f"route add {SERVER6}/128 via {far6}:2",
        )
        server.ip(
            *_address(f"{name}0", f"{far4}.2/24", f"{far6}:2/64"),
            f"route add {four}.0/24 via {far4}.1",
            f"route add {six}:/64 via {far6}:1",
        )
        metric = 100 * number
        cpe_side.ip(
            *_address(f"{name}0", f"{four}.2/24", f"{six}:2/64"),
            *_default(f"{four}.1", f"{six}:1", f" metric {metric}"),
        )
    for each in (host, cpe_side, server, *isps.values()):
        each.wait_for_link_local()
    return Topology(host, cpe_side, server, isps)


def machine(topology: Topology, directory: Path) -> Machine:
    """Open the kernel port in the CPE's namespace."""
    with topology.cpe.entered():
        return Machine(Store(directory, namespace_identity()))


def settle(
    topology: Topology,
    port: Machine,
    *,
    down: tuple[str, ...] = (),
    intercept: bool = True,
    intent: CpeIntent = INTENT,
) -> KernelState:
    """Bring the CPE to the desired state; the lines named in `down` are unhealthy."""
    health = {name: UplinkHealth("down" if name in down else "up") for name in ("a", "b")}
    return settle_as(topology, port, intent, health, intercept=intercept)


def settle_as(
    topology: Topology, port: Machine, intent: CpeIntent, health: dict[str, UplinkHealth], *, intercept: bool = True
) -> KernelState:
    """Bring the CPE to the desired state for what is known of the lines."""
    with topology.cpe.entered():
        facts = port.facts(intent)
        wanted = cpe.desired(intent, facts, health, intercept4=intercept, intercept6=intercept)
        port.write(diff(port.read(), wanted))
        assert diff(port.read(), wanted) == ()
    return wanted


def _address(interface: str, four: str, six: str) -> tuple[str, str]:
    return f"address add {four} dev {interface}", f"address add {six} dev {interface} nodad"


def _default(four: str, six: str, metric: str = "") -> tuple[str, str]:
    return f"route add default via {four}{metric}", f"route add ::/0 via {six}{metric}"
