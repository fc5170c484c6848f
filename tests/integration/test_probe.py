"""The prober and the monitor against a real kernel: silent blackholes, carrier loss, dead and returning gateways."""

import asyncio
import select
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from probe_net import HAG4, HAG6, KEY, NAMES, PORT, ProbeNet, entered, gateway, thread_in, uplinks

from hagw.model.health import GatewayHealth, UplinkHealth
from hagw.pmf.responder import EchoCustomer, Responder
from hagw.probe.monitor import LinkSeen, Monitor, NeighbourSeen
from hagw.probe.prober import Prober
from tests.attentive import attentive

pytestmark = [pytest.mark.netns, pytest.mark.slow]


class Hag:
    """An echo responder in the hag's namespace."""

    def __init__(self, net: ProbeNet) -> None:
        self._net = net
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._stop.clear()
        ready = threading.Event()
        self._thread = thread_in(self._net.hag, lambda: self._serve(ready))
        assert ready.wait(5)

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5)
            self._thread = None

    def _serve(self, ready: threading.Event) -> None:
        responder = Responder([EchoCustomer(KEY)], ipv6_egress=True)
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as v4,
            socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as v6,
        ):
            v4.bind((HAG4, PORT))
            v6.bind((HAG6, PORT))
            ready.set()
            while not self._stop.is_set():
                for sock in select.select([v4, v6], [], [], 0.05)[0]:
                    datagram, source = sock.recvfrom(2048)
                    answer = responder.respond(datagram, source[0], time.monotonic(), time.time())
                    if answer is not None:
                        sock.sendto(answer, source)


class Cpe:
    """Prober and monitor on their own loop in the cpe's namespace, with a record of what they told."""

    def __init__(self, net: ProbeNet, destination: str = HAG4) -> None:
        self.net = net
        self.news: list[tuple[float, str, str, str]] = []
        self.links: list[tuple[float, LinkSeen]] = []
        self.changes: list[float] = []
        self.neighbours: list[NeighbourSeen] = []
        self.heard: list[float] = []
        self._gateways = (gateway(destination),)
        self._ready = threading.Event()
        self._thread = thread_in(net.cpe, lambda: asyncio.run(self._main()))
        assert self._ready.wait(5)

    async def _main(self) -> None:
        async with attentive() as self.now_s:  # a machine that stands still finds nothing out, and need not
            await self._run()

    async def _run(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.prober = Prober(self._uplink, self._gateway, lambda _, at: self.heard.append(at))
        self.prober.update(uplinks(), self.net.facts(), self._gateways)
        monitor = Monitor(self._link, lambda: self.changes.append(self.now_s()), lambda: None, self._neighbour)
        self._tasks = [self.loop.create_task(self.prober.run()), self.loop.create_task(monitor.run())]
        self._ready.set()
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in self._tasks:
            if not task.cancelled() and task.exception() is not None:
                self.news.append((self.now_s(), "crash", repr(task.exception()), ""))

    def stop(self) -> None:
        for task in self._tasks:
            self.loop.call_soon_threadsafe(task.cancel)
        self._thread.join(5)
        assert not [entry for entry in self.news if entry[1] == "crash"]

    def do(self, call: Callable[[], None]) -> None:
        self.loop.call_soon_threadsafe(call)

    def _uplink(self, name: str, health: UplinkHealth) -> None:
        self.news.append((self.now_s(), name, health.state, health.reason))

    def _gateway(self, name: str, health: GatewayHealth) -> None:
        self.news.append((self.now_s(), name, health.reach, health.reason))

    def _link(self, seen: LinkSeen) -> None:
        self.links.append((self.now_s(), seen))
        self.prober.link_seen(seen)

    def _neighbour(self, seen: NeighbourSeen) -> None:
        self.neighbours.append(seen)
        self.prober.neighbour_seen(seen)

    def until(self, name: str, state: str, limit_s: float = 15.0) -> float:
        """Wait until that was told last about `name`; return when it was told (by `now_s`)."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            told = [entry for entry in list(self.news) if entry[1] == name]
            if told and told[-1][2] == state:
                return told[-1][0]
            time.sleep(0.002)
        raise AssertionError(f"{name} is not {state}: {self.news}")

    def settle(self) -> None:
        for name in NAMES:
            self.until(name, "up")
        self.until("hag", "up")

    def suspicions(self) -> list[tuple[float, str, str, str]]:
        return [entry for entry in self.news if entry[2] in ("suspect", "down") and "first answer" not in entry[3]]


@pytest.fixture(scope="module")
def net() -> Iterator[ProbeNet]:
    built = ProbeNet()
    try:
        built.build()
        yield built
    finally:
        built.remove()


@pytest.fixture
def hag(net: ProbeNet) -> Iterator[Hag]:
    net.heal()
    responder = Hag(net)
    responder.start()
    yield responder
    responder.stop()
    net.heal()


@pytest.fixture
def cpe(net: ProbeNet, hag: Hag) -> Iterator[Cpe]:
    gateway_box = Cpe(net)
    gateway_box.settle()
    yield gateway_box
    gateway_box.stop()


Load = Callable[[str], None]


@pytest.fixture
def load(net: ProbeNet, cpe: Cpe) -> Iterator[Load]:
    """A paced TCP stream over each line, `up` or `down`, from servers of this test alone."""
    children: list[subprocess.Popen[bytes]] = []

    def begin(direction: str) -> None:
        reverse = ["-R"] if direction == "down" else []
        for number in range(3):
            port = str(5201 + number)
            children.append(net.start(net.hag, "iperf3", "-s", "-1", "-p", port))
        time.sleep(0.2)
        for number in range(3):
            ends = ["-c", HAG4, "-B", f"10.97.{number + 1}.2", "-p", str(5201 + number)]
            children.append(net.start(net.cpe, "iperf3", *ends, "-b", "4M", "-l", "1400", "-t", "20", *reverse))
        heard = len(cpe.heard)
        deadline = time.monotonic() + 10.0
        while len(cpe.heard) < heard + 9 and time.monotonic() < deadline:
            time.sleep(0.01)

    yield begin
    for child in children:
        child.kill()
        child.wait()


@pytest.mark.parametrize(
    ("direction", "up", "down", "limit_s"),
    [
        ("down", True, True, 0.3),
        ("up", True, True, 0.3),
        ("up", False, True, 0.3),
        ("up", True, False, 0.3),
        # Nothing is missing at the receiver until the sender's window is full: without delay a long time.
        ("down", True, False, 1.3),
    ],
)
def test_a_silent_blackhole_under_load_is_found_and_its_end_too(
    net: ProbeNet, cpe: Cpe, load: Load, direction: str, up: bool, down: bool, limit_s: float
) -> None:
    load(direction)
    broken_at = cpe.now_s()
    net.blackhole("lte", up=up, down=down)  # takes 20-40 ms itself
    assert cpe.until("lte", "suspect") - broken_at < limit_s
    net.heal()
    healed_at = cpe.now_s()
    assert cpe.until("lte", "up") - healed_at < 1.3
    assert {entry[1] for entry in cpe.suspicions()} == {"lte"}


def test_carrier_loss_is_told_at_once_and_return_is_verified(net: ProbeNet, cpe: Cpe) -> None:
    for _ in range(3):
        net.carrier("dsl", "down")
        down_at = cpe.until("dsl", "down")
        told = [at for at, seen in cpe.links if not seen.carrier]
        assert down_at - told[-1] < 0.005
        net.carrier("dsl", "up")
        up_at = cpe.until("dsl", "up")
        returned = [at for at, seen in cpe.links if seen.carrier]
        assert up_at - returned[-1] < 1.2


def test_a_dead_gateway_is_known_and_lines_stay_up(net: ProbeNet, hag: Hag, cpe: Cpe, load: Load) -> None:
    load("down")
    net.blackhole("core")
    broken_at = cpe.now_s()
    assert cpe.until("hag", "down") - broken_at < 0.7
    net.heal()
    healed_at = cpe.now_s()
    assert cpe.until("hag", "up") - healed_at < 1.3
    assert not [entry for entry in cpe.suspicions() if entry[1] != "hag"]


def test_a_gateway_whose_process_ended_refuses_and_no_line_is_blamed(
    net: ProbeNet, hag: Hag, cpe: Cpe, load: Load
) -> None:
    load("down")
    hag.stop()
    stopped_at = cpe.now_s()
    assert cpe.until("hag", "down") - stopped_at < 0.7
    hag.start()
    cpe.until("hag", "up")
    assert not [entry for entry in cpe.suspicions() if entry[1] != "hag"]


def test_idle_lines_are_silent_and_steady_load_raises_no_suspicion(cpe: Cpe, load: Load) -> None:
    deadline = time.monotonic() + 10.0
    while time.monotonic() - cpe.heard[-1] < 1.5:  # IPv6 has things to multicast after a link came up
        assert time.monotonic() < deadline
        time.sleep(0.01)
    before = len(cpe.heard)
    load("up")
    time.sleep(2.5)
    assert 20 <= len(cpe.heard) - before <= 80
    assert not cpe.suspicions()
    rates = cpe.prober.rates()
    for name in NAMES:
        assert rates[name].bytes_up > 1_000_000
        assert rates[name].bytes_down > 10_000


def test_ipv6_only_works_the_same(net: ProbeNet, hag: Hag) -> None:
    box = Cpe(net, HAG6)
    try:
        box.settle()
    finally:
        box.stop()


def test_an_address_that_changes_keeps_state_and_makes_new_sockets(net: ProbeNet, cpe: Cpe) -> None:
    facts = net.facts()
    gone = replace(facts.uplinks["dsl"], address4=None, address6=None)
    cpe.do(lambda: cpe.prober.update(uplinks(), net.facts(dsl=gone), (gateway(),)))
    cpe.until("dsl", "down")
    cpe.do(lambda: cpe.prober.update(uplinks(), facts, (gateway(),)))
    cpe.until("dsl", "up")
    assert {entry[1] for entry in cpe.suspicions()} == {"dsl"}


def test_addresses_routes_and_rules_are_told_as_one_change(net: ProbeNet, cpe: Cpe) -> None:
    before = len(cpe.changes)
    net.run(net.cpe, "sh", "-c", "ip addr add 10.98.0.1/32 dev lo; ip rule add from 10.98.0.1 lookup 99")
    deadline = time.monotonic() + 10.0
    while len(cpe.changes) == before and time.monotonic() < deadline:
        time.sleep(0.005)
    assert 1 <= len(cpe.changes) - before <= 2
    net.run(net.cpe, "sh", "-c", "ip addr del 10.98.0.1/32 dev lo; ip rule del from 10.98.0.1 lookup 99")


def test_an_idle_line_whose_router_falls_silent_is_asked_at_once_and_again_when_it_is_back(
    net: ProbeNet, cpe: Cpe
) -> None:
    """Nothing but the neighbour table tells: the line carries nothing, and is asked once a minute."""
    facts = net.facts()
    router = IPv4Address("10.97.3.1")
    wired = replace(facts.uplinks["wifi"], gateway4=router)
    cpe.do(lambda: cpe.prober.update(uplinks(), net.facts(wifi=wired), (gateway(),)))
    time.sleep(0.3)
    net.run(net.cpe, "sysctl", "-qw", "net.ipv4.neigh.wifi.retrans_time_ms=50")
    net.run(net.isp, "ip", "link", "set", "wifi", "arp", "off")
    net.run(net.cpe, "ip", "neighbour", "replace", str(router), "dev", "wifi", "nud", "failed")
    began = cpe.now_s()
    took_ms = 1000 * (cpe.until("wifi", "suspect") - began)
    assert any(not seen.answers for seen in cpe.neighbours if seen.address == router)
    print(f"router silent: suspect {took_ms:.0f} ms later")
    time.sleep(1.0)
    net.run(net.isp, "ip", "link", "set", "wifi", "arp", "on")
    net.run(net.isp, "ip", "neighbour", "flush", "dev", "wifi")
    net.run(net.isp, "ping", "-c", "1", "-W", "1", "10.97.3.2")
    cpe.until("wifi", "up")
    assert any(seen.answers for seen in cpe.neighbours if seen.address == router)


def test_an_overrun_event_queue_is_survived(net: ProbeNet, cpe: Cpe) -> None:
    blocked = threading.Event()
    cpe.do(lambda: blocked.wait(10) and None)
    lines = [f"route {verb} 10.99.{i >> 8}.{i & 255}/32 dev lo" for i in range(4000) for verb in ("add", "del")]
    with entered(net.cpe):
        subprocess.run(["ip", "-batch", "-"], input="\n".join(lines).encode(), check=True, capture_output=True)
    before = len(cpe.changes)
    blocked.set()
    deadline = time.monotonic() + 10.0
    while len(cpe.changes) == before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(cpe.changes) > before
    net.carrier("wifi", "down")
    cpe.until("wifi", "down")
    net.carrier("wifi", "up")
    cpe.until("wifi", "up")
