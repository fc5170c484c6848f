"""What an interface cannot do is refused before anything is touched, unless it is in force already."""

from dataclasses import replace

from hagw.model.facts import Facts, UplinkFacts
from hagw.model.intent import CpeIntent, InterfaceMatch, UplinkIntent
from hagw.plan.feasible import impossibilities

LINE = UplinkIntent("fibre", "ethernet", "wan0", 1)
PRESENT = CpeIntent(lan_interfaces=("lan0",), uplinks=(LINE,), gateways=())
FACTS = Facts({"fibre": UplinkFacts("fibre", 3, interface="wan0", mtu_min=68, mtu_max=1500)})


def with_line(**changes: object) -> CpeIntent:
    return replace(PRESENT, uplinks=(replace(LINE, **changes),))


def test_an_mtu_beyond_the_driver_is_refused() -> None:
    (sentence,) = impossibilities(PRESENT, with_line(mtu=9000), FACTS)
    assert sentence == "uplink fibre: wan0 takes an MTU between 68 and 1500, not 9000"
    assert impossibilities(PRESENT, with_line(mtu=1500), FACTS) == ()
    assert impossibilities(with_line(mtu=9000), with_line(mtu=9000, cost=3), FACTS) == ()
    unknown = replace(FACTS, uplinks={"fibre": UplinkFacts("fibre", 3)})
    assert impossibilities(PRESENT, with_line(mtu=9000), unknown) == ()


def test_a_match_that_cannot_be_decided_is_refused_with_its_reason() -> None:
    undecided = Facts({"fibre": UplinkFacts("fibre", None, problem="usb0, usb1 all have name usb*")})
    (sentence,) = impossibilities(PRESENT, with_line(interface="", match=InterfaceMatch(name="usb*")), undecided)
    assert sentence.startswith("uplink fibre: usb0, usb1 all have name usb*")
