"""Mode redundant: two requests at once, one of them carries the flow, and the host's data is sent once."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from plane_rig import Peer, turn_for, until
from session_rig import GRANTED, PRELUDE_BYTES, Rig

from hagw.convert.errors import ErrorCode
from hagw.convert.message import encode
from hagw.convert.tlv import Connect, Error
from hagw.model.intent import RuleIntent, TrafficDescriptor

pytestmark = pytest.mark.netns

RULES = (RuleIntent("twice", 1, TrafficDescriptor(), "redundant", ("line1", "line2")),)
REFUSED = encode((Error(ErrorCode.CONNECTION_RESET),))


@pytest.fixture
def rig(network: str) -> Iterator[Rig]:
    made = Rig(network)
    made.apply(rules=RULES)
    yield made
    made.close()


def warm(rig: Rig, connections: int = 2) -> list[Peer]:
    """Have a warm connection over each line; return the converter's ends, the first line's first."""
    policy = rig.worker.policy
    assert policy is not None
    decision = policy.steered()[0]
    assert decision.gateway is not None
    conversations = []
    for uplinks, plan in decision.ways[:connections]:
        pool = rig.worker.pools.of(decision.gateway, uplinks, plan)
        pool.refill()
        until(rig.loop, lambda pool=pool: pool.ready() == 1)  # type: ignore[misc]  # bound at once
        conversation = rig.converter.accept(rig.loop)
        until(rig.loop, lambda c=conversation: c.poll() or len(c.received) == PRELUDE_BYTES)  # type: ignore[misc]
        conversations.append(conversation)
    rig.fresh()
    return conversations


def test_the_first_answer_carries_the_flow_and_gets_the_data_alone(rig: Rig) -> None:
    one, other = warm(rig)
    client = rig.open(b"GET /")
    assert rig.asked(one).find(Connect) == rig.asked(other).find(Connect)
    client.sock.send(b" HTTP/1.1")
    turn_for(rig.loop, 0.05)
    assert one.received[PRELUDE_BYTES:] == other.received[PRELUDE_BYTES:], "and nothing of the host's"
    other.send_all(rig.loop, GRANTED + b"answer")
    until(rig.loop, lambda: client.has(b"answer"))
    until(rig.loop, lambda: other.poll() or b"GET / HTTP/1.1" in bytes(other.received))
    until(rig.loop, lambda: one.saw("reset"))
    assert b"GET" not in bytes(one.received)
    (session,) = rig.worker.sessions.values()
    assert session.why.endswith("line1 and line2 at once; who answers first carries it; line2 was first")


def test_one_that_fails_leaves_the_other(rig: Rig) -> None:
    one, other = warm(rig)
    client = rig.open(b"GET /")
    rig.asked(one)
    one.reset()
    rig.asked(other)
    other.send_all(rig.loop, GRANTED + b"answer")
    until(rig.loop, lambda: client.has(b"answer"))


def test_a_server_that_refuses_both_is_seen_as_one_that_refuses(rig: Rig) -> None:
    one, other = warm(rig)
    client = rig.open(b"GET /")
    for conversation in (one, other):
        rig.asked(conversation)
        assert not client.saw("reset")
        conversation.send_all(rig.loop, REFUSED)
        turn_for(rig.loop, 0.02)
    until(rig.loop, lambda: client.saw("reset"))


def test_when_both_fail_the_data_goes_direct_once(rig: Rig) -> None:
    one, other = warm(rig)
    client = rig.open(b"GET /")
    for conversation in (one, other):
        rig.asked(conversation)
        conversation.reset()
    server = rig.server.accept(rig.loop)
    until(rig.loop, lambda: server.has(b"GET /"))
    server.send_all(rig.loop, b"direct")
    until(rig.loop, lambda: client.has(b"direct"))


def test_a_client_that_leaves_ends_both(rig: Rig) -> None:
    one, other = warm(rig)
    client = rig.open()
    rig.asked(one)
    rig.asked(other)
    client.reset()
    until(rig.loop, lambda: one.saw("reset") and other.saw("reset"))
    assert not rig.worker.sessions


def test_without_a_warm_connection_over_both_lines_one_asks_alone(rig: Rig) -> None:
    (one,) = warm(rig, 1)
    client = rig.open(b"GET /")
    rig.asked(one, b"GET /")
    one.send_all(rig.loop, GRANTED + b"answer")
    until(rig.loop, lambda: client.has(b"answer"))


def test_one_line_that_works_asks_alone(rig: Rig) -> None:
    policy = rig.worker.policy
    assert policy is not None
    assert len(policy.steered()[0].ways) == 2
    first, second = rig.snapshot.uplinks
    rig.apply(rules=RULES, uplinks=(replace(first, state="down"), second))
    assert rig.worker.policy is not None
    assert len(rig.worker.policy.steered()[0].ways) == 1
