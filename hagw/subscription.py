"""A gateway's subscribers: its registry, their accounts, and the control channels of their CPEs. Part of the daemon.

The libraries are loaded in a thread, and only where they are needed: a gateway without a registry does without. The
other end is in `hagw.enrolments`.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hagw import __version__
from hagw.control.durable import Disk
from hagw.control.gateway import Gateway
from hagw.control.places import runtime_dir
from hagw.control.status_documents import CpeVersionStatus
from hagw.dataplane.proven import PROVEN_FILE, Homes, ProvenAddresses
from hagw.errors import HagwError, RegistryUnavailable
from hagw.log import log_of
from hagw.model.intent import CustomerIntent, HagIntent
from hagw.registry.roll import Roll
from hagw.registry.said import Said
from hagw.registry.usage import Batch, Spool, Used
from hagw.registry.watch import RollWatch

if TYPE_CHECKING:
    from hagw.channel.server import ChannelServer, Desk
    from hagw.registry.customers import Registry

ROLL_FILE: Final = "customers.json"
LOOK_EVERY_S: Final = 1.0
ACCOUNT_EVERY_S: Final = 2.0
DRAINING: Final = "it is draining"
MONTH_OVER: Final = "its bytes of this month are used up"

log = log_of("hagw.channel")


def open_registry(url: str, state_dir: Path) -> "Registry | None":
    """Return the registry of a configured URL, None where its file was not made yet: nobody has a customer there.

    Loads its libraries, which takes half a second. Raise Refused for a URL that cannot be used.
    """
    if not url and not (state_dir / "customers.db").exists():
        return None
    from hagw.registry.customers import Registry

    found = Registry.at(url, state_dir)
    return found if found.database.is_there() else None


class HagSide:
    """A gateway's registry, and the control channels of those it has."""

    def __init__(self, gateway: Gateway, state_dir: Path) -> None:
        self._gateway = gateway
        self._state_dir = state_dir
        self._server: ChannelServer | None = None
        gateway.cpe_versions = self._cpe_versions
        self._spool = Spool(state_dir / "usage", Disk().replace)
        self._served: tuple[CustomerIntent, ...] = ()
        self._month: tuple[str, Mapping[str, int]] = ("", {})
        self._said = Said(self._spool)
        self.watch = RollWatch(
            lambda: self._intent().registry_url,
            lambda url: open_registry(url, state_dir),
            state_dir / ROLL_FILE,
            Disk().replace,
            self._roll_changed,
        )

    @property
    def registry_url(self) -> str:
        """Where the configuration has the registry, "" = in the state directory."""
        return self._intent().registry_url

    @property
    def month_used(self) -> Mapping[str, int]:
        """The bytes of this month by customer, as they were last added up."""
        return self._month[1]

    def connected(self) -> list[dict[str, Any]]:
        """Return who has a control channel: customer, source, version, version_differs, since."""
        return [] if self._server is None else self._server.document()

    def _cpe_versions(self) -> list[CpeVersionStatus]:
        """Return the versions of who has a control channel; a CPE with several counts once."""
        cpes = {each["customer"]: str(each["version"]) for each in self.connected()}
        return [
            CpeVersionStatus(version=version, cpes=count, differs=version != __version__)
            for version, count in sorted(Counter(cpes.values()).items())
        ]

    async def begin(self) -> None:
        """Know the customers before anybody is served, and what their CPEs have said already."""
        await self._said.begin()
        await self.watch.begin()

    def lines_changed(self) -> None:
        """Nothing: a gateway has no lines."""

    async def run(self) -> None:
        """Follow the registry and serve control channels, for ever."""
        await self._gateway.workers.settled()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.watch.run())
                group.create_task(self._serve())
                group.create_task(self._account())
        finally:
            await self.watch.close()

    async def _account(self) -> None:
        """Read what customers use, queue it on the disk, and have the registry add it up, for ever."""
        while True:
            await asyncio.sleep(ACCOUNT_EVERY_S)
            await self.account()

    async def account(self) -> None:
        """Do so once. A disk that takes nothing more is no reason not to have the registry add up what is there."""
        for keep in (self._read_usage, self._keep_said):
            try:
                await keep()
            except (HagwError, OSError) as why:
                log.warning("usage not kept on disk", reason=str(why))
        try:
            registry = await self.watch.registry()
            if registry is not None:
                while await self._spool.flush(registry):
                    pass
                month = time.strftime("%Y-%m", time.gmtime())
                self._month = month, await registry.month_bytes(month)
                self._roll_changed(self.watch.roll)
        except HagwError:
            pass  # the registry is away: the watch says so, and what was read waits on the disk
        except OSError as why:
            log.warning("usage not kept on disk", reason=str(why))

    async def _read_usage(self) -> None:
        """Have what workers counted on the disk."""
        await self._gateway.workers.read_usage(self._keep_reading)

    async def _keep_reading(self, batch: str, day: str, used: list[list[Any]]) -> None:
        """Have a reading on the disk before its worker forgets it; of configured customers nobody wants to know."""
        others = {customer.name for customer in self._intent().customers}
        counted = tuple(Used(name, day, "", down, up, flows) for name, down, up, flows in used if name not in others)
        if counted:
            await asyncio.to_thread(self._spool.put, Batch(batch, counted))

    def _told(self, name: str, uplinks: Mapping[str, tuple[int, int]], report: str) -> bool:
        """Take what a CPE says of its lines; return whether this report is on the disk already."""
        return self._said.take(name, uplinks, report, time.strftime("%Y-%m-%d", time.gmtime()))

    async def _keep_said(self) -> None:
        """Queue what CPEs have said of their lines since the last time, and tell them that it is on the disk."""
        kept = await self._said.keep()
        if self._server is not None and kept:
            self._server.usage_kept(kept)

    def _customers(self, roll: Roll) -> tuple[CustomerIntent, ...]:
        """Return the roll's customers, with those blocked who have used up their month."""
        month, used = self._month
        spent = {name for name in used if month == time.strftime("%Y-%m", time.gmtime())}

        def judged(customer: CustomerIntent) -> CustomerIntent:
            limit = customer.limits.month_bytes
            over = limit is not None and customer.name in spent and used[customer.name] >= limit
            return replace(customer, blocked=MONTH_OVER) if over else customer

        return tuple(judged(customer) for customer in roll.customers)

    async def _serve(self) -> None:
        """Serve where the configuration says, anew when it says otherwise."""
        self._server = await asyncio.to_thread(self._made)
        if self._server is None:
            return
        probe = self._probe()
        while True:
            where = self._where()
            async with asyncio.TaskGroup() as group:
                serving = group.create_task(self._server.run(*where))
                while self._where() == where:
                    await asyncio.sleep(LOOK_EVERY_S)
                    if probe != self._probe():
                        probe = self._probe()
                        self._server.probe_changed()
                serving.cancel()

    def _probe(self) -> dict[str, Any]:
        """Return how CPEs are to ask us."""
        return {"port": self._intent().probe_port, "style": self._intent().probing}

    def _made(self) -> "ChannelServer | None":
        from hagw.channel.identity import fingerprint_of, server_context
        from hagw.channel.server import ChannelServer

        try:
            fingerprint = fingerprint_of(self._state_dir)
            return ChannelServer(self._desk(), __version__, fingerprint, server_context(self._state_dir))
        except HagwError as why:
            log.warning("control channel cannot be served", reason=str(why))
            return None

    def _where(self) -> tuple[tuple[str, ...], int]:
        intent = self._intent()
        return tuple(str(address) for address in intent.listen), intent.control_port

    def _intent(self) -> HagIntent:
        intent = self._gateway.intent
        assert isinstance(intent, HagIntent)  # a daemon never changes its role
        return intent

    def _roll_changed(self, roll: Roll) -> None:
        self._served = self._customers(roll)
        self._gateway.customers_changed(self._served)
        if self._server is not None:
            self._server.roll_changed()

    def _desk(self) -> "Desk":
        from hagw.channel.server import Desk

        def customers() -> Mapping[str, CustomerIntent]:
            if not self._gateway.is_draining:
                return {customer.name: customer for customer in self._served}
            return {each.name: replace(each, blocked=each.blocked or DRAINING) for each in self._served}

        async def redeem(secret: bytes, device_key: bytes) -> tuple[str, bytes]:
            enrolled = await (await self._registry()).redeem(secret, device_key)
            await self.watch.look_now()  # it logs in as soon as it has the answer
            return enrolled.name, enrolled.key

        async def taken_over(name: str, key: bytes) -> None:
            try:
                await (await self._registry()).taken_over(name, key)
            except RegistryUnavailable:
                return  # the CPE says so again when it connects the next time
            self.watch.look_soon()

        proven = _proven()
        homes = Homes()

        def met(name: str, address: str, renews: bool) -> None:
            if proven is None:
                return
            now = time.monotonic()
            proven.prove(name, address, now)
            if homes.wanders(name, address, now):
                proven.unbind(name)
            elif renews:
                proven.bind(name, now)

        return Desk(
            customers=customers,
            device_keys=lambda: self.watch.roll.device_keys,
            redeem=redeem,
            taken_over=taken_over,
            used=self._told,
            probe=self._probe,
            met=met,
        )

    async def _registry(self) -> "Registry":
        found = await self.watch.registry()
        if found is None:
            raise RegistryUnavailable("This gateway has no registry yet.")
        return found


def _proven() -> ProvenAddresses | None:
    """Return what workers know of customers' addresses, None where that cannot be had: echoes prove them too."""
    try:
        return ProvenAddresses(runtime_dir() / PROVEN_FILE)
    except OSError as why:
        log.warning("addresses not proved by control channels", reason=str(why))
        return None
