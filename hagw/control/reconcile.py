"""Make the kernel hold the desired state: read, compare, act, read again. Keeps no copy of the kernel's state."""

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol, TypeVar

from hagw.control.drift import Drift
from hagw.control.ports import Interception, Preview
from hagw.errors import KernelRefused
from hagw.log import log_of
from hagw.model.facts import Facts
from hagw.model.health import UplinkHealth
from hagw.model.intent import CpeIntent, HagIntent, Intent, IPAddress
from hagw.model.resources import KernelState, NftTable, Plan, Put
from hagw.plan import cpe, hag
from hagw.plan.diff import describe, diff
from hagw.plan.ranking import usable

PASSES_MAX: Final = 3

T = TypeVar("T")
log = log_of("hagw.reconcile")


class MachinePort(Protocol):
    """The kernel, for one thread: `hagw.kernel.machine.Machine` or the fake. Methods raise KernelRefused.

    `notes` grows by what was left alone or could not be kept, and why.
    """

    notes: list[str]

    def facts(self, intent: Intent) -> Facts: ...

    def read(self) -> KernelState: ...

    def write(self, plan: Plan) -> Plan: ...

    def add_refused(self, address: IPAddress, port: int, timeout_s: float) -> None: ...

    def add_named(self, elements: Mapping[str, Mapping[IPAddress, float]]) -> None: ...

    def intercepted(self) -> frozenset[str]: ...

    def mend(self) -> Plan: ...

    def restore_table(self) -> bool: ...

    def forget_flows(self, slot: int) -> int: ...

    def forget_doubtful_flows(self, slot: int) -> int: ...

    def read_unannounced(self) -> KernelState: ...

    def counters(self) -> dict[str, int]: ...

    def close(self) -> None: ...


class Reconciler:
    """Drives one kernel port from asyncio. The port lives in a thread of its own: its sockets are that thread's."""

    def __init__(self, intent: Intent, open_machine: Callable[[], MachinePort]) -> None:
        self._intent = intent
        self._open = open_machine
        self._machine: MachinePort | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kernel")
        self._settled: KernelState | None = None  # what was wanted when the kernel last agreed
        self._suspected: set[int] = set()
        self._lines: dict[int, tuple[Any, ...]] = {}  # slot -> what its flows depend on, at the last pass
        self._drift = Drift()

    def drift(self) -> Drift:
        """Return what others did to the kernel's state so far."""
        return self._drift

    def use(self, intent: Intent) -> None:
        """Work by another intent from the next call on."""
        self._intent = intent

    async def preview(self, intent: Intent, uplinks: Mapping[str, UplinkHealth], interception: Interception) -> Preview:
        """Read what this intent would change; writes nothing. Raises KernelRefused."""

        def look(machine: MachinePort) -> Preview:
            facts, actual = machine.facts(intent), machine.read()
            wanted = _desired(intent, facts, uplinks, interception)
            return Preview(facts, actual, wanted, diff(actual, wanted))

        return await self._call(look)

    def verified(self) -> KernelState:
        """Return what the kernel held when it was last read and found as wanted."""
        return self._settled or {}

    async def facts(self) -> Facts:
        """Read what is true of the uplinks now. Raises KernelRefused."""
        return await self._call(lambda machine: machine.facts(self._intent))

    async def interception(self) -> Interception:
        """Read what is intercepted now: an earlier daemon may have left it on. Raises KernelRefused."""
        families = await self._call(lambda machine: machine.intercepted())
        return Interception(ipv4="ip" in families, ipv6="ip6" in families)

    async def reconcile(self, facts: Facts, uplinks: Mapping[str, UplinkHealth], interception: Interception) -> int:
        """Make the kernel hold the desired state; return how many steps it took.

        Raises KernelRefused when the kernel does not take a step, or does not hold the state after a few passes;
        what it held before stays as far as it was not replaced, the nft table always whole.
        """
        return await self._call(lambda machine: self._pass(machine, facts, uplinks, interception))

    async def restore_table(self) -> bool:
        """Put the nft table back as it was last put, if it is another now; return whether it was.

        Raises KernelRefused. Made for speed: the next pass repairs whatever else is wrong.
        """
        return await self._call(self._restore_table)

    async def add_refused(self, address: IPAddress, port: int, timeout_s: float) -> None:
        """Leave connections to this destination unintercepted for `timeout_s`. Raises KernelRefused."""
        await self._call(lambda machine: machine.add_refused(address, port, timeout_s))

    async def add_named(self, elements: Mapping[str, Mapping[IPAddress, float]]) -> None:
        """Put addresses into the table's sets of names, each for so many seconds. Raises KernelRefused."""
        await self._call(lambda machine: machine.add_named(elements))

    async def is_changed_unannounced(self) -> bool:
        """Tell whether a parameter or limit is another one than when the kernel last agreed. Raises KernelRefused."""

        def look(machine: MachinePort) -> bool:
            held = self._settled or {}
            return any(held.get(key, found) != found for key, found in machine.read_unannounced().items())

        return await self._call(look)

    async def counters(self) -> dict[str, int]:
        """Return the packets counted by each of the table's counters. Raises KernelRefused."""
        return await self._call(lambda machine: machine.counters())

    async def close(self) -> None:
        """Close the port; the kernel's state stays."""
        if self._machine is not None:
            await self._call(lambda machine: machine.close())
        self._thread.shutdown(wait=True)

    async def _call(self, act: Callable[[MachinePort], T]) -> T:
        def in_thread() -> T:
            if self._machine is None:
                self._machine = self._open()
            return act(self._machine)

        return await asyncio.get_running_loop().run_in_executor(self._thread, in_thread)

    def _pass(
        self,
        machine: MachinePort,
        facts: Facts,
        uplinks: Mapping[str, UplinkHealth],
        interception: Interception,
    ) -> int:
        wanted = _desired(self._intent, facts, uplinks, interception)
        taken = 0
        for _ in range(PASSES_MAX):
            began = time.monotonic()
            actual = machine.read()
            plan = diff(actual, wanted)
            mended = machine.mend()
            repairs = self._repairs(actual, plan, wanted, is_first=not taken)
            changes = [describe(step) for step in plan if step not in repairs]
            if changes:
                log.info("kernel state changes", steps=changes)
            if plan:
                repairs = (*repairs, *machine.write(plan))
            if mended or repairs:
                self._repaired((*mended, *repairs), began)
            taken += len(plan)
            if not plan:
                break
        else:
            left = diff(machine.read(), wanted)
            if left:
                raise KernelRefused("the kernel does not keep: " + "; ".join(describe(step) for step in left))
        while machine.notes:
            log.warning("kernel state noted", note=machine.notes.pop(0))
        self._settled = wanted
        self._release_flows(machine, facts, uplinks)
        return taken

    def _repairs(self, actual: KernelState, plan: Plan, wanted: KernelState, *, is_first: bool) -> Plan:
        """Return the steps that put right what others did since the kernel last agreed; the rest is new.

        What is wanted may have changed meanwhile: then only what was held, is still wanted and was lost is theirs. Of
        a later look in a pass only the table is: our own steps move parameters and routes, but never the table.
        """
        held = self._settled
        if held is None:
            return ()
        if is_first and held == wanted:
            return plan
        return tuple(
            step
            for step in plan
            if isinstance(step, Put)
            and (
                _is_table_lost(actual, held)
                if isinstance(step.resource, NftTable)
                else is_first and held.get(step.resource.key) == step.resource
            )
        )

    def _restore_table(self, machine: MachinePort) -> bool:
        began = time.monotonic()
        if not machine.restore_table():
            return False
        self._repaired((Put(NftTable("")),), began)
        return True

    def _repaired(self, plan: Plan, began: float) -> None:
        self._drift = self._drift.repaired(plan, time.time(), (time.monotonic() - began) * 1000)
        steps = [describe(step) for step in plan]
        log.warning("kernel state was changed by somebody else", repairs=steps, times=self._drift.repairs)

    def _release_flows(self, machine: MachinePort, facts: Facts, uplinks: Mapping[str, UplinkHealth]) -> None:
        """Let flows go that are pinned to a line that has ceased to work, is suspected, or has other addresses now.

        After the table: their next packet must find the new best line there.
        """
        if not isinstance(self._intent, CpeIntent):
            return
        # A line that is no longer configured has ceased to work as well.
        now: dict[int, tuple[Any, ...]] = {slot: () for slot, line in self._lines.items() if line != ()}
        now |= {uplink.slot: () for uplink in self._intent.uplinks}
        for family in cpe.FAMILIES:
            for uplink in usable(self._intent, facts, uplinks, family):
                fact = facts.uplinks[uplink.name]
                now[uplink.slot] += (family, fact.ifindex, fact.address4 if family == 4 else fact.address6)
        for slot, line in now.items():
            before = self._lines.get(slot)
            works_as_before = before == line or (before in (None, ()) and line != ())
            if not works_as_before:
                released = machine.forget_flows(slot)
                log.info("unconverted flows may find another line", slot=slot, flows=released)
        self._lines = now
        suspected = {
            up.slot for up in self._intent.uplinks if up.name in uplinks and uplinks[up.name].state == "suspect"
        }
        for slot in sorted(suspected - self._suspected):
            released = machine.forget_doubtful_flows(slot)
            log.info("doubtful flows may find another line", slot=slot, flows=released)
        self._suspected = suspected


def _is_table_lost(actual: KernelState, held: KernelState) -> bool:
    """Tell whether somebody has removed or edited the table; one with another text than held was put by us."""
    key = NftTable("").key
    return key in held and actual.get(key, NftTable("")) == NftTable("")


def _desired(
    intent: Intent, facts: Facts, uplinks: Mapping[str, UplinkHealth], interception: Interception
) -> KernelState:
    match intent:
        case CpeIntent():
            switches = {"intercept4": interception.ipv4, "intercept6": interception.ipv6}
            return cpe.desired(intent, facts, uplinks, **switches)
        case HagIntent():
            return hag.desired(intent, facts)
