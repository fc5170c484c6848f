"""Loss by direction: both ends count, and what the counts cannot say stays unsaid."""

from collections.abc import Iterator

import pytest

from hagw.health.quality import Jitter, Quality
from hagw.pmf.asker import Asker, Echo, Passage
from hagw.pmf.echo import decode_reply, encode_reply
from hagw.pmf.responder import STREAMS_MAX, EchoCustomer, Responder

KEY = bytes(range(32))
HOME = "192.0.2.7"


class Way:
    """A CPE, a HAG and what the line between them loses."""

    def __init__(self) -> None:
        self.asker = Asker(KEY, 1, first_sequence=1 << 40)
        self.hag = Responder([EchoCustomer(KEY)], ipv6_egress=False)
        self.now = 0.0
        self.quality = Quality()

    def echo(self, *, stream: int = 0, lose_up: bool = False, lose_down: bool = False) -> Echo | None:
        answer = self.ask(stream, lose_up)
        return None if answer is None or lose_down else self.take(answer)

    def ask(self, stream: int = 0, lose_up: bool = False) -> bytes | None:
        self.now += 0.25
        datagram = self.asker.ask(self.now, stream).datagram
        return None if lose_up else self.hag.respond(datagram, HOME, self.now, 0.0)

    def take(self, answer: bytes | None) -> Echo:
        assert answer is not None
        echo = self.asker.accept(answer, self.now + 0.02)
        assert echo is not None
        self.quality.add(echo.rtt_s, 0.0, echo.passage)
        return echo


def passages(way: Way, count: int, **lost: int) -> Iterator[Passage]:
    """Echo `count` times over three streams in turn, losing each n-th on the way up or down."""
    for i in range(count):
        up, down = (n in lost and i % lost[n] == lost[n] - 1 for n in ("up", "down"))
        echo = way.echo(stream=i % 3, lose_up=up, lose_down=down)
        if echo is not None and echo.passage is not None:
            yield echo.passage


@pytest.mark.parametrize(
    ("lost", "up", "down"), [({}, 0, 0), ({"up": 5}, 0.2, 0), ({"down": 5}, 0, 0.2), ({"up": 10, "down": 7}, 0.1, 0.14)]
)
def test_loss_is_told_by_direction(lost: dict[str, int], up: float, down: float) -> None:
    way = Way()
    assert len(list(passages(way, 600, **lost))) > 400
    assert way.quality.loss.up == pytest.approx(up, abs=0.04)
    assert way.quality.loss.down == pytest.approx(down, abs=0.04)


def test_few_echoes_tell_nothing_yet() -> None:
    way = Way()
    list(passages(way, 6))
    assert way.quality.loss.up is None
    assert way.quality.loss.down is None


def test_a_silence_between_two_answers_is_accounted_for() -> None:
    way = Way()
    way.echo()
    for _ in range(9):
        way.echo(lose_up=True)
    echo = way.echo()
    assert echo is not None
    assert echo.passage == Passage(sent=10, reached=1, answered=1)


def test_an_answer_that_was_overtaken_is_not_held_against_the_line() -> None:
    way = Way()
    way.echo()
    late, soon = way.ask(), way.ask()
    assert way.take(soon).passage == Passage(2, 2, 1)
    assert way.take(late).passage == Passage(0, 0, 1)
    late_question = way.asker.ask(way.now).datagram
    assert way.take(way.ask()).passage == Passage(2, 1, 1)
    assert way.take(way.hag.respond(late_question, HOME, way.now, 0.0)).passage == Passage(0, 1, 1)
    assert way.take(way.ask()).passage == Passage(1, 1, 1)


def test_another_process_of_the_gateway_counts_anew() -> None:
    way = Way()
    for _ in range(5):
        way.echo()
    way.hag = Responder([EchoCustomer(KEY)], ipv6_egress=False)
    first, second = way.echo(), way.echo()
    assert first is not None
    assert first.passage is None
    assert second is not None
    assert second.passage == Passage(1, 1, 1)


def test_new_sockets_are_counted_anew() -> None:
    way = Way()
    way.echo()
    way.asker.begin_anew()
    echo = way.echo()
    assert echo is not None
    assert echo.passage is None


def test_a_replayed_question_is_not_counted_again() -> None:
    way = Way()
    way.echo()
    question = way.asker.ask(way.now).datagram
    for _ in range(3):
        answer = way.hag.respond(question, HOME, way.now, 0.0)
    assert way.take(answer).passage == Passage(1, 1, 1)


def test_an_asker_that_starts_again_is_counted_on() -> None:
    way = Way()
    way.echo()
    way.asker = Asker(KEY, 1, first_sequence=7)
    way.echo()
    echo = way.echo()
    assert echo is not None
    assert echo.passage == Passage(1, 1, 1)


def test_a_gateway_that_does_not_know_of_streams_leaves_loss_by_direction_unknown() -> None:
    way = Way()
    for _ in range(20):
        question = way.asker.ask(way.now, stream=1)
        reply = decode_reply(way.hag.respond(question.datagram, HOME, way.now, 0.0) or b"", KEY)
        assert reply is not None
        old = encode_reply(type(reply)(**{**_fields(reply), "stream": 0, "counts_stream": False}), KEY)
        assert way.take(old).passage is None
    assert way.quality.loss.up is None


def test_an_asker_that_does_not_know_of_streams_is_answered_as_before() -> None:
    hag = Responder([EchoCustomer(KEY)], ipv6_egress=True)
    reply = decode_reply(hag.respond(Asker(KEY, 1, 5).ask(1.0).datagram, HOME, 1.0, 2.0) or b"", KEY)
    assert reply is not None
    assert (reply.stream, reply.received, reply.sequence, reply.wall_us) == (0, 1, 5, 2_000_000)


def test_streams_are_bounded() -> None:
    hag, asker = Responder([EchoCustomer(KEY)], ipv6_egress=False), Asker(KEY, 1, 5)
    for i in range(256):
        reply = decode_reply(hag.respond(asker.ask(i * 1.0, stream=i).datagram, HOME, i * 1.0, 0.0) or b"", KEY)
        assert reply is not None
        assert reply.counts_stream is (i < STREAMS_MAX)
    (source,) = hag._sources.values()
    assert len(source.streams) == STREAMS_MAX


def test_jitter_is_the_mean_step_and_a_clock_that_is_set_is_none() -> None:
    jitter = Jitter()
    for i in range(200):
        jitter.add(0.020 + 0.010 * (i % 2))
    assert jitter.value_s == pytest.approx(0.010)
    jitter.add(3600.0)
    jitter.add(3600.0)
    assert jitter.value_s == pytest.approx(0.010, abs=0.001)


def test_jitter_is_told_by_direction() -> None:
    quality = Quality()
    for i in range(200):
        up_s, down_s = 0.010 + 0.008 * (i % 2), 0.010
        rtt_s, ahead_s = up_s + down_s, 1000.0
        quality.add(rtt_s, ahead_s + up_s - rtt_s / 2, None)
    assert quality.jitter_up.value_s == pytest.approx(0.008)
    assert quality.jitter_down.value_s == pytest.approx(0.0)
    assert quality.jitter.value_s == pytest.approx(0.008)


def _fields(reply: object) -> dict[str, object]:
    return {name: getattr(reply, name) for name in type(reply).__dataclass_fields__}  # type: ignore[attr-defined]
