"""What a worker is told arrives as it was said, and an older daemon's words are understood."""

from hagw.model.intent import CustomerLimits, FlowLimits, PoolIntent
from hagw.model.snapshot import CpeSnapshot, GatewayView, from_json, to_json

LIMITS = CustomerLimits(connections_max=7, connects_per_s=2.5)
GATEWAY = GatewayView("hag", ("198.51.100.1",), 5124, "home", "11" * 32, "up", limits=LIMITS)
SNAPSHOT = CpeSnapshot(1, (), (GATEWAY,), (), PoolIntent(), FlowLimits(), "cubic", workers=3)


def test_what_a_gateway_allows_arrives() -> None:
    assert from_json(to_json(SNAPSHOT)) == SNAPSHOT


def test_a_daemon_that_knows_no_limits_of_gateways_is_understood() -> None:
    document = to_json(SNAPSHOT)
    del document["gateways"][0]["limits"], document["workers"]
    found = from_json(document)
    assert isinstance(found, CpeSnapshot)
    assert (found.gateways[0].limits, found.workers) == (CustomerLimits(), 1)
