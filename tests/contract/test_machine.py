"""One suite for the kernel port in memory and the one on the real kernel."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from namespaces import Namespace
from routers import INTENT, build

from hagw.control.clear import close_gate, restore
from hagw.control.store import Store
from hagw.errors import KernelRefused
from hagw.kernel.fake import FakeMachine, World
from hagw.kernel.machine import Machine
from hagw.model.facts import Facts, UplinkFacts
from hagw.model.health import UplinkHealth
from hagw.model.intent import CpeIntent, HagIntent
from hagw.model.resources import KernelState, MptcpLimits, NftTable, Put, Sysctl, state_of
from hagw.plan import cpe, hag
from hagw.plan.diff import diff

FORWARD = "net/ipv4/ip_forward"
HAG = HagIntent((ip_address("0.0.0.0"),), 5124, 5124, 5125, ())
FACTS = Facts(
    uplinks={
        name: UplinkFacts(
            name=name,
            ifindex=number,
            admin_up=True,
            carrier=True,
            address4=ip_address(f"10.{number}.0.2"),
            address6=ip_address(f"2001:db8:{number}::2"),
            gateway4=ip_address(f"10.{number}.0.1"),
            gateway6=ip_address(f"2001:db8:{number}::1"),
            accepts_ra=True,
        )
        for number, name in ((1, "a"), (2, "b"))
    },
    sysctls=frozenset({"net/mptcp/pm_type", "net/mptcp/blackhole_timeout"}),
)


@dataclass
class Box:
    """Something that ports can be opened on, again and again."""

    open: Callable[[], Machine | FakeMachine]
    read_sysctl: Callable[[str], str]
    write_sysctl: Callable[[str, str], None]
    remove_table: Callable[[], object]


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.netns)])
def box(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Box]:
    store = Store(tmp_path, "here")
    with ExitStack() as ports:
        if request.param == "fake":
            state = cpe.desired(INTENT, FACTS, {}, intercept4=True, intercept6=True)
            names = [str(key[1]) for key in state if key[0] == "sysctl"]
            world = World(sysctls=dict.fromkeys([*names, "net/mptcp/pm_type"], "0"), facts=FACTS)
            yield Box(
                lambda: FakeMachine(store, world),
                world.sysctls.__getitem__,
                world.sysctls.__setitem__,
                lambda: world.resources.pop(NftTable("").key),
            )
            return
        namespace: Callable[[str], Namespace] = request.getfixturevalue("namespace")
        inside = build(namespace).cpe
        with inside.entered():
            yield Box(
                lambda: ports.enter_context(closing(Machine(store))),
                lambda name: Path("/proc/sys", name).read_text().strip(),
                inside.sysctl,
                lambda: inside.run("nft", "delete", "table", "inet", "hagw"),
            )


def wanted(box: Box, *down: str, intent: CpeIntent = INTENT, intercept: bool = True) -> KernelState:
    port = box.open()
    health = {name: UplinkHealth("down" if name in down else "up") for name in ("a", "b")}
    return cpe.desired(intent, port.facts(intent), health, intercept4=intercept, intercept6=intercept)


def test_what_was_written_is_read_by_this_port_and_the_next(box: Box) -> None:
    port = box.open()
    assert port.read() == {}
    state = wanted(box)
    port.write(diff(port.read(), state))
    assert port.read() == state
    assert box.open().read() == state


def test_a_gateways_state_is_written_and_put_back(box: Box) -> None:
    port = box.open()
    state = hag.desired(HAG, port.facts(HAG))
    port.write(diff(port.read(), state))
    assert port.read() == state
    assert restore(port) == ()
    assert port.read() == {}


def test_any_walk_between_states_ends_in_the_last_one_and_clears_to_nothing(box: Box) -> None:
    port = box.open()
    fewer = replace(INTENT, uplinks=INTENT.uplinks[:1])
    other = replace(INTENT, uplinks=tuple(replace(up, slot=3 - up.slot) for up in INTENT.uplinks))
    walk = [
        wanted(box),
        wanted(box, "a"),
        wanted(box, intent=fewer),
        wanted(box, "a", "b"),
        wanted(box, intent=other),
        {},
        wanted(box, intercept=False),
    ]
    for state in walk:
        port.write(diff(port.read(), state))
        assert port.read() == state
    restore(port)
    assert port.read() == {}


def test_a_table_that_goes_between_look_and_act_comes_back_with_the_act_and_is_told(box: Box) -> None:
    port = box.open()
    port.write(diff({}, wanted(box)))
    assert port.write(diff(port.read(), wanted(box, "a"))) == ()
    state = wanted(box)
    plan = diff(port.read(), state)
    box.remove_table()
    assert [step.resource.key for step in port.write(plan)] == [NftTable("").key]
    assert port.read() == state


@pytest.mark.parametrize("interrupted", range(0, 40, 3))
def test_a_crash_after_any_step_is_repaired_by_the_next_port(box: Box, interrupted: int) -> None:
    before = box.read_sysctl(FORWARD)
    state = wanted(box)
    box.open().write(diff({}, state)[:interrupted])
    port = box.open()
    port.write(diff(port.read(), state))
    assert port.read() == state
    again = box.open()
    again.write(diff(again.read(), {})[:interrupted])
    restore(box.open())
    assert box.open().read() == {}
    assert box.read_sysctl(FORWARD) == before


def test_a_disk_that_takes_nothing_keeps_the_table_from_following_no_line(box: Box, tmp_path: Path) -> None:
    port = box.open()
    port.write(diff({}, wanted(box)))
    (tmp_path / "kernel.new").mkdir()  # in the place of the file that is written
    for state in (wanted(box, "a"), wanted(box), wanted(box, "b")):
        port.write(diff(port.read(), state))
        assert port.read() == state
    assert len(port.notes) <= 1


def test_nothing_is_overwritten_that_cannot_be_remembered(box: Box, tmp_path: Path) -> None:
    port = box.open()
    state = wanted(box)
    (tmp_path / "kernel.new").mkdir()
    with pytest.raises(KernelRefused, match="cannot be remembered"):
        port.write(diff({}, state))
    assert port.read() == {}


def test_a_parameter_somebody_else_changed_since_is_left_alone_and_named(box: Box) -> None:
    port = box.open()
    port.write(diff(port.read(), wanted(box)))
    name = "net/ipv4/conf/a0/rp_filter"
    box.write_sysctl(name, "1")
    assert port.read()[Sysctl(name, "").key] == Sysctl(name, "1")
    notes = restore(port)
    assert len(notes) == 1
    assert name in notes[0]
    assert box.read_sysctl(name) == "1"


def test_a_change_by_somebody_else_is_seen_and_repaired(box: Box) -> None:
    port = box.open()
    state = wanted(box)
    port.write(diff(port.read(), state))
    box.write_sysctl(FORWARD, "0")
    assert diff(port.read(), state) == (Put(Sysctl(FORWARD, "1")),)
    port.write(diff(port.read(), state))
    assert port.read() == state


def test_closing_the_gate_ends_interception_only(box: Box) -> None:
    port = box.open()
    close_gate(port)
    assert port.intercepted() == frozenset()
    port.write(diff(port.read(), wanted(box)))
    assert port.intercepted() == {"ip", "ip6"}
    close_gate(port)
    assert port.intercepted() == frozenset()
    assert [step.resource for step in diff(port.read(), wanted(box))] == [wanted(box)[NftTable("").key]]


def test_an_impossible_step_is_refused_with_its_name(box: Box) -> None:
    port = box.open()
    with pytest.raises(KernelRefused, match="no/such/thing"):
        port.write((Put(Sysctl("no/such/thing", "1")),))
    with pytest.raises(KernelRefused, match=r"203\.0\.113\.10"):
        port.add_refused(ip_address("203.0.113.10"), 80, 30.0)


def test_limits_are_put_back(box: Box) -> None:
    port = box.open()
    port.write(diff(port.read(), state_of(MptcpLimits(8, 0))))
    port.write(diff(port.read(), state_of(MptcpLimits(7, 1))))
    assert port.read() == port.read_unannounced() == state_of(MptcpLimits(7, 1))
    assert restore(box.open()) == ()
    checked = box.open()
    checked.write(diff(checked.read(), state_of(MptcpLimits(2, 0))))
    assert checked.read() == state_of(MptcpLimits(2, 0))
