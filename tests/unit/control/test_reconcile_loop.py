"""The reconcile loop over fake ports and scripted workers."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from hagw.control import unannounced
from hagw.control.gateway import Gateway
from hagw.control.ports import Interception
from hagw.control.refusals import REFUSED_S
from hagw.control.worker_seat import SeatPlan
from hagw.control.workers import stop_all
from hagw.errors import HagwError
from hagw.model.health import GatewayHealth, UplinkHealth
from hagw.model.intent import Intent
from tests.attentive import attentive
from tests.fakes import ALL_UP, CPE, FACTS, FAKE_WORKER, HAG, FakeHealth, FakeKernel

OPEN = Interception(ipv4=True)
CLOSED = Interception()


class Setup:
    """A gateway with its fakes."""

    def __init__(self, runtime_dir: Path, intent: Intent, moods: tuple[str, ...]) -> None:
        self.kernel = FakeKernel()
        self.health = FakeHealth()
        path = runtime_dir / "worker-0.sock"
        seat = SeatPlan(0, path, (sys.executable, str(FAKE_WORKER), str(path), *moods), runtime_dir / "0.log")
        self.gateway = Gateway(intent, "0.1.0", self.kernel, self.health, lambda _: (seat,))

    async def until(self, condition: Callable[[], object]) -> float:
        """Wait for the condition; return how long it took, stalls of the machine aside."""
        async with asyncio.timeout(30.0), attentive() as passed_s:
            while not condition():
                await asyncio.sleep(0.01)
            return passed_s()

    def applied(self) -> list[int]:
        """Return the generations that the worker has applied."""
        applied: list[int] = self.gateway.workers.reports()[0].stats.get("applied", [])
        return applied


@asynccontextmanager
async def running(runtime_dir: Path, intent: Intent = CPE, *moods: str) -> AsyncIterator[Setup]:
    setup = Setup(runtime_dir, intent, moods)
    await setup.gateway.prepare()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(setup.gateway.run())
        yield setup
        task.cancel()


@pytest.fixture
def runtime_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    asyncio.run(stop_all(tmp_path, 0.0))


def test_interception_starts_only_when_a_worker_listens(runtime_dir: Path) -> None:
    async def scenario() -> None:
        async with running(runtime_dir) as setup:
            await setup.until(lambda: setup.kernel.held == OPEN)
            assert setup.kernel.wanted[0] == CLOSED
            assert setup.gateway.workers.listening_count() == 1
            assert setup.gateway.status()["state"] == "bonded"

    asyncio.run(scenario())


@pytest.mark.parametrize("intent", [CPE, HAG])
def test_what_nobody_tells_of_is_looked_at_every_few_seconds(
    runtime_dir: Path, monkeypatch: pytest.MonkeyPatch, intent: Intent
) -> None:
    monkeypatch.setattr(unannounced, "LOOK_S", 0.05)

    async def scenario() -> None:
        async with running(runtime_dir, intent) as setup:
            await setup.until(lambda: setup.gateway.workers.listening_count() == 1)
            setup.kernel.is_changed = True
            await setup.until(lambda: not setup.kernel.is_changed)
            passes = len(setup.kernel.wanted)
            setup.kernel.is_changed = True
            await setup.until(lambda: len(setup.kernel.wanted) > passes)

    asyncio.run(scenario())


def test_interception_found_at_the_start_is_kept(runtime_dir: Path) -> None:
    async def scenario() -> None:
        setup = Setup(runtime_dir, CPE, ())
        setup.kernel.held = OPEN
        await setup.gateway.prepare()
        assert setup.kernel.wanted == [OPEN]

    asyncio.run(scenario())


def test_a_gateway_down_for_long_turns_interception_off_until_it_answers(runtime_dir: Path) -> None:
    async def scenario() -> None:
        async with running(runtime_dir) as setup:
            await setup.until(lambda: setup.kernel.held == OPEN)
            setup.health.reach["hag1"] = GatewayHealth("down", "no answer")
            began = time.monotonic()
            setup.gateway.look_again()
            assert await setup.until(lambda: setup.kernel.held == CLOSED) < 3.0
            assert time.monotonic() - began > 1.9
            assert setup.gateway.status()["state"] == "unbonded"
            setup.health.reach["hag1"] = GatewayHealth("up")
            setup.gateway.look_again()
            assert await setup.until(lambda: setup.kernel.held == OPEN) < 0.5

    asyncio.run(scenario())


def test_a_lost_uplink_reaches_the_workers_also_during_a_pass(runtime_dir: Path) -> None:
    async def scenario() -> None:
        async with running(runtime_dir) as setup:
            await setup.until(lambda: setup.kernel.held == OPEN)
            report = setup.gateway.workers.reports()[0]
            setup.kernel.pass_s, begun = 60.0, setup.kernel.begun
            setup.gateway.look_again()
            await setup.until(lambda: setup.kernel.begun > begun)  # a pass is under way
            setup.health.lines = {**ALL_UP, "dsl": UplinkHealth("suspect", "no answer")}
            setup.gateway.uplink_changed("dsl", UplinkHealth("suspect"))
            was = report.generation
            assert await setup.until(lambda: setup.gateway.workers.reports()[0].generation != was) < 0.2

    asyncio.run(scenario())


def test_a_new_rtt_waits_for_its_turn(runtime_dir: Path) -> None:
    async def scenario() -> None:
        async with running(runtime_dir) as setup:
            await setup.until(lambda: setup.kernel.held == OPEN)
            applied = len(setup.applied())
            for rtt_ms in range(10):
                setup.health.lines = {**ALL_UP, "dsl": replace(ALL_UP["dsl"], rtt_ms=float(rtt_ms))}
                setup.gateway.uplink_changed("dsl", UplinkHealth("suspect"))
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.4)
            assert len(setup.applied()) <= applied + 1
            await setup.until(lambda: len(setup.applied()) > applied)

    asyncio.run(scenario())


def test_a_kernel_failure_is_shown_and_retried(runtime_dir: Path) -> None:
    async def scenario() -> None:
        async with running(runtime_dir) as setup:
            await setup.until(lambda: setup.kernel.held == OPEN)
            setup.kernel.failure = HagwError("The nft table cannot be put.")
            setup.gateway.look_again()
            await setup.until(lambda: setup.gateway.status()["reason"] == "The nft table cannot be put.")
            setup.kernel.failure = None
            await setup.until(lambda: setup.gateway.status()["state"] == "bonded")

    asyncio.run(scenario())


def test_a_refused_destination_is_left_unintercepted(runtime_dir: Path) -> None:
    async def scenario() -> None:
        async with running(runtime_dir, CPE, "chatty") as setup:
            await setup.until(lambda: setup.kernel.refused)
            assert setup.kernel.refused[0] == (ip_address("203.0.113.9"), 81, REFUSED_S)

    asyncio.run(scenario())


def test_a_proof_of_life_reaches_the_workers(runtime_dir: Path) -> None:
    async def scenario() -> None:
        async with running(runtime_dir) as setup:
            await setup.until(lambda: setup.kernel.held == OPEN)
            setup.gateway.heard("hag1", 12.5)
            await setup.until(lambda: "hag1" in setup.gateway.workers.reports()[0].stats.get("heard", []))

    asyncio.run(scenario())


def test_the_observers_are_told_the_facts_of_every_pass(runtime_dir: Path) -> None:
    async def scenario() -> None:
        async with running(runtime_dir) as setup:
            setup.kernel.now = replace(FACTS, congestion_controls=("cubic",))
            setup.gateway.look_again()
            await setup.until(lambda: setup.health.seen[-1] == setup.kernel.now)
            assert setup.health.seen[0] == FACTS

    asyncio.run(scenario())


def test_a_hag_intercepts_nothing_and_serves(runtime_dir: Path) -> None:
    async def scenario() -> None:
        async with running(runtime_dir, HAG) as setup:
            await setup.until(lambda: setup.gateway.status()["state"] == "bonded")
            assert setup.kernel.held == CLOSED

    asyncio.run(scenario())


def test_flows_come_from_the_workers(runtime_dir: Path) -> None:
    async def scenario() -> None:
        async with running(runtime_dir) as setup:
            await setup.until(lambda: setup.kernel.held == OPEN)
            document = await setup.gateway.flows(60.0)
            assert [flow["client"] for flow in document["flows"]] == ["192.168.77.10"]

    asyncio.run(scenario())
