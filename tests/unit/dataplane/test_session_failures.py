"""The CPE's session when the converter fails or the client goes: passed by, or a reset, never a request done twice."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from plane_rig import HAG, Peer, turn_for, until
from session_rig import FAILURES, GRANTED, Rig

from hagw.dataplane.request import has_crossed
from hagw.dataplane.session import EARLY_MAX_BYTES
from hagw.model.intent import FlowLimits

pytestmark = pytest.mark.netns


@pytest.fixture
def rig(network: str) -> Iterator[Rig]:
    made = Rig(network)
    yield made
    made.close()


# --- the converter fails


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_after_early_data_is_a_reset_never_a_second_try(rig: Rig, failure: str) -> None:
    conversation = rig.warm()
    rig.fresh()
    client = rig.open(b"POST /order")
    rig.asked(conversation, b"POST /order")
    FAILURES[failure](conversation)
    until(rig.loop, lambda: client.saw("reset"))
    turn_for(rig.loop, 0.1)
    assert rig.server.has_nobody()
    assert not rig.worker.sessions


@pytest.mark.parametrize(
    ("waited_ms", "shortest_ms", "crossed"), [(0, 20, True), (15, 20, True), (16.5, 20, False), (20, 20, False)]
)
def test_an_end_proves_that_nothing_was_passed_on_only_if_it_crossed_with_the_request(
    waited_ms: float, shortest_ms: float, crossed: bool
) -> None:
    assert has_crossed(waited_ms / 1e3, shortest_ms / 1e3) is crossed
    assert not has_crossed(waited_ms / 1e3, None)


def test_a_client_that_says_much_just_after_the_converter_reset_ends_without_a_fault(rig: Rig) -> None:
    """Both are seen in one turn, the client first: it is not watched any more once sending on has failed."""
    conversation = rig.warm()
    rig.fresh()
    client = rig.open()
    rig.asked(conversation)
    turn_for(rig.loop, 0.1)  # its acknowledgement makes the converter's end ready for a moment: first, else
    client.sock.send(bytes(EARLY_MAX_BYTES + 1))
    conversation.reset()
    time.sleep(0.05)  # the kernel hears of the reset; where it is later, the converter is heard first
    rig.loop.turn(1.0)
    until(rig.loop, lambda: client.poll() or client.ended or rig.server.accepted)


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_before_any_early_data_is_passed_by(rig: Rig, failure: str) -> None:
    conversation = rig.warm()
    client = rig.open()
    rig.asked(conversation)
    FAILURES[failure](conversation)
    accepted = rig.server.accept(rig.loop)
    client.send_all(rig.loop, b"POST /order")
    until(rig.loop, lambda: accepted.has(b"POST /order"))
    assert len(rig.server.accepted) == 1
    accepted.sock.close()
    client.sock.close()
    until(rig.loop, lambda: not rig.worker.sessions)
    assert rig.flow()["path"] == "direct"


def test_a_converter_in_the_dark_costs_less_than_a_second(rig: Rig) -> None:
    """It was not heard of lately, so the client's data waits until its request is acknowledged."""
    rig.warm()
    with rig.swallowed(rig.converter.port):
        began = time.monotonic()
        client = rig.open(b"GET /")
        accepted = rig.server.accept(rig.loop)
        until(rig.loop, lambda: accepted.has(b"GET /"))
        assert time.monotonic() - began < 0.8
        assert [event["gateway"] for event in rig.events("gateway-failed")] == ["hag"]
        began = time.monotonic()
        rig.open(b"GET /")
        rig.server.accept(rig.loop)
        assert time.monotonic() - began < 0.1
    accepted.send_all(rig.loop, b"answer")
    until(rig.loop, lambda: client.has(b"answer"))


def test_a_converter_that_went_dark_just_now_costs_a_reset_in_less_than_a_second(rig: Rig) -> None:
    rig.warm()
    with rig.swallowed(rig.converter.port):
        rig.fresh()
        began = time.monotonic()
        client = rig.open(b"POST /order")
        until(rig.loop, lambda: client.saw("reset"))
        assert time.monotonic() - began < 1.0
        turn_for(rig.loop, 0.2)
        assert rig.server.has_nobody()
        began = time.monotonic()
        rig.open(b"GET /")
        rig.server.accept(rig.loop)
        assert time.monotonic() - began < 0.1


def test_a_converter_that_does_not_answer_the_opening_is_passed_by_within_a_second(rig: Rig) -> None:
    with rig.swallowed(rig.converter.port):
        began = time.monotonic()
        rig.open(b"GET /")
        accepted = rig.server.accept(rig.loop)
        until(rig.loop, lambda: accepted.has(b"GET /"))
        assert time.monotonic() - began < 1.0


def test_a_converter_that_is_not_there_is_passed_by_at_once(rig: Rig) -> None:
    rig.converter.close()
    began = time.monotonic()
    rig.open(b"GET /")
    accepted = rig.server.accept(rig.loop)
    until(rig.loop, lambda: accepted.has(b"GET /"))
    assert time.monotonic() - began < 0.2
    assert len(rig.events("gateway-failed")) == 1


def test_a_converter_that_acknowledges_but_never_answers_is_given_up(rig: Rig) -> None:
    rig.apply(limits=replace(FlowLimits(), connect_s=0.1))
    conversation = rig.warm()
    rig.fresh()
    client = rig.open(b"POST /order")
    rig.asked(conversation, b"POST /order")
    until(rig.loop, lambda: client.saw("reset"))
    assert rig.server.has_nobody()


@pytest.mark.parametrize("asked", [False, True], ids=["unasked", "asked"])
def test_a_converter_that_talks_rubbish_is_passed_by_and_logged(
    rig: Rig, asked: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether it says it to a flow or on a warm connection, which no flow may take after that."""
    conversation, pool = rig.warm(), rig.pool()
    if asked:
        client = rig.open()
        rig.asked(conversation)
    conversation.send_all(rig.loop, b"SSH-2.0-OpenSSH_9.2\r\n")
    until(rig.loop, lambda: rig.events("gateway-failed"))
    if not asked:
        assert pool.ready() == 0
        client = rig.open()
    accepted = rig.server.accept(rig.loop)
    client.send_all(rig.loop, b"GET /")
    until(rig.loop, lambda: accepted.has(b"GET /"))
    assert [event["reason"] for event in rig.events("gateway-failed")] == ["it broke the Convert protocol"]
    assert rig.worker.stats()["malformed"] == 1
    (line,) = capsys.readouterr().err.splitlines()
    wanted = f'source={HAG} kind=malformed reason="hag: wrong magic number"'
    assert 'level=warning event="gateway broke the protocol"' in line
    assert line.endswith(wanted)


# --- the client goes away


@pytest.mark.parametrize("phase", ["opening", "asking", "dialing"])
def test_a_client_that_resets_before_it_is_served_leaves_nothing(rig: Rig, phase: str) -> None:
    match phase:
        case "opening":
            with rig.swallowed(rig.converter.port):
                client = rig.open(b"x")
                client.reset()
                until(rig.loop, lambda: not rig.worker.sessions)
        case "asking":
            conversation = rig.warm()
            rig.fresh()
            client = rig.open(b"x")
            rig.asked(conversation, b"x")
            client.reset()
            until(rig.loop, lambda: not rig.worker.sessions)
            until(rig.loop, lambda: conversation.saw("reset"))
        case "dialing":
            rig.apply(gateways=())
            with rig.swallowed(rig.server.port):
                client = rig.open(b"x")
                client.reset()
                until(rig.loop, lambda: not rig.worker.sessions)
    turn_for(rig.loop, 0.05)
    assert rig.server.has_nobody()


def test_a_client_that_resets_before_it_is_accepted(rig: Rig) -> None:
    conversation = rig.warm()
    rig.fresh()
    rig.open(b"x", then=Peer.reset)
    until(rig.loop, lambda: not rig.worker.sessions)
    until(rig.loop, lambda: conversation.saw("reset"))


@pytest.mark.parametrize("resetting", ["client", "converter"])
def test_a_reset_passes_through(rig: Rig, resetting: str) -> None:
    conversation = rig.warm()
    rig.fresh()
    client = rig.open(b"x")
    rig.asked(conversation, b"x")
    conversation.send_all(rig.loop, GRANTED)
    until(rig.loop, lambda: next(iter(rig.worker.sessions.values())).state == "relaying")
    one, other = (client, conversation) if resetting == "client" else (conversation, client)
    one.reset()
    until(rig.loop, lambda: other.saw("reset"))
    assert not rig.worker.sessions
    assert rig.worker.stats()["reset_total"] == 1
