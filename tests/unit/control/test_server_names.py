"""Names that were overheard: where they go, and when anybody listens at all."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from fakes import CPE, FakeKernel

from hagw.control.names import ServerNames
from hagw.errors import KernelRefused
from hagw.model.intent import CpeIntent, RuleIntent, TrafficDescriptor
from hagw.plan.named import NamedSets
from hagw.policy.names import Learnt

sys.path.append(str(Path(__file__).parents[1] / "policy"))
from test_dns_answers import FOUR, answer

RULE = RuleIntent("films", 1, TrafficDescriptor(domains=("*.example.org",)), "direct", ("dsl",))
ADDRESS = ip_address("203.0.113.10")


class FakeTap:
    """Notes where it listens."""

    def __init__(self, on_answer: Callable[[bytes], None]) -> None:
        self.on_answer = on_answer
        self.interfaces: tuple[str, ...] = ()

    def listen(self, interfaces: tuple[str, ...]) -> None:
        self.interfaces = interfaces


class Rig:
    """ServerNames between a fake kernel and a list of what workers are told."""

    def __init__(self, *rules: RuleIntent) -> None:
        self.intent: CpeIntent = replace(CPE, rules=rules)
        self.kernel = FakeKernel()
        self.told: list[Learnt] = []
        self.taps: list[FakeTap] = []
        self.names = ServerNames(self.kernel, lambda: self.intent, self.told.extend, self._tap)
        self.names.refill()

    def _tap(self, on_answer: Callable[[bytes], None]) -> FakeTap:
        self.taps.append(FakeTap(on_answer))
        return self.taps[-1]

    async def settle(self) -> None:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.names.run())
            for _ in range(5):
                await asyncio.sleep(0)
            task.cancel()


def test_nobody_listens_unless_a_rule_asks_for_names() -> None:
    rig = Rig()
    assert rig.taps[0].interfaces == ()
    rig.intent = replace(rig.intent, rules=(RULE,))
    rig.names.refill()
    assert rig.taps[0].interfaces == CPE.lan_interfaces


def test_what_is_overheard_goes_to_the_table_and_the_workers() -> None:
    async def story() -> None:
        rig = Rig(RULE)
        rig.taps[0].on_answer(answer(FOUR))
        await rig.settle()
        (name,) = NamedSets((RULE,)).of("www.example.org", 4)
        assert list(rig.kernel.named) == [name]
        assert rig.kernel.named[name][ADDRESS] == pytest.approx(600.0, abs=1.0)
        assert [(each.address, each.domain) for each in rig.told] == [(str(ADDRESS), "www.example.org")]
        assert rig.names.of(str(ADDRESS)) == ("www.example.org",)

    asyncio.run(story())


def test_a_name_that_no_rule_asks_for_is_only_remembered() -> None:
    async def story() -> None:
        rig = Rig(RULE)
        rig.taps[0].on_answer(answer(FOUR, asked="www.example.net"))
        await rig.settle()
        assert (rig.kernel.named, rig.told) == ({}, [])
        rig.intent = replace(rig.intent, rules=(replace(RULE, traffic=TrafficDescriptor(domains=("*.example.net",))),))
        rig.names.refill()
        await rig.settle()
        assert len(rig.kernel.named) == 1

    asyncio.run(story())


def test_a_table_that_refuses_is_filled_after_the_next_pass() -> None:
    async def story() -> None:
        rig = Rig(RULE)
        rig.kernel.failure = KernelRefused("there is no table")
        rig.taps[0].on_answer(answer(FOUR))
        await rig.settle()
        assert rig.kernel.named == {}
        rig.kernel.failure = None
        rig.names.refill()
        await rig.settle()
        assert len(rig.kernel.named) == 1

    asyncio.run(story())
