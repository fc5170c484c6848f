"""Properties of the Convert codec and machines that hold for any bytes, cut anywhere."""

from ipaddress import IPv4Address
from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hagw.convert.errors import Malformed, Misuse
from hagw.convert.events import Connected, ConnectRequested, Data, EarlyData, Failed, ProtocolViolation, Rejected
from hagw.convert.machine import ClientMachine, ConverterMachine
from hagw.convert.message import MAX_MESSAGE_SIZE, Decoder, Message, decode, encode
from hagw.convert.tlv import (
    Connect,
    Cookie,
    Error,
    ExtendedTcpHeader,
    Info,
    SupportedTcpExtensions,
    TcpOption,
    Tlv,
)

thoroughly = settings(deadline=None, max_examples=400, derandomize=True, database=None)

ADDRESSES = st.ip_addresses().filter(lambda address: address.version == 4 or address.ipv4_mapped is None)
OPTIONS = st.builds(TcpOption, st.integers(2, 255), st.binary(max_size=20))
WORDS = st.integers(0, 60).flatmap(lambda count: st.binary(min_size=4 * count, max_size=4 * count))
TLVS: dict[type[Tlv], st.SearchStrategy[Tlv]] = {
    Info: st.just(Info()),
    Connect: st.builds(Connect, st.integers(0, 65535), ADDRESSES, st.lists(OPTIONS, max_size=6).map(tuple)),
    ExtendedTcpHeader: st.builds(ExtendedTcpHeader, WORDS),
    SupportedTcpExtensions: st.builds(SupportedTcpExtensions, st.lists(st.integers(1, 255), max_size=40).map(tuple)),
    Cookie: st.builds(Cookie, WORDS),
    Error: st.builds(Error, st.integers(0, 255), WORDS.map(lambda words: b"\x01" + words)),
}
TLV_LISTS = st.lists(st.sampled_from(list(TLVS)), unique=True).flatmap(
    lambda kinds: st.tuples(*(TLVS[kind] for kind in kinds))
)
MESSAGES = TLV_LISTS.map(lambda tlvs: encode(tlvs) if fits(tlvs) else encode(tlvs[:1]))


def fits(tlvs: tuple[Tlv, ...]) -> bool:
    return 4 + sum(len(tlv.encode()) for tlv in tlvs) <= MAX_MESSAGE_SIZE


@st.composite
def nearly_messages(draw: st.DrawFn) -> bytes:
    """A message with a few bytes overwritten, and something behind it."""
    wire = bytearray(draw(MESSAGES))
    for _ in range(draw(st.integers(0, 3))):
        wire[draw(st.integers(0, len(wire) - 1))] = draw(st.integers(0, 255))
    return bytes(wire) + draw(st.binary(max_size=30))


ANY_BYTES = st.one_of(st.binary(max_size=1100), nearly_messages(), st.binary().map(lambda b: b"\x01\x05\x22\x63" + b))


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[low:high] for low, high in pairwise(edges)]


CUTS = st.one_of(st.just(list(range(2000))), st.lists(st.integers(0, 2000), max_size=8))


def outcome(machine: ClientMachine | ConverterMachine, chunks: list[bytes]) -> tuple[list[object], bytes]:
    """Return the events but for user data, and the user data as one."""
    events: list[object] = []
    user = b""
    for chunk in chunks:
        for event in machine.receive(chunk):
            if isinstance(event, (Data, EarlyData)):
                user += event.data
            else:
                events.append(event)
    return events, user


def asking(start: str) -> ClientMachine:
    machine = ClientMachine()
    if start == "prepared":
        machine.prepare(bytes(28))
    elif start == "asked":
        machine.ask_extensions()
    elif start == "connecting":
        machine.connect(IPv4Address("192.0.2.1"), 443)
    return machine


def test_every_tlv_is_drawn() -> None:
    assert set(TLVS) == set(get_args(Tlv))


@thoroughly
@given(TLV_LISTS)
def test_what_encodes_decodes_to_the_same(tlvs: tuple[Tlv, ...]) -> None:
    if not fits(tlvs):
        with pytest.raises(Misuse):
            encode(tlvs)
        return
    wire = encode(tlvs)
    assert len(wire) <= MAX_MESSAGE_SIZE
    assert wire[1] * 4 == len(wire)
    assert decode(wire) == Message(tlvs)


@thoroughly
@given(ANY_BYTES)
def test_any_bytes_decode_or_are_malformed(data: bytes) -> None:
    try:
        message = decode(data)
    except Malformed:
        return
    assert decode(encode(message.tlvs)) == message


@thoroughly
@given(nearly_messages(), CUTS)
def test_decoder_sees_the_same_however_bytes_arrive(data: bytes, places: list[int]) -> None:
    def run(chunks: list[bytes]) -> tuple[Message | str | None, bytes]:
        decoder, rest = Decoder(), b""
        for chunk in chunks:
            try:
                rest += decoder.feed(chunk) or b""
            except Malformed as why:
                return f"{why.code} {why.reason}", b""
        return decoder.message, rest

    whole = run([data])
    assert run(cut(data, places)) == whole
    if isinstance(whole[0], Message):
        assert data.endswith(whole[1])
        assert len(data) - len(whole[1]) == data[1] * 4


@thoroughly
@given(ANY_BYTES, CUTS, st.booleans())
def test_converter_reports_the_same_however_bytes_arrive(data: bytes, places: list[int], strict: bool) -> None:
    events, user = outcome(ConverterMachine(requires_cookie=strict), [data])
    assert outcome(ConverterMachine(requires_cookie=strict), cut(data, places)) == (events, user)
    for failed in (event for event in events if isinstance(event, Failed)):
        assert failed is events[-1]
        if failed.reply is not None:
            (error,) = decode(failed.reply).tlvs
            assert error.code == failed.code
    assert not user or isinstance(events[-1], ConnectRequested)
    assert data.endswith(user)


@thoroughly
@given(ANY_BYTES, CUTS, st.sampled_from(["fresh", "prepared", "asked", "connecting"]))
def test_client_reports_the_same_however_bytes_arrive(data: bytes, places: list[int], start: str) -> None:
    events, user = outcome(asking(start), [data])
    assert outcome(asking(start), cut(data, places)) == (events, user)
    assert len(events) <= 1
    assert not user or isinstance(events[0], Connected)
    assert data.endswith(user)


@thoroughly
@given(MESSAGES, st.binary(max_size=50))
def test_client_understands_whatever_a_converter_says(wire: bytes, user: bytes) -> None:
    for event in asking("connecting").receive(wire + user):
        match event:
            case Rejected():
                assert event.retry_after_s is None or 0 < event.retry_after_s <= 3600
                assert event.cookie is None or event.cookie == event.value[1:]
                assert event.unreachable_code is None or 0 <= event.unreachable_code <= 255
                assert 0 not in event.versions + event.kinds
            case Connected():
                assert all(kind > 1 for kind in event.server_kinds)
            case Data():
                assert event.data == user
            case _:
                assert isinstance(event, ProtocolViolation)


@thoroughly
@given(
    ADDRESSES,
    st.integers(0, 65535),
    st.binary(max_size=40),
    st.one_of(st.none(), WORDS),
    st.booleans(),
    CUTS,
)
def test_converter_hears_what_the_client_asked(address, port, early, cookie, with_info, places) -> None:
    client = ClientMachine()
    wire = client.connect(address, port, cookie=cookie, with_info=with_info, early=early)
    converter = ConverterMachine()
    events, user = outcome(converter, cut(wire, places))
    if isinstance(events[-1], Failed):
        assert [type(event) for event in client.receive(events[-1].reply)] == [Rejected]
        return
    assert events[-1] == ConnectRequested(address, port, (), with_info)
    assert user == early
    (connected,) = client.receive(converter.accept(b"\x02\x04\x05\xb4"))
    assert connected == Connected(b"\x02\x04\x05\xb4", (30, 4, 8) if with_info else ())
