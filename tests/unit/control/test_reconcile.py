"""The reconcile loop on the kernel in memory."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address

import pytest

from hagw.control.ports import Interception
from hagw.control.reconcile import Reconciler
from hagw.errors import KernelRefused
from hagw.kernel.fake import FakeMachine, MemoryInMemory, World
from hagw.model.facts import Facts, UplinkFacts
from hagw.model.health import UplinkHealth
from hagw.model.intent import CpeIntent, GatewayIntent, UplinkIntent
from hagw.model.resources import NftTable, Plan, Rule, Sysctl
from hagw.plan.cpe import desired

LINES = ("dsl", "lte")
INTENT = CpeIntent(
    lan_interfaces=("lan0",),
    uplinks=tuple(UplinkIntent(name, "dsl", f"{name}0", slot) for slot, name in enumerate(LINES, start=1)),
    gateways=(GatewayIntent("hag", (ip_address("198.51.100.10"),), 5124, 5124, "home", bytes(32)),),
)
FACTS = Facts(
    uplinks={
        name: UplinkFacts(
            name,
            number + 1,
            admin_up=True,
            carrier=True,
            address4=ip_address(f"192.0.{number}.2"),
            gateway4=ip_address(f"192.0.{number}.1"),
        )
        for number, name in enumerate(LINES, start=1)
    }
)
ON = Interception(ipv4=True, ipv6=True)
UP = {name: UplinkHealth("up") for name in LINES}
DSL_DOWN = {**UP, "dsl": UplinkHealth("down")}


class Forgetful(FakeMachine):
    """A kernel that says yes and does nothing."""

    def write(self, plan: Plan) -> Plan:
        """Take no step."""
        return ()


def world() -> World:
    state = desired(INTENT, FACTS, UP, intercept4=True, intercept6=True)
    return World(sysctls={str(key[1]): "0" for key in state if key[0] == "sysctl"}, facts=FACTS)


def run(around: World, story: Callable[[Reconciler], object], kind: type[FakeMachine] = FakeMachine) -> Reconciler:
    memory = MemoryInMemory()
    reconciler = Reconciler(INTENT, lambda: kind(memory, around))

    async def play() -> None:
        await story(reconciler)  # type: ignore[misc]  # every story is a coroutine function
        await reconciler.close()

    asyncio.run(play())
    return reconciler


def test_the_desired_state_is_reached_and_then_nothing_is_left_to_do() -> None:
    around = world()

    async def story(reconciler: Reconciler) -> None:
        assert await reconciler.interception() == Interception()
        facts = await reconciler.facts()
        assert await reconciler.reconcile(facts, UP, ON) > 10
        assert await reconciler.reconcile(facts, UP, ON) == 0
        assert await reconciler.interception() == ON

    assert run(around, story).drift().repairs == 0
    assert around.sysctls["net/ipv4/ip_forward"] == "1"
    assert around.forgotten == []


def test_what_somebody_else_changed_is_repaired_and_counted() -> None:
    around = world()

    async def story(reconciler: Reconciler) -> None:
        await reconciler.reconcile(FACTS, UP, ON)
        around.resources.clear()
        around.sysctls["net/ipv4/ip_forward"] = "0"
        assert await reconciler.reconcile(FACTS, UP, ON) > 5

    assert run(around, story).drift().repairs == 1
    assert around.sysctls["net/ipv4/ip_forward"] == "1"


def test_parameters_that_others_change_are_noticed_without_a_pass() -> None:
    around = world()

    async def story(reconciler: Reconciler) -> None:
        assert not await reconciler.is_changed_unannounced()  # nothing is held yet
        await reconciler.reconcile(FACTS, UP, ON)
        assert not await reconciler.is_changed_unannounced()
        around.sysctls["net/mptcp/enabled"] = "0"
        assert await reconciler.is_changed_unannounced()
        await reconciler.reconcile(FACTS, UP, ON)
        assert not await reconciler.is_changed_unannounced()
        around.resources.clear()
        assert not await reconciler.is_changed_unannounced()  # the kernel tells of these

    drift = run(around, story).drift()
    assert (drift.repairs, drift.lost) == (1, (0, 0, 0, 1, 0, 0, 0))


def test_a_lost_table_is_put_back_without_a_pass_and_counted() -> None:
    around = world()

    async def story(reconciler: Reconciler) -> None:
        assert not await reconciler.restore_table()
        await reconciler.reconcile(FACTS, UP, ON)
        assert not await reconciler.restore_table()
        table = around.resources.pop(NftTable("").key)
        assert await reconciler.restore_table()
        assert around.resources[table.key] == table
        assert await reconciler.reconcile(FACTS, UP, ON) == 0

    drift = run(around, story).drift()
    assert (drift.repairs, drift.lost[0]) == (1, 1)


def test_a_table_lost_while_something_else_changes_is_counted_as_well() -> None:
    """Full lines are judged anew all the time: the pass that puts another table finds the old one gone."""
    around = world()

    async def story(reconciler: Reconciler) -> None:
        await reconciler.reconcile(FACTS, UP, ON)
        for health in (DSL_DOWN, UP, DSL_DOWN):
            around.resources.pop(NftTable("").key)
            await reconciler.reconcile(FACTS, health, ON)
        around.resources[NftTable("").key] = NftTable("")  # edited, as the port reads it
        await reconciler.reconcile(FACTS, UP, ON)

    drift = run(around, story).drift()
    assert (drift.repairs, drift.lost[0]) == (4, 4)
    assert drift.last is not None
    assert drift.last.steps == ("put nft table inet hagw",)


def test_rules_lost_while_something_else_changes_are_counted_and_what_is_new_is_not() -> None:
    around = world()

    async def story(reconciler: Reconciler) -> None:
        await reconciler.reconcile(FACTS, UP, ON)
        rules = [key for key, found in around.resources.items() if isinstance(found, Rule)]
        del around.resources[rules[0]]
        await reconciler.reconcile(FACTS, DSL_DOWN, ON)
        await reconciler.reconcile(FACTS, UP, ON)

    drift = run(around, story).drift()
    assert (drift.repairs, sum(drift.lost)) == (1, 1)
    assert drift.last is not None
    assert "rule" in drift.last.steps[0]


class Meddled(FakeMachine):
    """A kernel whose table somebody removes between look and act."""

    def write(self, plan: Plan) -> Plan:
        self.world.resources.pop(NftTable("").key, None)
        return super().write(plan)


def test_a_table_lost_between_look_and_act_is_counted() -> None:
    around = world()

    async def story(reconciler: Reconciler) -> None:
        await reconciler.reconcile(FACTS, UP, ON)
        await reconciler.reconcile(FACTS, DSL_DOWN, ON)

    drift = run(around, story, Meddled).drift()
    assert (drift.repairs, drift.lost[0]) == (1, 1)


def test_flows_leave_a_line_once_when_it_stops_working() -> None:
    around = world()

    async def story(reconciler: Reconciler) -> None:
        await reconciler.reconcile(FACTS, UP, ON)
        for health in (DSL_DOWN, DSL_DOWN, UP, UP):
            await reconciler.reconcile(FACTS, health, ON)

    run(around, story)
    assert around.forgotten == [1]


def test_what_loses_nothing_leaves_a_line_as_soon_as_it_is_suspected() -> None:
    around = world()
    suspect = {**UP, "dsl": UplinkHealth("suspect")}

    async def story(reconciler: Reconciler) -> None:
        for health in (UP, suspect, suspect, UP, suspect):
            await reconciler.reconcile(FACTS, health, ON)

    run(around, story)
    assert (around.doubted, around.forgotten) == ([1, 1], [])


def test_flows_leave_a_line_whose_address_changes() -> None:
    around = world()
    moved = replace(FACTS.uplinks["lte"], address4=ip_address("192.0.2.99"))

    async def story(reconciler: Reconciler) -> None:
        await reconciler.reconcile(FACTS, UP, ON)
        await reconciler.reconcile(replace(FACTS, uplinks={**FACTS.uplinks, "lte": moved}), UP, ON)

    run(around, story)
    assert around.forgotten == [2]


def test_a_new_daemon_lets_flows_leave_lines_that_do_not_work() -> None:
    around = world()

    async def story(reconciler: Reconciler) -> None:
        await reconciler.reconcile(FACTS, DSL_DOWN, ON)

    run(around, story)
    assert around.forgotten == [1]


def test_a_kernel_that_does_not_keep_the_state_is_reported_not_fought() -> None:
    async def story(reconciler: Reconciler) -> None:
        with pytest.raises(KernelRefused, match="does not keep"):
            await reconciler.reconcile(FACTS, UP, ON)

    run(world(), story, Forgetful)


def test_a_refused_step_is_an_error_and_the_next_pass_goes_on_from_there() -> None:
    around = world()
    del around.sysctls["net/ipv4/ip_forward"]

    async def story(reconciler: Reconciler) -> None:
        with pytest.raises(KernelRefused, match="ip_forward"):
            await reconciler.reconcile(FACTS, UP, ON)
        around.sysctls["net/ipv4/ip_forward"] = "0"
        assert await reconciler.reconcile(FACTS, UP, ON) > 0

    run(around, story)
    assert around.sysctls["net/ipv4/ip_forward"] == Sysctl("net/ipv4/ip_forward", "1").value


def test_a_refused_destination_reaches_the_kernel() -> None:
    around = world()

    async def story(reconciler: Reconciler) -> None:
        await reconciler.reconcile(FACTS, UP, ON)
        await reconciler.add_refused(ip_address("203.0.113.9"), 81, 30.0)
        assert await reconciler.counters() == {}

    run(around, story)
    assert around.refused == {(ip_address("203.0.113.9"), 81)}
