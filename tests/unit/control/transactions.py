"""The whole control plane over a kernel in memory and a disk that may lose power, for tests of transactions."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from hagw.control.durable import Disk
from hagw.control.gateway import Gateway
from hagw.control.inforce import Archive, take_up
from hagw.control.reconcile import Reconciler
from hagw.control.transaction import Transactions
from hagw.control.wish import Outcome, Wish
from hagw.kernel.fake import FakeMachine, MemoryInMemory, World
from hagw.model.facts import Facts, UplinkFacts
from hagw.model.health import GatewayHealth, UplinkHealth
from hagw.model.intent import CpeIntent, Intent
from hagw.model.resources import KernelState, Plan
from hagw.plan.cpe import desired
from tests.fakes import FakeHealth

LINES = ("dsl", "lte", "wifi", "sat")
KEY = bytes(range(32)).hex()


def config(*uplinks: str, rules: int = 0, extra: str = "", **about: str) -> str:
    """Return a CPE's configuration over these uplinks; `about` gives one of them more keys."""
    lines = ["version: 1", "role: cpe", "lan: {interfaces: [lan0]}", "uplinks:"]
    lines += [f"  - {{name: {name}, kind: dsl, interface: {name}0{about.get(name, '')}}}" for name in uplinks]
    lines += [f"gateways: [{{name: hag, addresses: [198.51.100.10], customer: home, key: '{KEY}'}}]"]
    lines += ["rules:"] if rules else []
    for number in range(rules):
        lines.append(f"  - {{name: r{number}, precedence: {number}, steering: {{mode: direct}},")
        lines.append(f"     traffic: {{destination_port: ['{number + 1000}']}}}}")
    return "\n".join([*lines, extra, ""])


def facts() -> Facts:
    """Return a machine with all LINES plugged in."""
    return Facts(
        uplinks={
            name: UplinkFacts(
                name,
                number + 1,
                True,
                True,
                IPv4Address(f"192.0.{number}.2"),
                gateway4=IPv4Address(f"192.0.{number}.1"),
            )
            for number, name in enumerate(LINES, start=1)
        },
        interfaces=frozenset({"lo", "lan0", *(f"{name}0" for name in LINES)}),
    )


def world() -> World:
    """Return a machine that hagw has not touched."""
    names = {"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "net/mptcp/enabled"}
    names |= {f"net/ipv4/conf/{name}0/rp_filter" for name in LINES}
    names |= {f"net/ipv6/conf/{name}0/keep_addr_on_down" for name in LINES}
    return World(sysctls=dict.fromkeys(names, "0"), facts=facts())


class Health(FakeHealth):
    """Lines are up, and so is the gateway unless told otherwise."""

    def __init__(self) -> None:
        super().__init__(lines={name: UplinkHealth("up") for name in LINES}, reach={"hag": GatewayHealth("up")})


class PowerLost(BaseException):
    """Nothing happens any more."""


@dataclass
class Power:
    """Lasts for so many more steps of disk and kernel together; None = for ever."""

    left: int | None = None

    def spend(self) -> None:
        """Take one step, unless there is no power left for it."""
        if self.left == 0:
            raise PowerLost
        if self.left is not None:
            self.left -= 1


class DyingDisk(Disk):
    """A disk that needs power."""

    def __init__(self, power: Power) -> None:
        self._power = power

    def replace(self, path: Path, text: str, mode: int = 0o600) -> None:
        self._power.spend()
        super().replace(path, text, mode)

    def point(self, link: Path, target: str) -> None:
        self._power.spend()
        super().point(link, target)

    def remove(self, path: Path) -> None:
        self._power.spend()
        super().remove(path)


class DyingMachine(FakeMachine):
    """A kernel that needs power, and may refuse steps."""

    def __init__(self, memory: MemoryInMemory, world: World, power: Power) -> None:
        super().__init__(memory, world)
        self._power = power

    def write(self, plan: Plan) -> Plan:
        lost: Plan = ()
        for step in plan:
            self._power.spend()
            lost += super().write((step,))
        return lost


@dataclass
class Box:
    """A machine with its disk: what is left when the power goes."""

    directory: Path
    world: World = field(default_factory=world)
    memory: MemoryInMemory = field(default_factory=MemoryInMemory)
    health: Health = field(default_factory=Health)
    power: Power = field(default_factory=Power)
    machines: list[FakeMachine] = field(default_factory=list)
    api: bool = True
    now: float = 1000.0

    @property
    def file(self) -> Path:
        """The owner's file."""
        return self.directory / "hagw.yaml"

    def archive(self) -> Archive:
        """Open the disk."""
        return Archive(self.directory / "state", self.file, DyingDisk(self.power))

    def writes(self) -> int:
        """Return how many steps all machines together took."""
        return sum(len(machine.taken) for machine in self.machines)

    def state(self) -> KernelState:
        """Read what the kernel holds, like somebody who looks from outside."""
        return FakeMachine(self.memory, self.world).read()

    def holds(self, intent: Intent) -> bool:
        """Say whether the kernel holds just what it would if nothing but this intent had ever been applied."""
        assert isinstance(intent, CpeIntent)
        return self.state() == desired(intent, self.world.facts, self.health.lines, intercept4=False, intercept6=False)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Running"]:
        """Run the control plane; the workers are left out. What the block leaves is what a kill -9 leaves."""
        in_force = take_up(self.archive())
        kernel = Reconciler(in_force.intent, self._machine)
        gateway = Gateway(in_force.intent, "0.1.0", kernel, self.health, lambda _: ())
        transactions = Transactions(gateway, self.archive(), in_force, self._api_answers, lambda: self.now)
        gateway.standing = transactions.standing
        await gateway.prepare()
        serving = asyncio.get_running_loop().create_task(transactions.run())
        try:
            yield Running(gateway, transactions, serving)
        finally:
            serving.cancel()
            await asyncio.wait({serving})
            await kernel.close()

    def _machine(self) -> FakeMachine:
        self.machines.append(DyingMachine(self.memory, self.world, self.power))
        return self.machines[-1]

    async def _api_answers(self) -> bool:
        return self.api


@dataclass(frozen=True)
class Running:
    """A running control plane."""

    gateway: Gateway
    transactions: Transactions
    serving: "asyncio.Task[None]"

    async def apply(self, text: str, **about: Any) -> Outcome:
        """Apply a text as if it stood in some file. Raise PowerLost where the power does not last."""
        return await self.powered(self.transactions.apply(Wish(text, "test.yaml", "tester", **about)))

    async def powered(self, verb: Coroutine[Any, Any, Outcome]) -> Outcome:
        """Await one of the control plane's verbs. Raise PowerLost where the power does not last."""
        asked = asyncio.get_running_loop().create_task(verb)
        await asyncio.wait({asked, self.serving}, return_when=asyncio.FIRST_COMPLETED)
        if self.serving.done():
            asked.cancel()
            self.serving.result()
        return await asked


BEFORE = config("dsl", "lte", rules=3)
AFTER = config("dsl", "wifi", rules=1, lte=", cost: 3")


def play(box: Box, story: Callable[[Running], Awaitable[None]]) -> None:
    async def run() -> None:
        async with box.running() as running:
            await story(running)

    asyncio.run(run())


def results(box: Box) -> list[str]:
    return [generation.result for generation in box.archive().generations.all()]


async def nothing(running: Running) -> None:
    """Start and end."""


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20.0):
        while not condition():
            await asyncio.sleep(0.01)
