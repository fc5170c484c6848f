"""The owner's rules on forwarded packets, in a real kernel: flows leave by the line that was decided, or not at all."""

import random
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from namespaces import Namespace
from routers import INTENT, SERVER4, SERVER6, Topology, build, machine, settle, settle_as
from services import Server, ask, bound, is_answered

from hagw.control.snapshots import cpe_snapshot
from hagw.kernel.machine import Machine
from hagw.model.flow import UDP, FlowKey
from hagw.model.health import UplinkHealth
from hagw.model.intent import CpeIntent, RuleIntent, TrafficDescriptor
from hagw.policy.decide import Policy
from tests.attentive import watching

pytestmark = pytest.mark.netns

HOST = {SERVER4: "192.168.77.2", SERVER6: "fd77::2"}
LINES = {1: ("10.1.0.2", "2001:db8:1::2"), 2: ("10.2.0.2", "2001:db8:2::2")}
PORTS = (80, 443, 5060)
DSCPS = (0, 10, 46)
FLOWS = 24


def rules(dice: random.Random, mac: str) -> tuple[RuleIntent, ...]:
    """Return rules that meet what the host sends now and then."""
    choices: dict[str, tuple[object, ...]] = {
        "sources": (ip_network("192.168.77.2/32"), ip_network("192.168.77.128/25"), ip_network("fd77::/64")),
        "destinations": (ip_network("203.0.113.0/24"), ip_network("203.0.113.11/32"), ip_network("2001:db8:113::/48")),
        "destination_ports": ((80, 80), (81, 443), (5000, 5100)),
        "protocols": (UDP, 6),
        "dscps": DSCPS,
        "macs": (mac, "02:00:00:00:00:01"),
        "interfaces": ("lan0", "guests0"),
        "applications": ("voip", "quic", "video"),
    }
    found = []
    for number in range(6):
        names = dice.sample(sorted(choices), 2)
        traffic = TrafficDescriptor(**{name: tuple(dice.sample(choices[name], 2)) for name in names})  # type: ignore[arg-type]
        mode = dice.choice(("load-balancing", "direct", "block"))
        lines = () if mode == "block" else dice.choice(((), ("a",), ("b",)))
        found.append(RuleIntent(f"r{number}", number, traffic, mode, lines))  # type: ignore[arg-type]
    return tuple(found)


def leaves_by(host: Namespace, flow: FlowKey) -> int | None:
    """Send the flow's first packet for real; return the slot of the line the server saw it from, None if refused."""
    ipv6 = ":" in flow.server
    with host.entered():
        sock = socket.socket(socket.AF_INET6 if ipv6 else socket.AF_INET, socket.SOCK_DGRAM)
    with sock:
        level, option = (socket.IPPROTO_IPV6, socket.IPV6_TCLASS) if ipv6 else (socket.IPPROTO_IP, socket.IP_TOS)
        sock.setsockopt(level, option, (flow.dscp or 0) << 2)
        sock.settimeout(2.0)
        sock.connect((flow.server, flow.server_port))
        try:
            _, seen = ask(sock)
        except TimeoutError:
            raise
        except OSError:
            return None
    return next(slot for slot, addresses in LINES.items() if seen in addresses)


@pytest.fixture
def site(namespace: Callable[[str], Namespace], tmp_path: Path) -> tuple[Topology, Machine]:
    topology = build(namespace)
    topology.cpe.sysctl("net/ipv4/icmp_ratelimit", "0")  # every refusal is looked at
    topology.cpe.sysctl("net/ipv6/icmp/ratelimit", "0")
    return topology, machine(topology, tmp_path)


@pytest.mark.parametrize("down", [(), ("a",)])
def test_forwarded_flows_take_the_way_that_was_decided(site: tuple[Topology, Machine], down: tuple[str, ...]) -> None:
    topology, port = site
    server = Server("server")
    for address in (SERVER4, SERVER6):
        for number in PORTS:
            server.listen(bound(topology.server, socket.SOCK_DGRAM, address, number))
    health = {name: UplinkHealth("down" if name in down else "up") for name in ("a", "b")}
    mac = topology.host.run("cat", "/sys/class/net/eth0/address").strip()
    dice = random.Random(f"steer {down}")
    ways = set()
    with server.running():
        for _ in range(3):
            intent: CpeIntent = replace(INTENT, rules=rules(dice, mac))
            settle(topology, port, down=down, intent=intent)
            with topology.cpe.entered():
                policy = Policy(cpe_snapshot(intent, port.facts(intent), health, {}, {}))
            for _ in range(FLOWS // 3):
                address = dice.choice((SERVER4, SERVER6))
                flow = FlowKey(
                    HOST[address], 0, address, dice.choice(PORTS), UDP, dice.choice(DSCPS), interface="lan0", mac=mac
                )
                decision = policy.forward(flow)
                assert leaves_by(topology.host, flow) == (decision.uplinks[0] if decision.uplinks else None), decision
                ways.add(decision.uplinks[:1])
    port.close()
    assert len(ways) >= 2, "every flow went the same way: this shows nothing"


@pytest.mark.parametrize(
    ("protocol", "packet", "slot"),
    [
        (1, bytes.fromhex("0800 a7ff 5000 0000"), 2),
        (47, bytes.fromhex("0000 0800") + bytes(20), 2),
        (50, bytes.fromhex("00001001 00000001") + bytes(24), 1),
    ],
    ids=["icmp", "gre", "esp"],
)
def test_what_has_no_ports_takes_the_way_that_was_decided(
    site: tuple[Topology, Machine], protocol: int, packet: bytes, slot: int
) -> None:
    topology, port = site
    wanted = RuleIntent("tunnels", 1, TrafficDescriptor(protocols=(protocol,)), "load-balancing", ("ab"[slot - 1],))
    others = RuleIntent("others", 2, TrafficDescriptor(), "load-balancing", ("ba"[slot - 1],))
    settle(topology, port, intent=replace(INTENT, rules=(wanted, others)))
    port.close()
    with topology.server.entered():
        server = socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol)
    with topology.host.entered():
        host = socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol)
    with server, host:
        server.settimeout(10.0)
        host.sendto(packet, (SERVER4, 0))
        _, (seen, _) = server.recvfrom(2048)
    assert seen == LINES[slot][0]


def test_a_line_that_was_cut_carries_again_when_its_cap_is_lifted(site: tuple[Topology, Machine]) -> None:
    topology, port = site
    server = Server("server")
    server.listen(bound(topology.server, socket.SOCK_DGRAM, SERVER4, 80))
    flow = FlowKey(HOST[SERVER4], 0, SERVER4, 80, UDP)
    free = {"a": UplinkHealth("up"), "b": UplinkHealth("down")}
    with server.running():
        for stage, carried in (("normal", True), ("cut", False), ("normal", True)):
            health = {**free, "a": UplinkHealth("down" if stage == "cut" else "up", cap=stage)}  # type: ignore[arg-type]
            settle_as(topology, port, INTENT, health)
            assert carries(topology.host, flow) == carried, stage
    port.close()


BROWSER = 20  # connections that a page makes it begin at once; the kernel answers 50 in a burst, then 1000 a second


def test_a_browser_hears_at_once_that_quic_is_refused(namespace: Callable[[str], Namespace], tmp_path: Path) -> None:
    """Every one of many; and only while TCP to the same server would be bonded."""
    topology = build(namespace)
    port = machine(topology, tmp_path)
    server = Server("server")
    for address in (SERVER4, SERVER6):
        for number in (443, 444):
            server.listen(bound(topology.server, socket.SOCK_DGRAM, address, number))
    one_line = RuleIntent("one", 1, TrafficDescriptor(destinations=(ip_network(f"{SERVER6}/128"),)), "direct", ("a",))
    with server.running():
        settle(topology, port)
        for address in (SERVER4, SERVER6):
            time.sleep(0.1)
            took = [refused_after_s(topology.host, address, 443) for _ in range(BROWSER)]
            assert max(took) < 0.1, took
            assert carries(topology.host, FlowKey(HOST[address], 0, address, 444, UDP))
        settle(topology, port, intercept=False)
        assert carries(topology.host, FlowKey(HOST[SERVER4], 0, SERVER4, 443, UDP))
        settle(topology, port, intent=replace(INTENT, bypass=(ip_network(f"{SERVER4}/32"),), rules=(one_line,)))
        for address in (SERVER4, SERVER6):
            assert carries(topology.host, FlowKey(HOST[address], 0, address, 443, UDP)), address
    port.close()


def refused_after_s(host: Namespace, address: str, port: int) -> float:
    """Send a datagram from a socket of its own; return how long the refusal took."""
    with host.entered():
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    with sock:
        sock.settimeout(2.0)
        sock.connect((address, port))
        with watching() as passed_s:
            sock.send(b"initial")
            with pytest.raises(ConnectionRefusedError):
                sock.recv(100)
            return passed_s()


def carries(host: Namespace, flow: FlowKey) -> bool:
    """Say whether a flow's first packet is answered within half a second."""
    family = socket.AF_INET6 if ":" in flow.server else socket.AF_INET
    with host.entered(), socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect((flow.server, flow.server_port))
        return is_answered(sock, 0.5)
