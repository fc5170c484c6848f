"""The observe loop: carries questions and counters for `hagw.health.fleet`, and tells what changed.

Answers are read before counters, and both before anything is judged, so that a turn that came late finds what arrived
meanwhile: the event loop serves ready sockets first, and the turn is resumed one round after its timer.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from hagw.health.fleet import Fleet, Orders
from hagw.health.gateway import Told
from hagw.health.gateways import Ask
from hagw.health.line import Counters, LineSetup
from hagw.health.link import Link
from hagw.health.portal import PortalAnswer
from hagw.model.facts import Facts, UplinkFacts
from hagw.model.health import GatewayHealth, UplinkHealth
from hagw.model.intent import GatewayIntent, IPAddress, PortalIntent, UplinkIntent
from hagw.probe.counters import CounterFile, InterfaceCounters, link_header_bytes
from hagw.probe.monitor import LinkSeen, NeighbourSeen
from hagw.probe.path import Endpoints, Path, endpoints
from hagw.probe.portal import PAGE_BYTES, look_for_portal
from hagw.uplinks.interfaces import resolve

_DATAGRAM: Final = 256  # larger than any answer: a longer datagram must not look like one
_BATCH: Final = 32
_RATE_S: Final = 1.0
_OFFSET_NEWS_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class LineRates:
    """What a line carries, in IP bytes: rates over the last second, totals since its interface was made."""

    down_bps: float
    up_bps: float
    bytes_down: int
    bytes_up: int
    probe_bytes: int = 0  # echoes and their answers, pages asked for


@dataclass(slots=True)
class _Line:
    uplink: UplinkIntent
    facts: UplinkFacts
    header_bytes: int
    own_rx: int = 0  # our answers and questions, not traffic
    own_tx: int = 0
    own_rx_bytes: int = 0
    own_tx_bytes: int = 0
    page_bytes: int = 0
    counters: Counters = field(default_factory=lambda: Counters(0, 0, 0, 0))
    rates: LineRates = field(default_factory=lambda: LineRates(0.0, 0.0, 0, 0))
    rates_at: float | None = None
    lost_routers: set[IPAddress] = field(default_factory=set)  # asked where they are, and did not answer

    def link(self) -> Link:
        facts = self.facts
        return Link(
            enabled=self.uplink.enabled,
            present=facts.ifindex is not None,
            absence=facts.problem,
            admin_up=facts.admin_up,
            carrier=facts.carrier,
            address=facts.address4 is not None or facts.address6 is not None,
        )


class Prober:
    """Measures every uplink against every gateway; callbacks come from the event loop's thread."""

    def __init__(
        self,
        on_uplink_change: Callable[[str, UplinkHealth], None],
        on_gateway_change: Callable[[str, GatewayHealth], None],
        on_heard: Callable[[str, float], None],
        portal_check: PortalIntent | None = None,
    ) -> None:
        """Look for captive portals as `portal_check` says, None = never."""
        self._portal_check: PortalIntent | None = None
        self.look_for_portals(portal_check)
        self._looking: set[str] = set()
        self._on_uplink_change = on_uplink_change
        self._on_gateway_change = on_gateway_change
        self._on_heard = on_heard
        self._fleet = Fleet(time.monotonic())
        self._lines: dict[str, _Line] = {}
        self._interfaces: dict[bytes, _Line] = {}
        self._gateways: tuple[GatewayIntent, ...] = ()
        self._paths: dict[Ask, Path] = {}
        self._heard_at: dict[str, float] = {}
        self._told_uplinks: dict[str, tuple[str, ...]] = {}
        self._told_gateways: dict[str, GatewayHealth] = {}
        self._waiter: asyncio.Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    # -- told from outside -----------------------------------------------------------------------------------

    def update(self, uplinks: Sequence[UplinkIntent], facts: Facts, gateways: Sequence[GatewayIntent]) -> None:
        """Take uplinks, their facts and the gateways (most preferred first) as they are now; state is kept."""
        before = self._lines
        self._lines = {}
        rerouted: list[str] = []
        for uplink in (resolve(each, facts) for each in uplinks):
            found = facts.uplinks.get(uplink.name) or UplinkFacts(uplink.name, None)
            line = before.get(uplink.name)
            if line is None or line.facts.ifindex != found.ifindex:  # another interface counts from zero
                line = _Line(uplink, found, link_header_bytes(uplink.interface))
            if _leads(line.facts) != _leads(found):
                rerouted.append(uplink.name)
            line.uplink, line.facts = uplink, found
            self._lines[uplink.name] = line
        self._gateways = tuple(gateways)
        self._interfaces = {line.uplink.interface.encode(): line for line in self._lines.values()}
        ways = self._ways()
        setups = [_setup(line, ways[name]) for name, line in self._lines.items()]
        self._fleet.configure(setups, [gateway.name for gateway in gateways], time.monotonic())
        self._replace_paths(ways)
        for name in rerouted:
            self._fleet.rerouted(name)
        self._tell()
        self._wake()

    def look_for_portals(self, portal_check: PortalIntent | None) -> None:
        """Look for captive portals as this says from now on, None = never."""
        self._portal_check = portal_check if portal_check is not None and portal_check.enabled else None

    def link_seen(self, seen: LinkSeen) -> None:
        """Take a link event of the monitor at once; facts read later say the same."""
        for name, line in self._lines.items():
            if line.facts.ifindex == seen.ifindex:
                link = line.link()
                link = replace(link, present=seen.present, admin_up=seen.admin_up, carrier=seen.carrier)
                self._fleet.link_changed(name, link, time.monotonic())
                self._tell()
                self._wake()

    def neighbour_seen(self, seen: NeighbourSeen) -> None:
        """Take from the monitor that a neighbour answers or not: a line whose router changed in that is asked at once.

        Silence of the router is found out by what is lost, mostly sooner; its return by nothing else, on a line that is
        asked ever more rarely, than by its announcing itself, or by answering somebody else on this machine.
        """
        for name, line in self._lines.items():
            if line.facts.ifindex != seen.ifindex or seen.address not in (line.facts.gateway4, line.facts.gateway6):
                continue
            if seen.answers != (seen.address in line.lost_routers):
                continue  # nothing new
            line.lost_routers ^= {seen.address}
            self._fleet.router_seen(name)
            self._wake()

    def report_gateway(self, gateway: str, answered: bool, reason: str) -> None:
        """Take what a worker's connection to a gateway met: accepted, or refused or reset with this reason."""
        now = time.monotonic()
        if answered:
            self._heard(gateway, now)
            self._fleet.connection_answered(gateway, now)
        else:
            self._fleet.connection_failed(gateway, reason, now)
        self._tell()
        self._wake()

    def prove(self, gateway: str) -> None:
        """Ask a gateway that does not know our address over every line, so that it gets to know it."""
        now = time.monotonic()
        for ask, path in list(self._paths.items()):
            if ask.gateway == gateway and path.may_prove(now):
                self._send(ask)

    # -- asked from outside ----------------------------------------------------------------------------------

    def uplinks(self) -> Mapping[str, UplinkHealth]:
        """Return the present health by uplink name."""
        return self._fleet.uplinks()

    def gateways(self) -> Mapping[str, GatewayHealth]:
        """Return the present health by gateway name."""
        return self._fleet.gateways()

    def heard_at(self, gateway: str) -> float | None:
        """Return when (CLOCK_MONOTONIC) the gateway last gave a proof of life, None = never."""
        return self._heard_at.get(gateway)

    def rates(self) -> Mapping[str, LineRates]:
        """Return what each uplink carries now and has carried."""
        return {
            name: replace(line.rates, probe_bytes=line.own_rx_bytes + line.own_tx_bytes + line.page_bytes)
            for name, line in self._lines.items()
        }

    # -- the loop --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Observe until cancelled."""
        self._loop = asyncio.get_running_loop()
        counters = CounterFile()
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    orders = self._turn(counters)
                    for line in orders.portal_checks:
                        self._look_for_portal(group, line)
                    await self._pause(orders.again_s)
        finally:
            counters.close()
            for path in self._paths.values():
                self._close(path)
            self._loop = None

    def _turn(self, counters: CounterFile) -> Orders:
        self._count(counters)
        orders = self._fleet.turn(time.monotonic(), {name: line.counters for name, line in self._lines.items()})
        for ask in orders.asks:
            self._send(ask)
        self._tell()
        return orders

    async def _pause(self, seconds: float) -> None:
        """Wait, or less when woken. Cheaper than an Event with a timeout."""
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(seconds, self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # -- counters --------------------------------------------------------------------------------------------

    def _count(self, counters: CounterFile) -> None:
        read = counters.read(self._interfaces.keys())
        now = time.monotonic()
        for interface, line in self._interfaces.items():
            found = read.get(interface)
            if found is not None:
                line.counters = _without_own(found, line)
                _rate(found, line, now)

    # -- captive portals -------------------------------------------------------------------------------------

    def _look_for_portal(self, group: asyncio.TaskGroup, line: str) -> None:
        """Ask for the page over the first gateway's address family; one request a line at a time."""
        ends = next((p.ends for ask, p in self._paths.items() if ask.line == line), None)
        check = self._portal_check
        if check is not None and check.enabled and ends is not None and line not in self._looking:
            self._looking.add(line)
            self._lines[line].page_bytes += PAGE_BYTES
            group.create_task(self._ask_page(line, ends, check))

    async def _ask_page(self, line: str, ends: Endpoints, page: PortalIntent) -> None:
        try:
            answer: PortalAnswer = await look_for_portal(ends, page)
        finally:
            self._looking.discard(line)
        if any(ask.line == line and path.ends == ends for ask, path in self._paths.items()):
            self._fleet.portal_answered(line, answer, time.monotonic())
            self._tell()
            self._wake()

    # -- questions and answers -------------------------------------------------------------------------------

    def _send(self, ask: Ask) -> None:
        path = self._paths.get(ask)
        line = self._lines.get(ask.line)
        if path is None or line is None:
            return
        now = time.monotonic()
        question = path.ask(now)
        self._fleet.asked(ask, question.sequence, now)
        try:
            for sock in path.open():
                self._listen(ask, path, sock)
            path.send(question)
        except ConnectionRefusedError:
            self._fleet.refused(ask, now)
        except OSError:
            # No device, address or route just now: unanswered, and new sockets for the next question.
            self._close(path)
        else:
            line.own_tx += 1
            line.own_tx_bytes += path.ends.packet_bytes

    def _listen(self, ask: Ask, path: Path, sock: socket.socket) -> None:
        if self._loop is not None:
            self._loop.add_reader(sock, self._readable, ask, path, sock)

    def _readable(self, ask: Ask, path: Path, sock: socket.socket) -> None:
        self._receive(ask, path, sock)
        self._tell()

    def _receive(self, ask: Ask, path: Path, sock: socket.socket) -> None:
        for _ in range(_BATCH):
            try:
                datagram = sock.recv(_DATAGRAM)
            except BlockingIOError:
                return
            except ConnectionRefusedError:
                self._fleet.refused(ask, time.monotonic())
                continue
            except OSError:
                self._close(path)
                return
            self._take(ask, path, datagram)

    def _take(self, ask: Ask, path: Path, datagram: bytes) -> None:
        line = self._lines.get(ask.line)
        now = time.monotonic()
        echo = path.asker.accept(datagram, now)
        if echo is None or line is None:
            return
        line.own_rx += 1
        line.own_rx_bytes += path.ends.packet_bytes
        offset_s = echo.wall_s + echo.rtt_s / 2 - time.clock_gettime(time.CLOCK_BOOTTIME)
        told = Told(echo.ipv6, offset_s, echo.draining, echo.overloaded)
        self._fleet.answered(ask, echo.sequence, echo.rtt_s, told, now, echo.passage)
        self._heard(ask.gateway, now)
        if echo.unproven and path.may_prove(now):
            self._send(ask)
        if self._fleet.is_hurried():
            self._wake()

    def _heard(self, gateway: str, now: float) -> None:
        self._heard_at[gateway] = now
        self._on_heard(gateway, now)

    def _ways(self) -> dict[str, dict[str, dict[int, Endpoints]]]:
        """Return where to ask from and to, by line, gateway and family."""
        return {
            name: {gateway.name: endpoints(line.uplink, line.facts, gateway) for gateway in self._gateways}
            for name, line in self._lines.items()
        }

    def _replace_paths(self, ways: Mapping[str, Mapping[str, Mapping[int, Endpoints]]]) -> None:
        wanted = {
            Ask(line, gateway, version): ends
            for line, gateways in ways.items()
            for gateway, versions in gateways.items()
            for version, ends in versions.items()
        }
        for ask, path in list(self._paths.items()):
            if wanted.get(ask) != path.ends:
                self._close(path)
                del self._paths[ask]
        for ask, ends in wanted.items():
            if ask not in self._paths:
                self._paths[ask] = Path(ends)

    def _close(self, path: Path) -> None:
        for sock in path.sockets:
            if self._loop is not None:
                self._loop.remove_reader(sock)
        path.close()

    # -- news ------------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        states = self._fleet.states()
        if states != self._told_uplinks:
            changed = [name for name, state in states.items() if self._told_uplinks.get(name) != state]
            self._told_uplinks = states
            healths = self._fleet.uplinks()
            for name in changed:
                self._on_uplink_change(name, healths[name])
        for name, gateway in self._fleet.gateways().items():
            if _is_news(self._told_gateways.get(name), gateway):
                self._told_gateways[name] = gateway
                self._on_gateway_change(name, gateway)


def _setup(line: _Line, ways: Mapping[str, Mapping[int, Endpoints]]) -> LineSetup:
    uplink = line.uplink
    versions = {gateway: tuple(by_version) for gateway, by_version in ways.items()}
    return LineSetup(
        uplink.name, uplink.kind, line.link(), metered=uplink.metered, style=uplink.probing, versions=versions
    )


def _leads(facts: UplinkFacts) -> tuple[IPAddress | None, ...]:
    return facts.address4, facts.gateway4, facts.address6, facts.gateway6


def _is_news(told: GatewayHealth | None, now: GatewayHealth) -> bool:
    if told is None or _standing(told) != _standing(now):
        return True
    if told.clock_offset_s is None or now.clock_offset_s is None:
        return told.clock_offset_s != now.clock_offset_s
    return abs(told.clock_offset_s - now.clock_offset_s) > _OFFSET_NEWS_S


def _standing(health: GatewayHealth) -> tuple[object, ...]:
    return health.reach, health.reason, health.ipv6, health.draining, health.overloaded


def _without_own(read: InterfaceCounters, line: _Line) -> Counters:
    """Subtract our own packets; an answer counted by the kernel but not read yet must not make the sum fall later."""
    before = line.counters
    header = line.header_bytes
    return Counters(
        max(before.rx_packets, read.rx_packets - line.own_rx),
        max(before.tx_packets, read.tx_packets - line.own_tx),
        max(before.rx_bytes, read.rx_bytes - header * read.rx_packets - line.own_rx_bytes),
        max(before.tx_bytes, read.tx_bytes - header * read.tx_packets - line.own_tx_bytes),
    )


def _rate(read: InterfaceCounters, line: _Line, now: float) -> None:
    span = _RATE_S if line.rates_at is None else now - line.rates_at
    if span < _RATE_S:
        return
    down = read.rx_bytes - line.header_bytes * read.rx_packets
    up = read.tx_bytes - line.header_bytes * read.tx_packets
    if line.rates_at is None:
        line.rates = LineRates(0.0, 0.0, down, up)
    else:
        down_bps = max(0, down - line.rates.bytes_down) * 8 / span
        up_bps = max(0, up - line.rates.bytes_up) * 8 / span
        line.rates = LineRates(down_bps, up_bps, down, up)
    line.rates_at = now
