"""Echo questions and answers: authentic, answered once, never amplified."""

from ipaddress import ip_network

import pytest

from hagw.pmf.asker import OUTSTANDING_MAX, Asker
from hagw.pmf.echo import (
    SIZE,
    EchoReply,
    EchoRequest,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
    key_id,
)
from hagw.pmf.responder import BURST, RATE_PER_S, SOURCES_MAX, EchoCustomer, Responder

KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))
HOME = "192.0.2.7"


def responder(**flags: bool) -> Responder:
    return Responder([EchoCustomer(KEY)], ipv6_egress=flags.get("ipv6", False), draining=flags.get("draining", False))


def asker(line: int = 1) -> Asker:
    return Asker(KEY, line, first_sequence=1 << 40)


def test_an_answer_brings_round_trip_time_wall_time_and_flags() -> None:
    client, hag = asker(), responder(ipv6=True, draining=True)
    answer = hag.respond(client.ask(10.0).datagram, HOME, 50.0, 1_700_000_000.25)
    assert answer is not None
    echo = client.accept(answer, 10.024)
    assert echo is not None
    assert echo.rtt_s == pytest.approx(0.024)
    assert echo.wall_s == pytest.approx(1_700_000_000.25)
    assert (echo.ipv6, echo.draining, echo.received) == (True, True, 1)


def test_question_and_answer_have_the_documented_bytes() -> None:
    request = EchoRequest(key_id(KEY), 3, 0x0102030405060708, 0x1112131415161718)
    datagram = encode_request(request, KEY)
    assert datagram[:8] == b"hgE1\x01\x00\x03\x00"
    assert datagram[8:16] == key_id(KEY)
    assert datagram[16:32].hex() == "01020304050607081112131415161718"
    assert datagram[32:48] == bytes(16)
    reply = EchoReply(key_id(KEY), 3, 5, 6, wall_us=7, received=8, ipv6=True, draining=True)
    datagram = encode_reply(reply, KEY)
    assert datagram[:8] == b"hgE1\x02\x03\x03\x00"
    assert datagram[32:48].hex() == "0000000000000007" + "00000008" + "00000000"
    assert decode_reply(datagram, KEY) == reply


def test_an_answer_counts_once() -> None:
    client, hag = asker(), responder()
    answer = hag.respond(client.ask(1.0).datagram, HOME, 1.0, 0.0)
    assert answer is not None
    assert client.accept(answer, 1.1) is not None
    assert client.accept(answer, 1.2) is None


def test_an_answer_of_an_earlier_life_or_another_line_is_refused() -> None:
    hag = responder()
    answer = hag.respond(asker().ask(1.0).datagram, HOME, 1.0, 0.0)
    assert answer is not None
    assert Asker(KEY, 1, first_sequence=77).accept(answer, 1.1) is None
    other_line = asker(line=2)
    other_line.ask(1.0)
    assert other_line.accept(answer, 1.1) is None


def test_a_late_answer_is_still_told_but_not_after_five_seconds() -> None:
    client, hag = asker(), responder()
    first = hag.respond(client.ask(1.0).datagram, HOME, 1.0, 0.0)
    second = hag.respond(client.ask(2.0).datagram, HOME, 2.0, 0.0)
    assert first is not None
    assert second is not None
    assert client.accept(second, 5.5) is not None
    assert client.accept(first, 6.1) is None


def test_outstanding_questions_are_bounded() -> None:
    client, hag = asker(), responder()
    first = client.ask(1.0).datagram
    for _ in range(OUTSTANDING_MAX):
        client.ask(1.0)
    answer = hag.respond(first, HOME, 1.0, 0.0)
    assert answer is not None
    assert client.accept(answer, 1.1) is None


def test_a_question_is_not_an_answer_nor_the_other_way_round() -> None:
    client, hag = asker(), responder()
    question = client.ask(1.0).datagram
    answer = hag.respond(question, HOME, 1.0, 0.0)
    assert answer is not None
    assert client.accept(question, 1.1) is None
    assert hag.respond(answer, HOME, 1.0, 0.0) is None
    as_question = bytearray(answer)
    as_question[4] = 1
    assert decode_request(bytes(as_question), KEY) is None


def test_strangers_hear_nothing() -> None:
    stranger = Asker(OTHER_KEY, 1, 5)
    assert responder().respond(stranger.ask(1.0).datagram, HOME, 1.0, 0.0) is None


def test_an_answer_is_never_larger_than_its_question() -> None:
    hag = responder()
    question = asker().ask(1.0).datagram
    for datagram in (question, question[:-1], question + b"\0", b"", question[:16]):
        answer = hag.respond(datagram, HOME, 1.0, 0.0)
        assert answer is None or len(answer) == len(datagram) == SIZE


@pytest.mark.parametrize(
    ("source", "answered"),
    [("192.0.2.7", True), ("::ffff:192.0.2.7", True), ("198.51.100.1", False), ("fe80::1%eth0", False), ("x", False)],
)
def test_a_customer_may_be_bound_to_prefixes(source: str, answered: bool) -> None:
    hag = Responder([EchoCustomer(KEY, (ip_network("192.0.2.0/24"),))], ipv6_egress=False)
    assert (hag.respond(asker().ask(1.0).datagram, source, 1.0, 0.0) is not None) is answered


def test_replayed_questions_meet_a_rate_limit_that_lets_the_real_line_through_later() -> None:
    hag, question = responder(), asker().ask(1.0).datagram
    answered = sum(hag.respond(question, HOME, 1.0 + i / 1000, 0.0) is not None for i in range(1000))
    assert answered == pytest.approx(BURST + RATE_PER_S, abs=2)
    assert hag.respond(question, "192.0.2.8", 2.0, 0.0) is not None
    assert hag.respond(question, HOME, 2.1, 0.0) is not None


def test_spoofed_sources_do_not_grow_the_table_and_the_busy_one_is_kept() -> None:
    hag, client = responder(), asker()
    for i in range(3 * SOURCES_MAX):
        hag.respond(client.ask(1.0).datagram, f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}", 1.0, 0.0)
        if i % 1000 == 0:
            answer = hag.respond(client.ask(1.0 + i).datagram, HOME, 1.0 + i, 0.0)
    assert answer is not None
    reply = decode_reply(answer, KEY)
    assert reply is not None
    assert reply.received == 13
    assert len(hag._sources) == SOURCES_MAX
