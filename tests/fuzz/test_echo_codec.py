"""Any bytes are answered, decoded or ignored; what decodes re-encodes; one changed bit is noticed."""

from hypothesis import given
from hypothesis import strategies as st

from hagw.pmf.asker import Asker
from hagw.pmf.echo import EchoReply, EchoRequest, decode_reply, decode_request, encode_reply, encode_request, key_id
from hagw.pmf.responder import EchoCustomer, Responder

KEY = bytes(range(32))
u8 = st.integers(0, 2**8 - 1)
u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
requests = st.builds(EchoRequest, st.just(key_id(KEY)), u8, u64, u64)
replies = st.builds(EchoReply, st.just(key_id(KEY)), u8, u64, u64, u64, u32, st.booleans(), st.booleans())


@given(st.one_of(st.binary(max_size=200), st.binary(min_size=56, max_size=60).map(lambda tail: b"hgE1" + tail)))
def test_arbitrary_bytes_are_ignored(datagram: bytes) -> None:
    assert decode_request(datagram, KEY) is None
    assert decode_reply(datagram, KEY) is None
    assert Responder([EchoCustomer(KEY)], ipv6_egress=True).respond(datagram, "192.0.2.1", 0.0, 0.0) is None
    assert Asker(KEY, 1, 0).accept(datagram, 0.0) is None


@given(requests)
def test_requests_round_trip(request: EchoRequest) -> None:
    assert decode_request(encode_request(request, KEY), KEY) == request


@given(replies)
def test_replies_round_trip(reply: EchoReply) -> None:
    assert decode_reply(encode_reply(reply, KEY), KEY) == reply


@given(requests, st.integers(0, 64 * 8 - 1))
def test_one_changed_bit_is_noticed(request: EchoRequest, bit: int) -> None:
    datagram = bytearray(encode_request(request, KEY))
    datagram[bit // 8] ^= 1 << bit % 8
    assert decode_request(bytes(datagram), KEY) is None
