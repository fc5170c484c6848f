"""The reconcile loop: whatever happened, look at facts and health again, tell the workers, put the kernel right.

Which configuration it works by may change while it runs (`switch`); `hagw.control.transaction` decides that.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from hagw.control import unannounced
from hagw.control.arrival_watch import ArrivalWatch
from hagw.control.condition import Condition
from hagw.control.drain import Drain
from hagw.control.efficiency import GoodputMeter
from hagw.control.explaining import explanation
from hagw.control.gate import Gate
from hagw.control.lan_trial import is_open
from hagw.control.lines import Lines
from hagw.control.pace import Pace
from hagw.control.ports import HealthPort, Interception, KernelPort, Preview
from hagw.control.publisher import MEASURES_S, Publisher
from hagw.control.refusals import Refusals
from hagw.control.snapshots import UNKNOWN_GATEWAY
from hagw.control.standing import Standing
from hagw.control.status import StatusInputs, flows_document, status_document
from hagw.control.status_documents import ChannelStatus, CpeVersionStatus, FlowsDocument, StatusDocument
from hagw.control.upgrade import renew
from hagw.control.usage import CapsPort, NoCaps
from hagw.control.worker_seat import SeatPlan
from hagw.control.workers import Workers
from hagw.errors import HagwError, Refused
from hagw.log import log_of
from hagw.model.facts import Facts
from hagw.model.finding import Finding
from hagw.model.flow import FlowKey, by_dns
from hagw.model.health import GatewayHealth, UplinkHealth
from hagw.model.intent import CpeIntent, CustomerIntent, Intent
from hagw.model.resources import Family
from hagw.model.snapshot import CpeSnapshot, Snapshot
from hagw.model.told import Told
from hagw.plan.caller import Caller
from hagw.plan.ranking import usable
from hagw.plan.slots import inherit_slots
from hagw.plan.ways import forwarding, own_way
from hagw.policy.explain import unnamed
from hagw.policy.schedule import has_hours
from hagw.uplinks.interfaces import resolved

SETTLE_S: Final = 0.02  # events come in bursts: one pass for all of them
FOLLOW_UPS_MAX: Final = 3

log = log_of("hagw.gateway")


class Gateway:
    """The control plane of either role, over the ports it is given."""

    def __init__(
        self,
        intent: Intent,
        version: str,
        kernel: KernelPort,
        health: HealthPort,
        seats_for: Callable[[Intent], tuple[SeatPlan, ...]],
    ) -> None:
        self.workers = Workers(seats_for(intent), on_event=self._take_event, on_change=self.look_again)
        self._intent = intent
        self._version = version
        self._kernel = kernel
        self._health = health
        self._trigger = asyncio.Event()
        self._gate = Gate()
        self.lines = Lines()
        self.goodput = GoodputMeter()
        self._publisher = Publisher(health, self.lines, self.workers.publish)
        self._drain = Drain(self._publisher.drain_mark, self.workers, self._publish)
        self._arrivals = ArrivalWatch(kernel, self.look_again)
        self._refusals = Refusals(kernel)
        self._pace = Pace()
        self._in_force = Interception()
        self._facts = Facts(uplinks={})
        self._rivals: tuple[Finding, ...] = ()
        self.channels: Callable[[], Mapping[str, ChannelStatus]] = dict
        self.cpe_versions: Callable[[], list[CpeVersionStatus]] = list  # a HAG's, by its control channels
        self._passing = asyncio.Lock()  # a pass works by one intent from its first look to its last step
        self._seats = seats_for
        self.standing: Callable[[], Standing] = Standing
        self.caps: CapsPort = NoCaps()
        self.customers: Any = None  # a HAG's, for the API
        self.speedtests: Any = None  # a CPE's, likewise
        self.examine: Callable[[], Awaitable[tuple[Finding, ...]]] = _nothing
        self.alerts: Callable[[], Mapping[str, Any]] = dict  # what is wrong, as somebody is told of it
        self.lan_trial: Callable[[Family], Awaitable[str]] | None = None
        self.names_of: Callable[[str], tuple[str, ...]] = lambda _: ()  # of a server's address, as far as known
        self.on_unproven: Callable[[str, str, str], None] = lambda *_: (
            None
        )  # a gateway's name, the line, the gateway's address
        self.on_pass: Callable[[], None] = lambda: None  # the kernel holds what it shall
        self.on_ipv6: Callable[[tuple[str, ...], bool], None] = _ignore  # LAN interfaces, whether IPv6 leads anywhere

    def rivals_seen(self, found: tuple[Finding, ...]) -> None:
        """Show in the status what interferes with us; what ended may have blocked something: that is tried again."""
        if set(self._rivals) - set(found) and self._arrivals.retry():
            self.look_again()
        self._rivals = found

    def customers_changed(self, registered: tuple[CustomerIntent, ...]) -> None:
        """Have the workers serve these customers beside the configuration's, and nobody else, from now on."""
        self._publisher.registered = registered
        if self.published is not None:  # else `prepare` does it
            self._publish()

    def enrolment_changed(self, enrolled: Mapping[str, tuple[str, bytes]]) -> None:
        """Use these names and keys, by gateway, where the configuration has none."""
        self._publisher.enrolled = enrolled
        if self.published is not None:
            self.look_again()

    def told_changed(self, told: Mapping[str, Told]) -> None:
        """Act on what gateways say over their control channels: workers at once, echoes with the next pass."""
        asks_otherwise = self._publisher.take_told(told)
        if self.published is not None:
            self._publish()
            if asks_otherwise:
                self.look_again()

    def prove_addresses(self, gateway: str) -> None:
        """Have a gateway get to know by echoes where we are, over every line."""
        self._health.prove(gateway)

    def look_again(self) -> None:
        """Something changed: have the loop look again. Says nothing of what changed."""
        self._trigger.set()

    def uplink_changed(self, name: str, health: UplinkHealth) -> None:
        """An uplink is judged otherwise: the workers hear of it now, not after a pass under way."""
        self._publish()
        health = self._health.uplinks().get(name, health)  # as it is acted on: data caps may have their say
        log.info("uplink changed", uplink=name, state=health.state, reason=health.reason)
        for family, reason in health.broken.items():
            log.info("uplink's family broken", uplink=name, family=family, reason=reason)
        self.look_again()

    def caps_changed(self) -> None:
        """Data caps leave something else of a line: the workers hear of it now."""
        self._publish()
        self.look_again()

    def gateway_changed(self, name: str, health: GatewayHealth) -> None:
        """A gateway is judged otherwise: the workers hear of it now."""
        self._publish()
        log.info("gateway changed", gateway=name, reach=health.reach, reason=health.reason)
        self.look_again()

    def heard(self, gateway: str, at: float) -> None:
        """Tell the workers that a gateway gave a proof of life at `at` (CLOCK_MONOTONIC)."""
        self.workers.heard(gateway, at)

    async def prepare(self) -> None:
        """Put the kernel right before anything else runs; interception stays as it was found. Raise HagwError."""
        await self._read_facts()
        self._in_force = self._gate.current = await self._kernel.interception()
        await self._kernel.reconcile(self._facts, self._health.uplinks(), self._in_force)
        self._publish()

    async def run(self) -> None:
        """Keep workers, kernel and measurements going, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.workers.run())
            group.create_task(self._reconcile_for_ever())
            group.create_task(self._publish_for_ever())
            group.create_task(self._refusals.run())
            group.create_task(unannounced.watch(self._kernel, self.look_again))
            if isinstance(self._intent, CpeIntent):
                group.create_task(self._arrivals.run())

    def status(self) -> StatusDocument:
        """Return the status document."""
        standing = self.standing()
        self._read_lines()
        return status_document(
            StatusInputs(
                intent=resolved(self._intent, self._facts) if isinstance(self._intent, CpeIntent) else self._intent,
                version=self._version,
                uplinks=self._health.uplinks(),
                gateways=self._health.gateways(),
                traffic=self._health.rates(),
                mptcp=self.lines.mptcp,
                learned=self.lines.learned,
                probe_bytes=self.lines.probe_bytes,
                kept_off=self.lines.kept_off,
                now=asyncio.get_running_loop().time(),
                workers=self.workers.reports(),
                retired=self.workers.retired(),
                goodput=self.goodput.rate(),
                interception=self._in_force,
                counted=self._arrivals.counted,
                trouble=self._pace.trouble,
                rivals=self._rivals,
                blocked=self._arrivals.blocked(),
                drift=self._kernel.drift(),
                standing=standing,
                channels=self.channels(),
                cpe_versions=self.cpe_versions(),
                data_caps=self.caps.documents(),
                draining=self.is_draining,
            )
        )

    @property
    def published(self) -> Snapshot | None:
        """What the workers were told last."""
        return self._publisher.published

    @property
    def intent(self) -> Intent:
        """What is in force now."""
        return self._intent

    async def preview(self, intent: Intent) -> Preview:
        """Read what another intent would change in the kernel; changes nothing. Raise HagwError."""
        return await self._kernel.preview(intent, self._health.uplinks(), self._in_force)

    async def switch(self, intent: Intent) -> int:
        """Work by another intent from now on: workers, measurements, kernel. Return the kernel's steps.

        Raise HagwError when the kernel does not take it; this intent is in force then too, and retried.
        """
        async with self._passing:
            grows = len(self._seats(intent)) > len(self.workers.reports())
            self._forget_changed(intent)
            self._intent = intent
            self._arrivals.retry()
            self._kernel.use(intent)
            try:
                steps = taken = await self._make_true(is_new=True)
                for _ in range(FOLLOW_UPS_MAX):
                    if not steps or await self._are_facts_as_used():
                        break
                    steps = await self._make_true()
                    taken += steps
                return taken
            except HagwError:
                self._pace.failed()
                self.look_again()
                raise
            finally:
                self.workers.resize(self._seats(intent))
                if grows:
                    log.info("workers added", count=len(self.workers.reports()))

    async def condition(self, caller: Caller | None, *, with_trial: bool) -> Condition:
        """Look whether traffic can flow, and how the caller is reached.

        `with_trial`: a connection is also opened to a gateway, from the LAN's side where it is intercepted.
        """
        converter = await self._try() if with_trial and isinstance(self._intent, CpeIntent) else None
        state = self._kernel.verified()
        return Condition(
            workers=sum(w.is_ready(self._publisher.switched_to) for w in self.workers.reports()),
            workers_wanted=len(self.workers.reports()),
            gateway=any(health.reach == "up" for health in self._health.gateways().values()),
            forwarding=forwarding(state),
            management=None if caller is None else own_way(state, caller.server, caller.client, self._facts),
            converter=converter,
        )

    async def _try(self) -> str:
        """Have a connection go to a gateway, the LAN's way where that is open; return why it did not come about."""
        family: Family = 4 if self._in_force.ipv4 else 6
        is_intercepted = self._in_force.ipv4 or self._in_force.ipv6
        assert isinstance(self._intent, CpeIntent)
        if self.lan_trial is None or not is_intercepted or not is_open(self._intent, family):
            return await self.workers.try_gateway()
        return await self.lan_trial(family)

    async def flows(self, recent_s: float) -> FlowsDocument:
        """Return the flows document, with flows closed up to `recent_s` ago."""
        answer = await self.workers.flows(recent_s)
        return flows_document(answer.flows, answer.silent)

    async def busiest(self, most: int) -> dict[str, Any]:
        """Return the flows that carry most now, with their rates, and how many there are."""
        answer = await self.workers.busiest(most)
        return {"schema": 1, "flows": answer.flows, "total": answer.total, "incomplete": list(answer.silent)}

    async def flow(self, flow_id: str) -> dict[str, Any] | None:
        """Return a live or recent flow with the timeline of its subflows."""
        return await self.workers.flow(flow_id)

    def explain(self, flow: FlowKey, candidate: Intent | None = None) -> dict[str, Any]:
        """Return the explanation of a flow that need not exist, by what is in force or by another configuration.

        Lines and gateways are as they are now: one that the candidate adds is not there yet. Raise Refused where
        nothing is decided.
        """
        intent, snapshot = self._intent, self.published
        if candidate is not None and isinstance(intent, CpeIntent):
            intent = inherit_slots(candidate, intent)
            if isinstance(intent, CpeIntent):  # a HAG's snapshot is not made for a look: it gives ports out
                snapshot = self._publisher.would_publish(intent, self._facts, len(self._seats(intent)))
        if not isinstance(intent, CpeIntent) or not isinstance(snapshot, CpeSnapshot):
            raise Refused("Flows are decided on the CPE; this is a HAG.")
        flow = by_dns(flow, self.names_of(flow.server))
        document = explanation(snapshot, flow, intent, self._facts, self._in_force)
        return document if self._intent.history.domains else unnamed(document)

    async def renew_workers(self) -> dict[str, Any]:
        """Replace every worker by a new process; the old ones finish their flows. Raise HagwError."""
        return await renew(self.workers)

    @property
    def is_draining(self) -> bool:
        """Whether this HAG takes no new flows; its CPEs hear of it by echoes, and by their control channels."""
        return self._drain.is_on

    async def drain(self, wanted: bool | None) -> dict[str, Any]:
        """Take no new flows, or take them again (None = as it is); return how it stands. Raise Refused on a CPE."""
        if isinstance(self._intent, CpeIntent):
            raise Refused("A HAG drains; this is a CPE.")
        return await self._drain.put(wanted)

    async def _reconcile_for_ever(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._patience_s()):
                    await self._trigger.wait()
            except TimeoutError:
                pass
            self._trigger.clear()
            await self._reconcile()
            await asyncio.sleep(SETTLE_S)

    def _patience_s(self) -> float:
        """Return how long to wait for a trigger before the next pass falls due by itself."""
        dues = (self._gate.look_again_at(), self._arrivals.due_at())
        has_minutes = isinstance(self._intent, CpeIntent) and has_hours(self._intent.rules)
        return self._pace.patience_s(asyncio.get_running_loop().time(), dues, time.time() if has_minutes else None)

    async def _reconcile(self) -> None:
        """Make one pass; a failure is shown and tried again."""
        async with self._passing:
            try:
                await self._make_true()
            except HagwError as why:
                self._pace.failed()
                if str(why) != self._pace.trouble:
                    log.error("kernel state not reached", reason=str(why))
                self._pace.trouble = str(why)

    async def _make_true(self, *, is_new: bool = False) -> int:
        """Look at the machine, tell the workers, put the kernel right; return the steps that took. Raise HagwError."""
        await self._read_facts()
        self._publish(is_new=is_new)
        wanted = self._decide()
        steps = await self._kernel.reconcile(self._facts, self._health.uplinks(), wanted)
        if steps or self._pace.is_failing:
            log.info("kernel state reached", steps=steps)
        if wanted != self._in_force:
            log.info("interception changed", ipv4=wanted.ipv4, ipv6=wanted.ipv6)
        self._in_force = wanted
        self._pace.reached()
        self.on_pass()
        self._tell_ipv6()
        return steps

    def _tell_ipv6(self) -> None:
        """Say whether a LAN host can reach anything by IPv6: through a gateway, or over a line that has it."""
        if isinstance(self._intent, CpeIntent):
            lines = usable(resolved(self._intent, self._facts), self._facts, self._health.uplinks(), 6)
            self.on_ipv6(self._intent.lan_interfaces, self._in_force.ipv6 or bool(lines))

    def _forget_changed(self, intent: Intent) -> None:
        """Have what was learnt about lines and gateways forgotten where the name now means another one."""
        before = self._intent
        if not isinstance(before, CpeIntent) or not isinstance(intent, CpeIntent):
            return
        lines = {(u.name, u.kind, u.interface, u.match) for u in before.uplinks}
        same = [u for u in intent.uplinks if (u.name, u.kind, u.interface, u.match) in lines]
        self._health.update(same, self._facts, [g for g in intent.gateways if g in before.gateways])
        self._health.look_for_portals(intent.portal_check)

    async def _are_facts_as_used(self) -> bool:
        """Look whether what was done has changed the facts it was done by: an MTU, an address.

        Another verdict on a line waits for the next pass, which it has asked for: it comes while an apply is checked.
        """
        return await self._kernel.facts() == self._facts

    async def _read_facts(self) -> None:
        self._facts = await self._kernel.facts()
        if isinstance(self._intent, CpeIntent):
            uplinks, gateways = self._publisher.uplinks(self._intent), self._publisher.gateways(self._intent)
            self._health.update(uplinks, self._facts, gateways)

    def _decide(self) -> Interception:
        if not isinstance(self._intent, CpeIntent):
            return Interception()
        healths = self._health.gateways()
        gateways = tuple(healths.get(g.name, UNKNOWN_GATEWAY) for g in self._intent.gateways)
        now = asyncio.get_running_loop().time()
        wanted = self._gate.decide(gateways, self.workers.listening_count(), now)
        blocked = self._arrivals.blocked()
        return Interception(ipv4=wanted.ipv4 and 4 not in blocked, ipv6=wanted.ipv6 and 6 not in blocked)

    def _publish(self, *, is_new: bool = False) -> None:
        """Give the workers a new snapshot if it decides otherwise, or if its measurements grew stale."""
        self._publisher.publish(self._intent, self._facts, len(self._seats(self._intent)), is_new=is_new)

    def _take_event(self, message: dict[str, Any]) -> None:
        match message:
            case {"event": "destination-refused", "address": str(address), "port": int(port)}:
                self._refusals.note(address, port)
            case {"event": "gateway-failed", "gateway": str(gateway)}:
                self._health.report_gateway(gateway, False, str(message.get("reason", "")))
            case {"event": "address-unproven", "gateway": str(gateway)}:
                self._health.prove(gateway)
                self.on_unproven(gateway, str(message.get("uplink", "")), str(message.get("address", "")))
            case {"event": "gateway-answered", "gateway": str(gateway)}:
                self._health.report_gateway(gateway, True, "")
            case _:
                log.warning("unknown worker event", event_name=str(message.get("event")))

    async def _publish_for_ever(self) -> None:
        """Have measurements reach the workers also while nothing else changes."""
        while True:
            await asyncio.sleep(MEASURES_S)
            self._read_lines()
            self._publish()

    def _read_lines(self) -> None:
        """Put together what workers and prober know of the lines."""
        own = {name: traffic.probe_bytes for name, traffic in self._health.rates().items()}
        self.goodput.take((*self.workers.reports(), *self.workers.retired()))
        self.lines.take(self.workers.reports(), own, time.strftime("%Y-%m-%d"))


async def _nothing() -> tuple[Finding, ...]:
    """Stand in where nobody examines the machine."""
    return ()


def _ignore(_interfaces: tuple[str, ...], _works: bool) -> None:
    """Stand in where nobody advertises."""
