"""Which interface an uplink gets."""

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hagw.model.facts import Facts, UplinkFacts
from hagw.model.intent import CpeIntent, InterfaceMatch, UplinkIntent, UplinkKind
from hagw.uplinks.interfaces import Found, Link, Missing, find, resolved
from hagw.uplinks.kinds import KINDS


def by_name(name: str, interface: str, enabled: bool = True) -> UplinkIntent:
    return UplinkIntent(name, "wwan", interface, 1, enabled)


def by_match(line: str, /, *, enabled: bool = True, **match: str) -> UplinkIntent:
    return UplinkIntent(line, "wwan", "", 1, enabled, match=InterfaceMatch(**match))


def found(*uplinks: UplinkIntent, links: tuple[Link, ...]) -> dict[str, str]:
    """Return each uplink's interface, or why it has none."""
    choices = find(CpeIntent(("lan0",), uplinks, ()), links)
    return {name: each.interface if isinstance(each, Found) else each.why for name, each in choices.items()}


STICK = Link("usb0", "02:00:5e:00:00:01", driver="cdc_ether")
PHONE = Link("usb1", "02:00:5e:00:00:02", driver="rndis_host")
CARD = Link("eth0", "02:00:5e:00:00:03", "02:00:5e:00:00:03", "r8169")
LAN = Link("lan0", driver="r8169")


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ({"name": "usb0"}, "usb0"),
        ({"mac": "02:00:5e:00:00:02"}, "usb1"),
        ({"driver": "cdc_*"}, "usb0"),
        ({"driver": "r8169"}, "eth0"),  # lan0 has it as well
        ({"name": "usb*", "driver": "rndis_host"}, "usb1"),
        ({"name": "usb*"}, "usb0, usb1 all have name usb*: make the match narrower"),
        ({"name": "wwan*"}, "no interface has name wwan*; it comes with the modem's connection (ModemManager)"),
        ({"name": "lan*"}, "lan0 is a LAN interface already"),
    ],
)
def test_what_fits_alone_is_taken(match: dict[str, str], expected: str) -> None:
    assert found(by_match("lte", **match), links=(LAN, STICK, PHONE, CARD)) == {"lte": expected}


def test_a_named_interface_is_not_there_for_matches_and_order_decides_the_rest() -> None:
    lines = (by_match("any", name="usb*"), by_name("stick", "usb0"))
    assert found(*lines, links=(STICK, PHONE)) == {"any": "usb1", "stick": "usb0"}
    assert found(*lines, links=(STICK,)) == {"any": "usb0 is uplink stick's already", "stick": "usb0"}
    twice = (by_match("off", enabled=False, name="usb?"), by_match("one", driver="cdc*"), by_match("two", name="u*"))
    why = "usb0 is uplink one's already"
    assert found(*twice, links=(STICK,)) == {"off": why, "one": "usb0", "two": why}


def test_the_hardware_is_meant_and_not_what_is_built_on_it() -> None:
    bridge = Link("br0", CARD.mac, driver="bridge")
    assert found(by_match("dsl", mac=CARD.mac), links=(bridge, CARD)) == {"dsl": "eth0"}
    cloaked = replace(CARD, mac="06:99:99:99:99:99")
    assert found(by_match("wifi", mac=CARD.mac), links=(cloaked,)) == {"wifi": "eth0"}


names = st.sampled_from(("usb0", "usb1", "eth0", "lan0"))
uplinks = st.builds(
    UplinkIntent,
    st.sampled_from("abcd"),
    st.sampled_from(get_args(UplinkKind)),
    st.just(""),
    st.just(1),
    st.booleans(),
    match=st.builds(InterfaceMatch, name=st.none() | st.sampled_from(("usb*", "*", "eth0"))),
) | st.builds(by_name, st.sampled_from("abcd"), names)


@given(st.lists(uplinks, max_size=4, unique_by=lambda up: up.name), st.lists(names, unique=True))
def test_no_interface_is_given_twice_and_every_uplink_gets_an_answer(
    lines: list[UplinkIntent], there: list[str]
) -> None:
    choices = find(CpeIntent(("lan0",), tuple(lines), ()), [Link(name) for name in there])
    assert set(choices) == {line.name for line in lines}
    given_out = [each.interface for each in choices.values() if isinstance(each, Found)]
    assert len(given_out) == len(set(given_out))
    assert set(given_out) <= set(there) - {"lan0"}
    assert all(each.why for each in choices.values() if isinstance(each, Missing))


def test_the_name_of_now_replaces_the_one_of_the_file() -> None:
    lines = (by_match("lte", name="usb*"), by_name("dsl", "dsl0"), by_match("gone", name="x*"))
    facts = Facts({"lte": UplinkFacts("lte", 3, interface="usb1"), "gone": UplinkFacts("gone", None, problem="none")})
    assert [up.interface for up in resolved(CpeIntent(("lan0",), lines, ()), facts).uplinks] == ["usb1", "dsl0", ""]


def test_every_kind_is_there() -> None:
    assert set(KINDS) == set(get_args(UplinkKind))
    assert all(name == kind.name for name, kind in KINDS.items())
