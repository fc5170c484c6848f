"""When the LAN's connections are taken, and when no more."""

from hagw.control.gate import CLOSE_AFTER_S, Gate
from hagw.control.ports import Interception
from hagw.model.health import GatewayHealth

UP = (GatewayHealth("up", ipv6=True),)
UP4 = (GatewayHealth("up", ipv6=False),)
DOWN = (GatewayHealth("down"),)
UNKNOWN = (GatewayHealth("unknown"),)
BOTH = Interception(ipv4=True, ipv6=True)
CLOSED = Interception()


def test_starts_closed_and_opens_at_once_when_worker_and_gateway_are_there() -> None:
    gate = Gate()
    assert gate.decide(UNKNOWN, listening=0, now=0.0) == CLOSED
    assert gate.decide(UP, listening=0, now=0.1) == CLOSED
    assert gate.decide(UNKNOWN, listening=2, now=0.2) == CLOSED
    assert gate.decide(UP, listening=1, now=0.3) == BOTH


def test_ipv6_is_taken_only_while_a_usable_gateway_reaches_it() -> None:
    gate = Gate()
    assert gate.decide(UP4, 2, 0.0) == Interception(ipv4=True)
    assert gate.decide(UP, 2, 0.1) == BOTH
    assert gate.decide((GatewayHealth("up", ipv6=None),), 2, 0.2) == Interception(ipv4=True)


def test_closes_only_after_the_gateway_was_down_for_a_while() -> None:
    gate = Gate()
    gate.decide(UP, 2, 0.0)
    assert gate.decide(DOWN, 2, 1.0) == BOTH
    assert gate.look_again_at() == 1.0 + CLOSE_AFTER_S
    assert gate.decide(DOWN, 2, 1.0 + CLOSE_AFTER_S) == CLOSED
    assert gate.look_again_at() is None


def test_a_blinking_gateway_changes_nothing() -> None:
    gate = Gate()
    gate.decide(UP, 2, 0.0)
    for second in range(1, 20, 2):
        assert gate.decide(DOWN, 2, float(second)) == BOTH
        assert gate.decide(UP, 2, second + 1.0) == BOTH


def test_unknown_keeps_what_is() -> None:
    gate = Gate(current=BOTH)
    assert gate.decide(UNKNOWN, 2, 100.0) == BOTH
    assert gate.decide(UNKNOWN, 2, 200.0) == BOTH


def test_closes_when_no_worker_listens_for_a_while() -> None:
    gate = Gate(current=BOTH)
    assert gate.decide(UP, 0, 0.0) == BOTH
    assert gate.decide(UP, 0, CLOSE_AFTER_S) == CLOSED


def test_one_usable_gateway_of_several_is_enough() -> None:
    assert Gate().decide(DOWN + UP, 2, 0.0) == BOTH
