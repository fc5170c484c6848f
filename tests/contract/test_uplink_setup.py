"""What the owner has hagw configure on uplinks' interfaces, and how interfaces are found, on the real kernel."""

import json
import re
import socket
import struct
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from namespaces import Namespace, link

from hagw.config.load import load
from hagw.control.clear import restore
from hagw.control.store import Store, namespace_identity
from hagw.kernel.machine import Machine
from hagw.model.facts import Facts
from hagw.model.intent import CpeIntent
from hagw.model.resources import Address, KernelState, LinkSetting
from hagw.plan import cpe
from hagw.plan.diff import diff

pytestmark = pytest.mark.netns

CONFIG = """
version: 1
role: cpe
lan: {interfaces: [lan0]}
uplinks:
  - name: fibre
    kind: ethernet
    INTERFACE
    address: static
    addresses: [192.0.2.10/24, "2001:db8:2::10/64"]
    gateway4: 192.0.2.1
    gateway6: fe80::1
    mtu: 1400
  - {name: other, kind: dsl, interface: other0}
gateways:
  - name: hag
    addresses: [198.51.100.10]
    customer: home
    key: 8f3c1d5e7a9b02468ace13579bdf0f1e2d3c4b5a69788796a5b4c3d2e1f00a1b
"""


def intent(interface: str = "interface: wan0", without: str = "") -> CpeIntent:
    found = load(CONFIG.replace("INTERFACE", interface).replace(without, ""), "hagw.yaml")
    assert isinstance(found, CpeIntent)
    return found


class Box:
    """A gateway in a namespace with `lan0`, `wan0` (down) and `other0`."""

    def __init__(self, namespace: Callable[[str], Namespace], directory: Path) -> None:
        self.inside, self.isp = namespace("cpe"), namespace("isp")
        for name in ("lan0", "wan0", "other0"):
            link(self.inside, name, self.isp, f"far-{name}")
        self.inside.ip("link set wan0 down", "link set wan0 address 02:00:5e:00:00:07")
        self.isp.ip("address add 192.0.2.1/24 dev far-wan0", "address add 2001:db8:2::1/64 dev far-wan0 nodad")
        self._directory = directory
        self.port = self.open()

    def open(self) -> Machine:
        with self.inside.entered():
            return Machine(Store(self._directory, namespace_identity()))

    def facts(self, wanted: CpeIntent) -> Facts:
        with self.inside.entered():
            return self.port.facts(wanted)

    def settle(self, wanted: CpeIntent) -> KernelState:
        """Bring the kernel to the desired state, in as many passes as facts change by it."""
        for _ in range(3):
            with self.inside.entered():
                state = cpe.desired(wanted, self.port.facts(wanted), {}, intercept4=False, intercept6=False)
                self.port.write(diff(self.port.read(), state))
                assert self.port.read() == state
        return state

    def sysctl(self, name: str) -> str:
        return self.inside.run("sysctl", "-n", name).strip()

    def restore(self) -> tuple[str, ...]:
        with self.inside.entered():
            port = Machine(Store(self._directory, namespace_identity()))
            notes = restore(port)
            port.close()
        return notes

    def links(self) -> dict[str, tuple[int, bool, list[str]]]:
        """Return each link's MTU, whether it is up, and its addresses but the link-local ones."""
        found: list[dict[str, Any]] = json.loads(self.inside.run("ip", "-j", "address"))
        return {
            each["ifname"]: (
                each["mtu"],
                "UP" in each["flags"],
                [f"{a['local']}/{a['prefixlen']}" for a in each["addr_info"] if a["scope"] != "link"],
            )
            for each in found
        }


@pytest.fixture
def box(namespace: Callable[[str], Namespace], tmp_path: Path) -> Iterator[Box]:
    made = Box(namespace, tmp_path)
    yield made
    made.port.close()


def test_a_static_line_is_configured_used_and_taken_back(box: Box) -> None:
    before = box.links()
    state = box.settle(intent())
    assert box.links()["wan0"] == (1400, True, ["192.0.2.10/24", "2001:db8:2::10/64"])
    assert {key for key in state if key[0] in ("link", "address")} == {
        ("link", "wan0", "mtu"),
        ("link", "wan0", "up"),
        ("address", "wan0", "192.0.2.10/24"),
        ("address", "wan0", "2001:db8:2::10/64"),
    }
    assert "via 192.0.2.1 dev wan0" in box.inside.run("ip", "route", "show", "table", "5101")
    assert "192.0.2.1" in box.inside.run("ip", "route", "get", "203.0.113.1", "from", "192.0.2.10")
    box.inside.run("ping", "-c1", "-W2", "-I", "192.0.2.10", "192.0.2.1")
    box.inside.run("ping", "-c1", "-W2", "-I", "2001:db8:2::10", "2001:db8:2::1")
    assert box.restore() == ()
    assert box.links() == before
    assert "5101" not in box.inside.run("ip", "route", "show", "table", "all")


def test_one_pass_is_enough_on_an_interface_that_is_up(box: Box) -> None:
    box.inside.ip("link set wan0 up")
    wanted = intent()
    with box.inside.entered():
        state = cpe.desired(wanted, box.port.facts(wanted), {}, intercept4=False, intercept6=False)
        box.port.write(diff(box.port.read(), state))
        after = cpe.desired(wanted, box.port.facts(wanted), {}, intercept4=False, intercept6=False)
    assert [step.resource.key for step in diff(state, after)] in ([], [("nft",)])  # the table knows own addresses


def test_what_others_undo_is_repaired(box: Box) -> None:
    state = box.settle(intent())
    box.inside.ip("address del 192.0.2.10/24 dev wan0", "link set wan0 mtu 1300", "link set other0 mtu 1300")
    with box.inside.entered():
        plan = diff(box.port.read(), state)
        assert {type(step.resource) for step in plan} >= {Address, LinkSetting}
    box.settle(intent())
    assert box.links()["wan0"] == (1400, True, ["192.0.2.10/24", "2001:db8:2::10/64"])
    assert box.links()["other0"][0] == 1300


def test_what_others_set_stays_theirs(box: Box) -> None:
    box.inside.ip("link set wan0 up", "address add 192.0.2.10/24 dev wan0", "address add 192.0.2.77/24 dev wan0")
    state = box.settle(intent())
    assert ("address", "wan0", "192.0.2.10/24") not in state
    assert "via 192.0.2.1 dev wan0" in box.inside.run("ip", "route", "show", "table", "5101")
    box.inside.ip("link set wan0 mtu 1333")
    notes = box.restore()
    assert len(notes) == 1
    assert "mtu of wan0 is 1333, set by somebody else" in notes[0]
    assert box.links()["wan0"] == (1333, True, ["192.0.2.10/24", "192.0.2.77/24"])


def test_settings_that_are_no_longer_wanted_are_put_back(box: Box) -> None:
    before = box.links()
    box.settle(intent())
    box.settle(intent(without="mtu: 1400"))
    assert box.links()["wan0"][0] == 1500
    other = CONFIG.replace("INTERFACE", "interface: wan0").replace("192.0.2.10/24, ", "192.0.2.11/24, ")
    changed = load(other, "hagw.yaml")
    assert isinstance(changed, CpeIntent)
    box.settle(changed)
    assert box.links()["wan0"][2] == ["192.0.2.11/24", "2001:db8:2::10/64"]
    box.restore()
    assert box.links() == before


def test_what_the_driver_can_do_is_known(box: Box) -> None:
    fibre = box.facts(intent()).uplinks["fibre"]
    assert 0 < fibre.mtu_min <= 1280
    assert fibre.mtu_max > 9216


@pytest.mark.parametrize(
    "interface", ["match: {name: 'wa*'}", "match: {mac: 02:00:5E:00:00:07}", "match: {driver: veth, name: '[!o]*'}"]
)
def test_a_matched_line_follows_its_interface(box: Box, interface: str) -> None:
    before = box.links()
    parameters = [f"net.ipv{v}.conf.{{}}.{leaf}" for v, leaf in ((4, "rp_filter"), (6, "keep_addr_on_down"))]
    values = [box.sysctl(name.format("wan0")) for name in parameters]
    wanted = intent(interface)
    assert box.facts(wanted).uplinks["fibre"].interface == "wan0"
    box.settle(wanted)
    assert box.links()["wan0"][2] == ["192.0.2.10/24", "2001:db8:2::10/64"]
    box.inside.ip("link set wan0 down", "link set wan0 name wan7", "link set wan7 up")
    assert box.facts(wanted).uplinks["fibre"].interface == "wan7"
    state = box.settle(wanted)
    assert ("address", "wan7", "192.0.2.10/24") in state
    assert "dev wan7" in box.inside.run("ip", "route", "show", "table", "5101")
    assert [box.sysctl(name.format("wan7")) for name in parameters] == ["2", "1"]
    assert box.restore() == ()
    assert box.links()["wan7"] == before["wan0"]
    assert [box.sysctl(name.format("wan7")) for name in parameters] == values


def test_an_interface_made_anew_is_another_one(box: Box) -> None:
    box.settle(intent())
    box.inside.ip("link del wan0")
    link(box.inside, "wan0", box.isp, "far-wan1")
    box.inside.ip("link set wan0 mtu 1450")
    box.settle(intent())
    assert box.links()["wan0"] == (1400, True, ["192.0.2.10/24", "2001:db8:2::10/64"])
    assert box.restore() == ()
    assert box.links()["wan0"] == (1450, True, [])


def test_parameters_of_an_interface_that_got_another_name_are_put_back(box: Box) -> None:
    value = box.sysctl("net.ipv4.conf.other0.rp_filter")
    box.settle(intent())
    box.inside.ip("link set other0 down", "link set other0 name another0", "link set another0 up")
    assert box.restore() == ()
    assert box.sysctl("net.ipv4.conf.another0.rp_filter") == value


def test_a_default_route_that_somebody_removes_goes_on_for_as_long_as_its_address_stands(box: Box) -> None:
    """Its own client would take the address along; in IPv6 the router itself says so, and is believed."""
    wanted = intent()
    box.inside.ip(
        "link set other0 up",
        "address add 198.18.7.77/24 dev other0",
        "route add default via 198.18.7.1 dev other0 metric 10",
        "address add 2001:db8:7::77/64 dev other0 nodad",
        "route add default via 2001:db8:7::1 dev other0 metric 10",
    )
    box.settle(wanted)
    box.inside.ip("route del default via 198.18.7.1 dev other0", "route del default via 2001:db8:7::1 dev other0")
    box.settle(wanted)
    assert "via 198.18.7.1 dev other0" in box.inside.run("ip", "route", "show", "table", "5102")
    assert box.inside.run("ip", "-6", "route", "show", "table", "5102") == ""
    box.inside.ip("route add default via 198.18.7.2 dev other0 metric 10")
    box.settle(wanted)
    assert "via 198.18.7.2 dev other0" in box.inside.run("ip", "route", "show", "table", "5102")
    box.inside.ip("route del default via 198.18.7.2 dev other0", "address add 198.18.7.78/24 dev other0")
    box.settle(wanted)
    assert "via 198.18.7.2 dev other0" in box.inside.run("ip", "route", "show", "table", "5102")
    box.inside.ip("address flush dev other0 scope global", "address add 198.18.7.79/24 dev other0")
    box.settle(wanted)
    assert box.inside.run("ip", "route", "show", "table", "5102") == ""
    box.inside.ip("address add 198.18.7.77/24 dev other0")
    assert box.facts(wanted).uplinks["other"].gateway4 is None, "an old route does not come back with its address"


def test_a_match_that_fits_several_or_none_says_so(box: Box) -> None:
    wanted = intent("match: {driver: veth}")
    assert box.facts(wanted).uplinks["fibre"].interface == "wan0"  # not the LAN's, nor the other line's
    box.inside.ip("link add more0 type veth peer name less0")
    fibre = box.facts(wanted).uplinks["fibre"]
    assert (fibre.ifindex, fibre.problem) == (None, "less0, more0, wan0 all have driver veth: make the match narrower")
    box.settle(wanted)
    assert "lookup 5101" not in box.inside.run("ip", "rule")
    box.inside.ip("link del more0")
    box.settle(wanted)
    assert "dev wan0" in box.inside.run("ip", "route", "show", "table", "5101")
    box.inside.ip("link del wan0")
    fibre = box.facts(wanted).uplinks["fibre"]
    assert fibre.problem == "lan0 is a LAN interface already; other0 is uplink other's already"
    box.settle(wanted)
    assert box.facts(intent("match: {name: 'x*'}")).uplinks["fibre"].problem == "no interface has name x*"


def test_without_any_interface_the_rest_is_reached_and_what_may_be_a_line_is_guarded(box: Box) -> None:
    alone = CONFIG.replace("  - {name: other, kind: dsl, interface: other0}\n", "")
    allow = "firewall: {allow: [{name: ssh, protocol: tcp, destination_port: ['22'], uplinks: [fibre]}]}\n"
    wanted = load(alone.replace("INTERFACE", "match: {name: '[ow]*'}") + allow, "hagw.yaml")
    assert isinstance(wanted, CpeIntent)
    box.settle(wanted)
    rules = box.inside.run("nft", "list", "table", "inet", "hagw")
    assert re.search(r'iifname \{ "(other0", "wan0|wan0", "other0)" \} jump uplink_input', rules)
    assert "dport 22" not in rules
    box.inside.ip("link del other0")
    box.settle(wanted)
    rules = box.inside.run("nft", "list", "table", "inet", "hagw")
    assert 'iifname "wan0" jump uplink_forward' in rules
    assert 'iifname "wan0" tcp dport 22' in rules
    box.inside.ip("link del wan0")
    box.settle(wanted)
    assert "jump uplink" not in box.inside.run("nft", "list", "table", "inet", "hagw")


def test_a_bridge_with_the_hardwares_address_is_not_taken_for_it(box: Box) -> None:
    box.inside.ip("link add br0 type bridge", "link set br0 address 02:00:5e:00:00:07")
    fibre = box.facts(intent("match: {mac: '02:00:5e:00:00:07', driver: veth}")).uplinks["fibre"]
    assert fibre.interface == "wan0"
    both = box.facts(intent("match: {mac: '02:00:5e:00:00:07'}")).uplinks["fibre"]
    assert both.problem.startswith("br0, wan0 all have MAC")


def test_advertisements_are_taken_where_the_owner_wants_them_although_the_machine_forwards(box: Box) -> None:
    box.inside.ip("link set wan0 up")
    box.inside.sysctl("net/ipv6/conf/wan0/accept_ra", "0")
    box.isp.wait_for_link_local()
    by_itself = re.sub(r"    address: static\n(.*\n){3}", "    address: ra\n", CONFIG)
    wanted = load(by_itself.replace("INTERFACE", "interface: wan0"), "hagw.yaml")
    assert isinstance(wanted, CpeIntent)
    box.settle(wanted)
    deadline = time.monotonic() + 20
    while (fibre := box.facts(wanted).uplinks["fibre"]).gateway6 is None or fibre.address6 is None:
        assert time.monotonic() < deadline, fibre
        advertise(box.isp, "far-wan0")  # again and again, as routers do: an interface just up may miss one
        time.sleep(0.05)
    assert fibre.address6 in ip_network("2001:db8:2::/64")
    box.settle(wanted)
    assert f"via {fibre.gateway6} dev wan0" in box.inside.run("ip", "-6", "route", "show", "table", "5101")
    assert box.restore() == ()
    assert box.sysctl("net.ipv6.conf.wan0.accept_ra") == "0"


def advertise(router: Namespace, interface: str) -> None:
    """Send one router advertisement (RFC 4861, section 4.2) for 2001:db8:2::/64."""
    head = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
    prefix = struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 86_400, 14_400, 0) + ip_network("2001:db8:2::/64")[0].packed
    with router.entered(), socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        sock.sendto(head + prefix, ("ff02::1", 0, 0, socket.if_nametoindex(interface)))
