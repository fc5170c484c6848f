"""The laws of plans, for any two states; with the fake kernel, also when the power fails between two steps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from states import states

from hagw.errors import KernelRefused
from hagw.kernel.fake import FakeMachine, MemoryInMemory, World
from hagw.model.resources import Drop, KernelState, NftTable, Put, Route, Rule, Sysctl, state_of
from hagw.plan.diff import describe, diff, execute

GATE = NftTable("").key


@given(states, states)
def test_executing_the_plan_gives_the_desired_state(actual: KernelState, desired: KernelState) -> None:
    assert execute(actual, diff(actual, desired)) == desired


@given(states)
def test_nothing_to_do_is_an_empty_plan(state: KernelState) -> None:
    assert diff(state, state) == ()


@given(states, states)
def test_the_gate_closes_first_and_opens_last(actual: KernelState, desired: KernelState) -> None:
    plan = diff(actual, desired)
    gate = [index for index, step in enumerate(plan) if step.resource.key == GATE]
    if GATE in actual and GATE not in desired:
        assert gate == [0]
    if GATE not in actual and GATE in desired:
        assert gate == [len(plan) - 1]
    if GATE in actual and GATE in desired and gate:
        assert all(isinstance(step, Put) for step in plan[: gate[0]])
        assert all(isinstance(step, Drop) for step in plan[gate[0] + 1 :])


@given(states, states, states, st.integers(0, 40))
def test_what_was_begun_can_be_taken_back(
    actual: KernelState, desired: KernelState, checkpoint: KernelState, steps: int
) -> None:
    between = execute(actual, diff(actual, desired)[:steps])
    assert execute(between, diff(between, checkpoint)) == checkpoint


@given(states, states)
def test_a_route_that_stays_is_there_all_the_time(actual: KernelState, desired: KernelState) -> None:
    staying = [key for key in actual if key[0] == "route" and key in desired]
    plan = diff(actual, desired)
    for steps in range(len(plan) + 1):
        between = execute(actual, plan[:steps])
        assert all(key in between for key in staying)


@given(states, states)
def test_a_rule_never_leads_to_a_table_whose_route_comes_later(actual: KernelState, desired: KernelState) -> None:
    plan = diff(actual, desired)
    routes = [index for index, step in enumerate(plan) if isinstance(step, Put) and isinstance(step.resource, Route)]
    rules = [index for index, step in enumerate(plan) if isinstance(step, Put) and isinstance(step.resource, Rule)]
    assert max(routes, default=-1) < min(rules, default=len(plan))


def test_advertisements_are_kept_before_forwarding_would_forget_them() -> None:
    accept = Sysctl("net/ipv6/conf/dsl0/accept_ra", "2")
    forward = Sysctl("net/ipv6/conf/all/forwarding", "1")
    wanted = state_of(forward, accept)
    assert [step.resource for step in diff({}, wanted)] == [accept, forward]
    assert [step.resource for step in diff(wanted, {})] == [forward, accept]


@given(states, states, states, st.integers(0, 40))
def test_a_power_failure_after_any_step_is_repaired_and_everything_can_be_cleared(
    first: KernelState, second: KernelState, third: KernelState, steps: int
) -> None:
    world = World(
        sysctls={"net/ipv4/ip_forward": "7", "net/ipv6/conf/dsl0/accept_ra": "7", "net/ipv6/conf/all/forwarding": "7"}
    )
    world.links = {(device, name): 7 for device in ("dsl0", "lte0") for name in ("mtu", "up")}
    before = (dict(world.sysctls), world.limits, dict(world.links))
    memory = MemoryInMemory()
    FakeMachine(memory, world).write(diff({}, first))
    dying = FakeMachine(memory, world, steps_left=steps)
    plan = diff(dying.read(), second)
    if len(plan) > steps:
        with pytest.raises(KernelRefused):
            dying.write(plan)
    else:
        dying.write(plan)
    for wanted in (third, {}):
        again = FakeMachine(memory, world)
        again.write(diff(again.read(), wanted))
        assert again.read() == wanted
    assert (world.sysctls, world.limits, world.links) == before
    assert not world.resources


@given(states)
def test_every_step_can_be_described(state: KernelState) -> None:
    for step in (*diff({}, state), *diff(state, {})):
        assert describe(step).startswith(("put ", "drop "))
