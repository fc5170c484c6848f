"""The control plane over the real kernel, without workers, as a process of its own. Run inside a network namespace.

It does what each line of its input says, in one more process each: a fork, as Python takes longer to start than all of
it takes to do. How that ended, and what it said, is a line of JSON again. A line is one of these, as a JSON list:

    start DIR          start as a daemon does, say what is in force, end
    apply DIR FILE N   likewise, then apply FILE and be killed at the N-th step of kernel and disk together
    walk DIR COUNT     likewise, then apply so many configurations chosen at random

DIR holds the owner's file, the generations, and what the kernel held before. The last line said is a JSON document.
"""

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from hagw.control.durable import Disk
from hagw.control.gateway import Gateway
from hagw.control.inforce import Archive, InForce, take_up
from hagw.control.reconcile import Reconciler
from hagw.control.store import Store, namespace_identity
from hagw.control.transaction import Transactions
from hagw.control.wish import Wish
from hagw.kernel.machine import Machine
from hagw.log import set_up
from hagw.model.health import UplinkHealth
from hagw.model.intent import CpeIntent
from hagw.model.resources import Plan
from hagw.plan.cpe import desired
from hagw.plan.diff import describe, diff
from tests import variety
from tests.fakes import FakeHealth

LINES = ("a", "b")
ADDRESSES = (
    "",
    ", mtu: 1400",
    ", address: ra",
    ", gateway6: 'fe80::1'",
    ", address: static, addresses: [192.0.2.1N/24, '2001:db8:77::1N/64'], gateway4: 192.0.2.1, gateway6: 'fe80::1'",
)
SECTIONS = (
    "bypass: [203.0.113.0/24, '2001:db8:9::/48']",
    "congestion_control: cubic",
    "mptcp: {scheduler: default}",
    "firewall: {allow: [{name: ping, protocol: icmp}, {name: web, protocol: tcp, destination_port: ['8000-8100']}]}",
)
SETTLED_S = 20.0


class Fuse:
    """Kills this process when it is burnt down; None = never."""

    def __init__(self) -> None:
        self.left: int | None = None

    def burn(self) -> None:
        """Take one step, or die before it."""
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.left is not None:
            self.left -= 1


class FusedDisk(Disk):
    """A disk on the fuse."""

    def __init__(self, fuse: Fuse) -> None:
        self._fuse = fuse

    def replace(self, path: Path, text: str, mode: int = 0o600) -> None:
        self._fuse.burn()
        super().replace(path, text, mode)

    def point(self, link: Path, target: str) -> None:
        self._fuse.burn()
        super().point(link, target)

    def remove(self, path: Path) -> None:
        self._fuse.burn()
        super().remove(path)


class FusedMachine(Machine):
    """The kernel on the fuse, step by step."""

    fuse: Fuse

    def write(self, plan: Plan) -> Plan:
        lost: Plan = ()
        for step in plan:
            self.fuse.burn()
            lost += super().write((step,))
        return lost


class Process:
    """What a daemon is made of, as far as the kernel and the disk know."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.fuse = Fuse()
        self.health = FakeHealth(lines={name: UplinkHealth("up") for name in LINES}, reach={})
        self.archive = Archive(directory / "state", directory / "hagw.yaml", FusedDisk(self.fuse))

    def machine(self) -> FusedMachine:
        """Open the kernel in the calling thread."""
        machine = FusedMachine(Store(self.directory / "kernel", namespace_identity()))
        machine.fuse = self.fuse
        return machine

    @asynccontextmanager
    async def running(self) -> AsyncIterator[tuple[Gateway, Transactions, InForce]]:
        """Run until the block ends; kernel and disk stay as they are then."""
        in_force = take_up(self.archive)
        kernel = Reconciler(in_force.intent, self.machine)
        gateway = Gateway(in_force.intent, "0.1.0", kernel, self.health, lambda _: ())

        async def api_answers() -> bool:
            return True

        transactions = Transactions(gateway, self.archive, in_force, api_answers)
        await gateway.prepare()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(part.run()) for part in (transactions, gateway)]
            yield gateway, transactions, in_force
            for task in tasks:
                task.cancel()
        await kernel.close()

    def left_to_do(self, gateway: Gateway) -> list[str]:
        """Return the steps that the kernel is away from what the present intent wants, read through a fresh port."""
        machine, intent = self.machine(), gateway.intent
        assert isinstance(intent, CpeIntent)
        facts = machine.facts(intent)
        wanted = desired(intent, facts, self.health.lines, intercept4=False, intercept6=False)
        left = diff(machine.read(), wanted)
        machine.close()
        return [describe(step) for step in left]


async def start(process: Process) -> dict[str, Any]:
    """Start and end."""
    async with process.running() as (gateway, transactions, in_force):
        gateway.look_again()  # as the kernel's events have it do after a start that changed something
        async with asyncio.timeout(SETTLED_S):
            while left := await asyncio.to_thread(process.left_to_do, gateway):
                await asyncio.sleep(0.02)
        return {"generation": in_force.generation, "text": transactions.text(None), "left": left}


async def apply(process: Process, file: Path, steps: int) -> dict[str, Any]:
    """Apply, as far as the fuse lets."""
    async with process.running() as (_, transactions, _):
        process.fuse.left = steps
        outcome = await transactions.apply(Wish(file.read_text(), file.name, write_file=True))
        return {"generation": outcome.generation, "steps": outcome.steps}


async def walk(process: Process, count: int) -> dict[str, Any]:
    """Walk at random, and list where the kernel was not as wanted after a transition."""
    dice = random.Random(11)
    worst: list[str] = []
    async with process.running() as (gateway, transactions, _):
        for _ in range(count):
            await transactions.apply(Wish(configuration(dice), "walk.yaml"))
            worst += await asyncio.to_thread(process.left_to_do, gateway)
        return {"text": transactions.text(None), "left": worst}


def configuration(dice: random.Random) -> str:
    """Return a valid configuration of the CPE in `routers`."""
    names = dice.sample(LINES, dice.randint(1, len(LINES)))
    said = variety.about(dice, names)
    lines = ["version: 1", "role: cpe", "lan: {interfaces: [lan0]}", "uplinks:"]
    for name in names:
        where = dice.choice((f"interface: {name}0", f"match: {{name: '{name}?'}}"))
        how = "" if "gateway4" in said[name] else dice.choice(ADDRESSES).replace("N", str(LINES.index(name)))
        lines.append(f"  - {{name: {name}, kind: dsl, {where}{said[name]}{how}}}")
    key = bytes(range(32)).hex()
    lines.append(f"gateways: [{{name: hag, addresses: [198.51.100.10], customer: home, key: '{key}'}}]")
    return "\n".join([*lines, variety.sections(dice, names, SECTIONS), ""])


def obey(verb: str, directory: str, *more: str) -> None:
    """Do as told."""
    set_up()
    process = Process(Path(directory))
    match verb, more:
        case "start", ():
            document = asyncio.run(start(process))
        case "apply", (file, steps):
            document = asyncio.run(apply(process, Path(file), int(steps)))
        case "walk", (count,):
            document = asyncio.run(walk(process, int(count)))
        case _:
            raise ValueError(verb)
    print(json.dumps(document))


def main() -> None:
    """Fork for each order, and say how it ended."""
    for line in sys.stdin:
        order = json.loads(line)
        with TemporaryFile() as said, TemporaryFile() as told:
            pid = os.fork()
            if pid == 0:
                os.dup2(said.fileno(), sys.stdout.fileno())
                os.dup2(told.fileno(), sys.stderr.fileno())
                obey(*order)
                return
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            said.seek(0)
            told.seek(0)
            ended = {"status": status, "stdout": said.read().decode(), "stderr": told.read().decode()}
        print(json.dumps(ended), flush=True)


if __name__ == "__main__":
    main()
