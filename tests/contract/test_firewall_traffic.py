"""The base firewall at work: what comes in from the lines, and what does not."""

import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from namespaces import Namespace
from routers import INTENT, SERVER4, SERVER6, Topology, build, machine, settle
from services import Server, ask, bound, connect, fetch, is_answered

from hagw.control.clear import restore
from hagw.kernel.machine import Machine
from hagw.model.intent import AllowIntent, FirewallIntent

pytestmark = pytest.mark.netns

PORT = 8022
INSIDE = {4: "192.168.77.2", 6: "fd77::2"}
LINE = {("a", 4): "10.1.0.2", ("a", 6): "2001:db8:1::2", ("b", 4): "10.2.0.2", ("b", 6): "2001:db8:2::2"}
OUTSIDE = {4: SERVER4, 6: SERVER6}
BOTH = pytest.mark.parametrize("family", [4, 6])
CONFIG = """
version: 1
role: cpe
lan: {interfaces: [lan0]}
uplinks: [{name: a, kind: dsl, interface: a0}]
gateways: [{name: hag, addresses: [198.51.100.10], customer: home, key: %s}]
firewall: {allow: ALLOWED}
""" % ("0123456789abcdef" * 4)
ON, OFF = FirewallIntent(), FirewallIntent(enabled=False)


@dataclass
class Site:
    """The topology, whose providers lead the LAN's own addresses to the gateway, with servers inside."""

    topology: Topology
    port: Machine

    def settle(self, firewall: FirewallIntent = ON) -> None:
        """Bring the CPE to the desired state with this firewall."""
        settle(self.topology, self.port, intercept=False, intent=replace(INTENT, firewall=firewall))

    def counters(self) -> dict[str, int]:
        """Return the table's counters."""
        with self.topology.cpe.entered():
            return self.port.counters()

    def reaches(self, address: str, port: int = PORT, *, line: str = "a") -> bool:
        """Tell whether the server in the Internet can open a connection and gets an answer."""
        self.lead(address, line)
        family = 6 if ":" in address else 4
        try:
            with connect(self.topology.server, address, port, (OUTSIDE[family], 0)) as sock:
                return bool(ask(sock))
        except TimeoutError:
            return False

    def reaches_by_datagram(self, address: str) -> bool:
        """Tell whether a datagram from outside is answered."""
        family = 6 if ":" in address else 4
        with bound(self.topology.server, socket.SOCK_DGRAM, OUTSIDE[family], 0) as sock:
            sock.connect((address, PORT))
            return is_answered(sock, 0.7)

    def answers_ping(self, address: str) -> bool:
        """Tell whether an echo request from outside is answered."""
        family = 6 if ":" in address else 4
        ping = ("ping", "-n", "-c", "1", "-W", "0.7", "-I", OUTSIDE[family], address)
        return " 0 received" not in self.topology.server.run(*ping, check=False)

    def lead(self, address: str, line: str) -> None:
        """Have the Internet lead to an address over a line's provider."""
        number = {"a": 1, "b": 2}[line]
        if ":" in address:
            self.topology.server.run("ip", "-6", "route", "replace", address, "via", f"2001:db8:{number}1::1")
        else:
            self.topology.server.run("ip", "route", "replace", address, "via", f"10.{number}1.0.1")


@pytest.fixture
def site(namespace: Callable[[str], Namespace], tmp_path: Path) -> Iterator[Site]:
    topology = build(namespace)
    for number, isp in enumerate(topology.isps.values(), start=1):
        isp.run("nft", "flush", "ruleset")
        isp.run("ip", "route", "add", "192.168.77.0/24", "via", f"10.{number}.0.2")
        isp.run("ip", "-6", "route", "add", "fd77::/64", "via", f"2001:db8:{number}::2")
    for name in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
        topology.cpe.sysctl(name, "1")
    port = machine(topology, tmp_path)
    found = Site(topology, port)
    for address in INSIDE.values():
        found.lead(address, "a")
    with ExitStack() as stack:
        for name, where in (("inside", topology.host), ("gateway", topology.cpe), ("outside", topology.server)):
            server = Server(name)
            for address in ("0.0.0.0", "::"):
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    server.listen(bound(where, kind, address, PORT))
            stack.enter_context(server.running())
        yield found
    port.close()


@BOTH
def test_nothing_from_outside_reaches_the_lan(site: Site, family: int) -> None:
    inside = INSIDE[family]
    site.settle(OFF)
    assert all((site.reaches(inside), site.reaches_by_datagram(inside), site.answers_ping(inside)))
    site.settle()
    assert not site.reaches(inside)
    assert not site.reaches_by_datagram(inside)
    assert not site.answers_ping(inside)
    assert site.counters()["blocked_forward"] >= 3


@BOTH
def test_nothing_from_outside_reaches_the_gateway(site: Site, family: int) -> None:
    address = LINE["a", family]
    site.settle(OFF)
    assert all((site.reaches(address), site.reaches_by_datagram(address), site.answers_ping(address)))
    site.settle()
    assert not site.reaches(address)
    assert not site.reaches_by_datagram(address)
    assert not site.answers_ping(address)
    assert site.counters()["blocked_input"] >= 3
    assert not site.reaches({4: "192.168.77.1", 6: "fd77::1"}[family]), "its address in the LAN is no way around"


@BOTH
def test_a_line_that_is_switched_off_is_no_way_in(site: Site, family: int) -> None:
    lines = tuple(replace(uplink, enabled=uplink.name != "b") for uplink in INTENT.uplinks)
    settle(site.topology, site.port, intercept=False, intent=replace(INTENT, uplinks=lines))
    for address in (LINE["b", family], INSIDE[family]):
        assert not site.reaches(address, line="b")


@BOTH
def test_what_begins_inside_goes_out_and_is_answered(site: Site, family: int) -> None:
    site.settle()
    for where in (site.topology.host, site.topology.cpe):
        assert fetch(where, OUTSIDE[family], PORT)[:2] == ["outside", LINE["a", family]]
        where.run("ping", "-n", "-c", "1", "-W", "2", OUTSIDE[family])
    for address in ({4: "192.168.77.1", 6: "fd77::1"}[family], LINE["a", family]):
        assert fetch(site.topology.host, address, PORT)[0] == "gateway", "LAN hosts use the gateway's services"


@BOTH
@pytest.mark.parametrize("line", ["a", "b"])
def test_what_is_allowed_comes_in_and_is_answered_over_its_line(site: Site, family: int, line: str) -> None:
    site.settle(FirewallIntent(allow=(AllowIntent("ssh", "tcp", ((22, 22), (8000, 8100))),)))
    assert site.reaches(LINE[line, family], line=line)
    assert not site.reaches(INSIDE[family], line=line)
    assert not site.reaches_by_datagram(LINE[line, family])
    assert site.counters()["allowed"] == 1


@BOTH
def test_lines_and_sources_narrow_what_is_allowed(site: Site, family: int) -> None:
    site.settle(FirewallIntent(allow=(AllowIntent("ssh", "tcp", ((PORT, PORT),), uplinks=("b",)),)))
    assert not site.reaches(LINE["a", family])
    assert site.reaches(LINE["b", family], line="b")
    near = (ip_network(f"{OUTSIDE[family]}"), ip_network({4: "2001:db8:77::/48", 6: "192.0.2.0/24"}[family]))
    site.settle(FirewallIntent(allow=(AllowIntent("near", "tcp", ((PORT, PORT),), near),)))
    assert site.reaches(LINE["a", family])
    far = (ip_network({4: "192.0.2.0/24", 6: "2001:db8:77::/48"}[family]),)
    site.settle(FirewallIntent(allow=(AllowIntent("far", "tcp", ((PORT, PORT),), far),)))
    assert not site.reaches(LINE["a", family])


@BOTH
def test_a_host_in_the_lan_can_be_opened_to_the_outside(site: Site, family: int) -> None:
    host = (ip_network(INSIDE[family]),)
    site.settle(FirewallIntent(allow=(AllowIntent("web", "tcp", ((PORT, PORT),), destinations=host),)))
    assert site.reaches(INSIDE[family])
    assert not site.reaches(LINE["a", family])
    assert not site.reaches_by_datagram(INSIDE[family])


@BOTH
def test_pings_can_be_allowed(site: Site, family: int) -> None:
    site.settle(FirewallIntent(allow=(AllowIntent("ping", "icmp"),)))
    assert site.answers_ping(LINE["a", family])
    assert not site.answers_ping(INSIDE[family])


@BOTH
@pytest.mark.parametrize("to", ["gateway", "inside"])
def test_a_connection_from_outside_that_is_older_than_the_table_goes_on(site: Site, family: int, to: str) -> None:
    """As an ssh session over which hagw is installed: conntrack has never seen it."""
    address = LINE["a", family] if to == "gateway" else INSIDE[family]
    with connect(site.topology.server, address, PORT, (OUTSIDE[family], 0)) as sock:
        assert ask(sock)[0] == to
        site.settle()
        assert ask(sock)[0] == to
        site.settle(FirewallIntent(allow=(AllowIntent("ping", "icmp"),)))
        assert ask(sock)[0] == to
        assert not site.reaches(address), "while new ones are refused"
        with site.topology.cpe.entered():
            restore(site.port)
        assert ask(sock)[0] == to
    assert site.reaches(address)


@BOTH
def test_the_answer_to_a_dhcp_client_arrives(site: Site, family: int) -> None:
    """A server answers from its own address what was broadcast: no flow that conntrack could know."""
    site.settle()
    server, client = {4: (67, 68), 6: (547, 546)}[family]
    with bound(site.topology.cpe, socket.SOCK_DGRAM, {4: "0.0.0.0", 6: "::"}[family], client) as waiting:
        waiting.settimeout(2)
        with bound(site.topology.isps["a"], socket.SOCK_DGRAM, {4: "0.0.0.0", 6: "::"}[family], server) as offering:
            offering.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            if family == 4:
                offering.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"customer")
                offering.sendto(b"offer", ("255.255.255.255", client))
            else:
                far = _index(site.topology.isps["a"], "customer")
                offering.sendto(b"offer", (_link_local(site.topology.cpe, "a0"), client, 0, far))
            assert waiting.recv(100) == b"offer"


def test_neighbours_are_found_again(site: Site) -> None:
    """The provider asks first: its own packet to the gateway needs the gateway's answer."""
    site.settle()
    isp = site.topology.isps["a"]
    site.topology.cpe.run("ip", "neigh", "flush", "all")
    isp.run("ip", "neigh", "flush", "all")
    with bound(isp, socket.SOCK_DGRAM, "2001:db8:1::1", 0) as sock:
        sock.sendto(b"?", (LINE["a", 6], 9))
    deadline = time.monotonic() + 10.0
    while "lladdr" not in isp.run("ip", "-6", "neigh", "show", LINE["a", 6]):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@BOTH
def test_a_path_that_is_narrower_than_the_line_is_found_out(site: Site, family: int) -> None:
    """The provider's complaint about a packet that is too big reaches the host that has sent it."""
    site.settle()
    site.topology.isps["a"].run("ip", "link", "set", "net", "mtu", "1300")
    with site.topology.host.entered():
        sock = socket.socket(socket.AF_INET6 if family == 6 else socket.AF_INET, socket.SOCK_DGRAM)
    with sock:
        if family == 4:
            sock.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, 23, 2)
        sock.settimeout(2)
        sock.connect((OUTSIDE[family], PORT))
        sock.send(bytes(1400))
        with pytest.raises(OSError, match="Message too long"):
            sock.recv(10)


def _index(where: Namespace, interface: str) -> int:
    with where.entered():
        return socket.if_nametoindex(interface)


@BOTH
def test_check_warns_in_an_ssh_session_that_could_not_be_opened_again(
    site: Site, family: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "hagw.yaml"
    monkeypatch.setenv("SSH_CONNECTION", f"{OUTSIDE[family]} 50000 {LINE['a', family]} 22")

    def check(allow: str) -> str:
        config.write_text(CONFIG.replace("ALLOWED", allow))
        argv = (sys.executable, "-m", "hagw", "check", str(config))
        with site.topology.cpe.entered():
            return subprocess.run(argv, capture_output=True, text=True, check=True).stderr

    assert "over uplink a" in check("[]")
    allow = re.search(r"Add (\{.*\}) to", check("[]"))
    assert allow is not None
    assert check(f"[{allow[1]}]") == "", "what it proposes is right"
    monkeypatch.setenv("SSH_CONNECTION", f"{INSIDE[family]} 50000 192.168.77.1 22")
    assert check("[]") == ""


def _link_local(where: Namespace, interface: str) -> str:
    shown = where.run("ip", "-6", "-o", "address", "show", "dev", interface, "scope", "link")
    return shown.split()[3].split("/")[0]
