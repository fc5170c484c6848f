"""The kernel port: all of hagw's state in this network namespace, read and written resource by resource."""

from collections.abc import Mapping
from dataclasses import replace
from typing import assert_never

from hagw.errors import KernelRefused
from hagw.kernel import conntrack, sockets, sysctl
from hagw.kernel.addresses import Addresses
from hagw.kernel.facts import FactsReader
from hagw.kernel.links import Links
from hagw.kernel.memory import Memory
from hagw.kernel.mptcp import PathLimits, PathManager
from hagw.kernel.nft import Nft, NftRefused
from hagw.kernel.renames import follow
from hagw.kernel.routing import Routing
from hagw.model.facts import Facts
from hagw.model.ids import MARK_MASK, uplink_mark
from hagw.model.intent import Intent, IPAddress
from hagw.model.remembered import Remembered, RememberedLimits
from hagw.model.resources import (
    Address,
    Drop,
    KernelState,
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


class Machine:
    """One thread's hold on the kernel; it makes, uses and closes this object. Errors are KernelRefused."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        try:
            self._remembered = memory.load()
            self._routing = Routing()
            self._links = Links()
            self._addresses = Addresses()
            self._facts = FactsReader()
            self._nft = Nft()
        except OSError as error:
            raise KernelRefused(f"the kernel's state cannot be opened: {error}") from error
        self.notes: list[str] = []  # what was left alone, and why
        self._is_table_ours = False  # when it was last read
        self._unwritten = ""  # why what is remembered could not be written down, the last time

    def facts(self, intent: Intent) -> Facts:
        """Read what is true now."""
        try:
            return self._facts.read(intent, self._remembered.sysctls.get("net/ipv6/conf/all/forwarding"))
        except OSError as error:
            raise KernelRefused(f"reading the machine's interfaces failed: {error}") from error

    def read(self) -> KernelState:
        """Read all resources of ours that the kernel has."""
        try:
            self._follow()
            found: list[Resource] = [*self._unannounced(), *self._routing.read()]
            found += [*self._links.read_known(self._remembered.links), *self._addresses.read()]
            digest = self._nft.digest()
            self._is_table_ours = digest is not None and digest == self._remembered.table_seen
            if digest is not None:
                found.append(NftTable(self._remembered.table if self._is_table_ours else ""))
        except OSError as error:
            raise KernelRefused(f"reading the kernel's state failed: {error}") from error
        return state_of(*found)

    def read_unannounced(self) -> KernelState:
        """Read those that the kernel announces no change of: parameters, and the path manager's limits."""
        try:
            return state_of(*self._unannounced())
        except OSError as error:
            raise KernelRefused(f"reading the kernel's parameters failed: {error}") from error

    def write(self, plan: Plan) -> Plan:
        """Take the steps in order; what must be remembered is on disk before the first of them.

        Returns what somebody else took away since `read` and is back with it: the table, as nothing else is lost whole.
        """
        lost: Plan = ()
        try:
            self._remember(plan)
        except OSError as error:
            raise KernelRefused(f"what was there before cannot be remembered: {error}") from error
        for step in plan:
            try:
                lost += (step,) if self._take(step) else ()
            except OSError as error:
                raise KernelRefused(f"{describe(step)}: {error}") from error
        return lost

    def add_refused(self, address: IPAddress, port: int, timeout_s: float) -> None:
        """Leave connections to this destination unintercepted for `timeout_s`."""
        try:
            self._nft.add_refused(address, port, timeout_s)
        except OSError as error:
            raise KernelRefused(f"{address} port {port} cannot be left unintercepted: {error}") from error

    def add_named(self, elements: Mapping[str, Mapping[IPAddress, float]]) -> None:
        """Put addresses into sets of names, each for so many seconds."""
        try:
            self._nft.add_named(elements)
        except OSError as error:
            raise KernelRefused(f"names of servers cannot be told to the table: {error}") from error

    def intercepted(self) -> frozenset[str]:
        """Return the families ("ip", "ip6") whose new connections are intercepted now."""
        try:
            return self._nft.intercepted()
        except OSError as error:
            raise KernelRefused(f"reading the table failed: {error}") from error

    def stop_intercepting(self) -> None:
        """Intercept no new connections; those that are intercepted go on."""
        try:
            self._nft.empty_chain("intercept")
        except OSError as error:
            raise KernelRefused(f"interception cannot be stopped: {error}") from error

    def forget_ended(self) -> None:
        """Forget intercepted connections that have ended: else a port used again is not forwarded for a minute."""
        try:
            if note := sockets.forget_ended():
                self.notes.append(note)
        except OSError as error:
            raise KernelRefused(f"ended connections cannot be forgotten: {error}") from error

    def mend(self) -> Plan:
        """Put back what is nobody's but must be there: see `Routing.mend`. Call it after `read`; return what it did."""
        try:
            return tuple(Put(rule) for rule in self._routing.mend())
        except OSError as error:
            raise KernelRefused(f"the system's own rules cannot be put back: {error}") from error

    def restore_table(self) -> bool:
        """Put the table back as it was last put, if somebody has changed or removed it; return whether it was so.

        Flows that began meanwhile and were not answered are forgotten: they left as they were, and would go on so.
        """
        wanted = self._remembered.table
        try:
            if not wanted or self._nft.digest() == self._remembered.table_seen:
                return False
            self._save(table=wanted, table_seen=self._nft.replace(wanted))
            conntrack.forget_unpinned(MARK_MASK)
        except OSError as error:
            raise KernelRefused(f"the nft table cannot be put back: {error}") from error
        return True

    def forget_flows(self, slot: int) -> int:
        """Let the unconverted flows pinned to a slot find another line; return how many there were."""
        try:
            return conntrack.forget(uplink_mark(slot), MARK_MASK)
        except OSError as error:
            raise KernelRefused(f"flows of slot {slot} cannot be moved: {error}") from error

    def forget_doubtful_flows(self, slot: int) -> int:
        """Let those go that lose nothing by it: DNS, and what was never answered; return how many there were."""
        try:
            return conntrack.forget_doubtful(uplink_mark(slot), MARK_MASK)
        except OSError as error:
            raise KernelRefused(f"flows of slot {slot} cannot be moved: {error}") from error

    def counters(self) -> dict[str, int]:
        """Return the packets counted by each of the table's counters."""
        try:
            return self._nft.counters()
        except OSError as error:
            raise KernelRefused(f"reading the counters failed: {error}") from error

    def close(self) -> None:
        """Close all sockets; the kernel's state stays."""
        self._routing.close()
        self._links.close()
        self._addresses.close()
        self._facts.close()
        self._nft.close()

    def _unannounced(self) -> list[Sysctl | MptcpLimits]:
        found: list[Sysctl | MptcpLimits] = [*sysctl.read_known(self._remembered.sysctls)]
        if self._remembered.limits is not None:
            found.append(_read_limits())
        return found

    def _take(self, step: Step) -> bool:
        """Take a step; return whether it was found that somebody else had just taken the table away."""
        match step:
            case Put(NftTable() as table):
                return self._put_table(table)
            case Put(resource):
                self._put(resource)
            case Drop(resource):
                self._drop(resource)
            case _:
                assert_never(step)
        return False

    def _put(self, resource: Resource) -> None:
        match resource:
            case Sysctl():
                sysctl.write(resource)
            case MptcpLimits(subflows, accepted):
                _write_limits(PathLimits(subflows, accepted))
            case LinkSetting():
                self._links.put(resource)
            case Address():
                self._addresses.put(resource)
            case Route():
                self._routing.put_route(resource)
            case Rule():
                self._routing.put_rule(resource)
            case NftTable():
                raise AssertionError("the table is put by _put_table")
            case _:
                assert_never(resource)

    def _drop(self, resource: Resource) -> None:
        match resource:
            case Sysctl(name):
                self._restore_sysctl(name)
            case MptcpLimits():
                self._restore_limits(resource)
            case LinkSetting():
                self._restore_link(resource)
            case Address():
                self._addresses.drop(resource)
            case Route():
                self._routing.drop_route(resource)
            case Rule():
                self._routing.drop_rule(resource)
            case NftTable():
                self._nft.drop()
                self._save(table="", table_seen="")
            case _:
                assert_never(resource)

    def _put_table(self, table: NftTable) -> bool:
        """Keep the running sets where the table is as we left it; else make it anew.

        Return whether the table was ours when it was read, and is not any more.
        """
        seen = None
        if self._remembered.table and self._nft.digest() == self._remembered.table_seen:
            try:
                seen = self._nft.update(table.text)
            except NftRefused:
                pass  # made by another version, whose objects differ: only the running sets are lost
        was_lost = seen is None and self._is_table_ours and self._nft.digest() != self._remembered.table_seen
        seen = seen or self._nft.replace(table.text)
        # After a crash before this line the table counts as edited, and is put once more.
        self._save(table=table.text, table_seen=seen)
        self._is_table_ours = True
        return was_lost

    def _remember(self, plan: Plan) -> None:
        """Note the present values of everything the plan overwrites for the first time."""
        self._follow()
        sysctls = dict(self._remembered.sysctls)
        limits = self._remembered.limits
        links = dict(self._remembered.links)
        for step in plan:
            match step:
                case Put(Sysctl() as wanted):
                    known = sysctl.remember(wanted, sysctls.get(wanted.name))
                    if known is not None:
                        sysctls[wanted.name] = known
                case Put(MptcpLimits() as wanted):
                    before = RememberedLimits(_read_limits(), ()) if limits is None else limits
                    limits = replace(before, written=tuple(dict.fromkeys((*before.written, wanted))))
                case Put(LinkSetting(device, name) as wanted):
                    link = self._links.remember(wanted, links.get((device, name)))
                    if link is not None:
                        links[(device, name)] = link
                case _:
                    pass
        after = replace(self._remembered, sysctls=sysctls, limits=limits, links=links)
        if after != self._remembered:
            self._keep(after, durable=True)

    def _follow(self) -> None:
        """Know interfaces that were renamed since by their names of now."""
        after = follow(self._remembered)
        if after != self._remembered:
            self._keep(after, durable=True)

    def _restore_sysctl(self, name: str) -> None:
        sysctls = dict(self._remembered.sysctls)
        known = sysctls.pop(name, None)
        if known is None:
            return
        note = sysctl.restore(name, known)
        if note is not None:
            self.notes.append(note)
        self._keep(replace(self._remembered, sysctls=sysctls), durable=False)

    def _restore_link(self, present: LinkSetting) -> None:
        links = dict(self._remembered.links)
        known = links.pop((present.device, present.name), None)
        if known is None:
            return
        note = self._links.restore(present, known)
        if note is not None:
            self.notes.append(note)
        self._keep(replace(self._remembered, links=links), durable=False)

    def _restore_limits(self, present: MptcpLimits) -> None:
        known = self._remembered.limits
        if known is None:
            return
        if present in known.written:
            _write_limits(PathLimits(known.previous.subflows, known.previous.add_addr_accepted))
        elif present != known.previous:
            self.notes.append(f"mptcp limits were set by somebody else: left alone (they were {known.previous})")
        self._keep(replace(self._remembered, limits=None), durable=False)

    def _save(self, *, table: str, table_seen: str) -> None:
        self._keep(replace(self._remembered, table=table, table_seen=table_seen), durable=False)

    def _keep(self, remembered: Remembered, *, durable: bool) -> None:
        """Write down what was there before hagw; without it on disk nothing may be overwritten.

        The rest need not be durable: a disk without room must not keep the table from following the lines.
        """
        try:
            self._memory.save(remembered, durable=durable)
            self._unwritten = ""
        except OSError as error:
            if durable:
                raise
            if str(error) != self._unwritten:
                self.notes.append(f"what is in the kernel cannot be written down: {error}")
            self._unwritten = str(error)
        self._remembered = remembered


def _read_limits() -> MptcpLimits:
    with PathManager() as manager:
        found = manager.limits()
    return MptcpLimits(found.subflows, found.add_addr_accepted)


def _write_limits(limits: PathLimits) -> None:
    with PathManager() as manager:
        manager.set_limits(limits)
