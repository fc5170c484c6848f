"""The kernel port in memory: the same promises as `hagw.kernel.machine`, for tests and for planning without a machine.

A `World` is what a network namespace is: it outlives the port, as the kernel outlives the daemon.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import assert_never

from hagw.errors import KernelRefused
from hagw.kernel.memory import Memory
from hagw.model.facts import Facts
from hagw.model.intent import Intent, IPAddress
from hagw.model.remembered import Remembered, RememberedLimits, RememberedLink, RememberedSysctl
from hagw.model.resources import (
    Address,
    Drop,
    KernelState,
    Key,
    LinkProperty,
    LinkSetting,
    MptcpLimits,
    NftTable,
    Plan,
    Put,
    Resource,
    Route,
    Rule,
    Step,
    Sysctl,
    state_of,
)
from hagw.plan.diff import describe


@dataclass(slots=True)
class World:
    """A network namespace: parameters and limits always have a value, the rest comes and goes."""

    sysctls: dict[str, str] = field(default_factory=dict)
    limits: MptcpLimits = field(default_factory=lambda: MptcpLimits(2, 0))
    links: dict[tuple[str, LinkProperty], int] = field(default_factory=dict)  # (device, property) -> value
    resources: dict[Key, Resource] = field(default_factory=dict)  # addresses, routes, rules and the table
    facts: Facts = field(default_factory=lambda: Facts(uplinks={}))
    refused: set[tuple[IPAddress, int]] = field(default_factory=set)
    named: dict[str, set[IPAddress]] = field(default_factory=dict)
    forgotten: list[int] = field(default_factory=list)
    doubted: list[int] = field(default_factory=list)


class MemoryInMemory:
    """Keeps what is remembered in a variable."""

    def __init__(self) -> None:
        self.remembered = Remembered()

    def load(self) -> Remembered:
        """Return what was saved last."""
        return self.remembered

    def save(self, remembered: Remembered, *, durable: bool) -> None:
        """Replace it."""
        self.remembered = remembered


class FakeMachine:
    """The port on a `World`. `steps_left` = it fails for good after so many more steps, as by a loss of power."""

    def __init__(self, memory: Memory, world: World, steps_left: int | None = None) -> None:
        self._memory = memory
        self._remembered = memory.load()
        self.world = world
        self.steps_left = steps_left
        self.taken: list[Step] = []
        self.notes: list[str] = []
        self.table: NftTable | None = None  # as it was last put through this port
        self._is_table_ours = False  # when it was last read

    def facts(self, intent: Intent) -> Facts:
        """Return the world's facts."""
        return self.world.facts

    def read(self) -> KernelState:
        """Return all resources of ours."""
        known = self._remembered
        self._is_table_ours = self.table is not None and self.world.resources.get(self.table.key) == self.table
        links = [LinkSetting(*key, self.world.links[key]) for key in known.links if key in self.world.links]
        return {**self.read_unannounced(), **state_of(*links), **self.world.resources}

    def read_unannounced(self) -> KernelState:
        """Return the parameters and limits among them."""
        known = self._remembered
        sysctls = [Sysctl(name, self.world.sysctls[name]) for name in known.sysctls if name in self.world.sysctls]
        return state_of(*sysctls, *([] if known.limits is None else [self.world.limits]))

    def write(self, plan: Plan) -> Plan:
        """Take the steps in order; return what somebody else took away since `read` and is back with it."""
        try:
            self._remember(plan)
        except OSError as error:
            raise KernelRefused(f"what was there before cannot be remembered: {error}") from error
        lost: Plan = ()
        for step in plan:
            if self.steps_left == 0:
                raise KernelRefused(f"{describe(step)}: out of steps")
            if self.steps_left is not None:
                self.steps_left -= 1
            if isinstance(step, Put) and isinstance(step.resource, NftTable) and self._is_table_lost():
                lost += (step,)
            self._take(step)
            self.taken.append(step)
        return lost

    def add_refused(self, address: IPAddress, port: int, timeout_s: float) -> None:
        """Leave connections to this destination unintercepted."""
        if NftTable("").key not in self.world.resources:
            raise KernelRefused(f"{address} port {port} cannot be left unintercepted: there is no table")
        self.world.refused.add((address, port))

    def add_named(self, elements: Mapping[str, Mapping[IPAddress, float]]) -> None:
        """Put addresses into sets of names; all of a batch or nothing."""
        table = self.world.resources.get(NftTable("").key)
        text = table.text if isinstance(table, NftTable) else ""
        if any(f'"name":"{name}"' not in text for name in elements):
            raise KernelRefused("names of servers cannot be told to the table: No such file or directory")
        for name, own in elements.items():
            self.world.named.setdefault(name, set()).update(own)

    def intercepted(self) -> frozenset[str]:
        """Return the families ("ip", "ip6") whose new connections are intercepted now."""
        table = self.world.resources.get(NftTable("").key)
        text = table.text if isinstance(table, NftTable) else ""
        return frozenset(family for family in ("ip", "ip6") if f'{{"tproxy":{{"family":"{family}",' in text)

    def stop_intercepting(self) -> None:
        """Intercept no new connections; those that are intercepted go on."""
        if NftTable("").key in self.world.resources:
            self.world.resources[NftTable("").key] = NftTable("")

    def forget_ended(self) -> None:
        """Do nothing: there are no connections here."""

    def mend(self) -> Plan:
        """Do nothing: there is nothing of the system's own here."""
        return ()

    def restore_table(self) -> bool:
        """Put the table back as it was last put, if it is another now."""
        if self.table is None or self.world.resources.get(self.table.key) == self.table:
            return False
        self.world.resources[self.table.key] = self.table
        return True

    def forget_flows(self, slot: int) -> int:
        """Note that the slot's flows were let go."""
        self.world.forgotten.append(slot)
        return 0

    def forget_doubtful_flows(self, slot: int) -> int:
        """Note that those of the slot's flows were let go."""
        self.world.doubted.append(slot)
        return 0

    def counters(self) -> dict[str, int]:
        """Return nothing: no packets pass here."""
        return {}

    def close(self) -> None:
        """Let go; the world stays."""

    def _is_table_lost(self) -> bool:
        table = self.table
        return self._is_table_ours and table is not None and self.world.resources.get(table.key) != table

    def _take(self, step: Step) -> None:
        match step:
            case Put(resource):
                self._put(resource)
            case Drop(resource):
                self._drop(resource)
            case _:
                assert_never(step)

    def _put(self, resource: Resource) -> None:
        match resource:
            case Sysctl(name, value):
                if name not in self.world.sysctls:
                    raise KernelRefused(f"there is no {name}")
                self.world.sysctls[name] = value
            case MptcpLimits():
                self.world.limits = resource
            case LinkSetting(device, name, value):
                if (device, name) not in self.world.links:
                    raise KernelRefused(f"there is no {device}")
                self.world.links[(device, name)] = value
            case Address() | Route() | Rule() | NftTable():
                self.world.resources[resource.key] = resource
                if isinstance(resource, NftTable):
                    self.table = resource
            case _:
                assert_never(resource)

    def _drop(self, resource: Resource) -> None:
        match resource:
            case Sysctl(name):
                self._restore_sysctl(name)
            case MptcpLimits():
                self._restore_limits()
            case LinkSetting(device, name):
                self._restore_link((device, name))
            case Address() | Route() | Rule() | NftTable():
                self.world.resources.pop(resource.key, None)
                if isinstance(resource, NftTable):
                    self.table = None
            case _:
                assert_never(resource)

    def _remember(self, plan: Plan) -> None:
        sysctls = dict(self._remembered.sysctls)
        limits = self._remembered.limits
        links = dict(self._remembered.links)
        for step in plan:
            match step:
                case Put(Sysctl(name, value)) if name in self.world.sysctls:
                    known = sysctls.get(name, RememberedSysctl(self.world.sysctls[name], ()))
                    sysctls[name] = replace(known, written=(*known.written, value))
                case Put(MptcpLimits() as wanted):
                    before = RememberedLimits(self.world.limits, ()) if limits is None else limits
                    limits = replace(before, written=(*before.written, wanted))
                case Put(LinkSetting(device, prop, value)) if (device, prop) in self.world.links:
                    link = links.get((device, prop), RememberedLink(self.world.links[(device, prop)], ()))
                    links[(device, prop)] = replace(link, written=(*link.written, value))
                case _:
                    pass
        after = replace(self._remembered, sysctls=sysctls, limits=limits, links=links)
        if after != self._remembered:
            self._keep(after, durable=True)

    def _restore_sysctl(self, name: str) -> None:
        sysctls = dict(self._remembered.sysctls)
        known = sysctls.pop(name, None)
        if known is not None:
            if self.world.sysctls.get(name) in known.written:
                self.world.sysctls[name] = known.previous
            elif self.world.sysctls.get(name) != known.previous:
                self.notes.append(f"{name} was set by somebody else")
            self._keep(replace(self._remembered, sysctls=sysctls), durable=False)

    def _restore_link(self, key: tuple[str, LinkProperty]) -> None:
        links = dict(self._remembered.links)
        known = links.pop(key, None)
        if known is not None:
            if self.world.links.get(key) in known.written:
                self.world.links[key] = known.previous
            elif self.world.links.get(key) != known.previous:
                self.notes.append(f"{key[1]} of {key[0]} was set by somebody else")
            self._keep(replace(self._remembered, links=links), durable=False)

    def _restore_limits(self) -> None:
        known = self._remembered.limits
        if known is not None:
            if self.world.limits in known.written:
                self.world.limits = known.previous
            elif self.world.limits != known.previous:
                self.notes.append("mptcp limits were set by somebody else")
            self._keep(replace(self._remembered, limits=None), durable=False)

    def _keep(self, remembered: Remembered, *, durable: bool) -> None:
        try:
            self._memory.save(remembered, durable=durable)
        except OSError as error:
            if durable:
                raise
            self.notes.append(f"what is in the kernel cannot be written down: {error}")
        self._remembered = remembered
