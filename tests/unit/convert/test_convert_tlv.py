"""What each TLV can carry, and the values of errors."""

from ipaddress import IPv4Address, IPv6Address
from typing import get_args

import pytest

from hagw.convert import error_value
from hagw.convert.errors import ErrorCode, Malformed, Misuse
from hagw.convert.message import HEADER_SIZE, MAX_MESSAGE_SIZE, Decoder, Message, decode, encode
from hagw.convert.tlv import (
    MAX_TLV_SIZE,
    TLV_BY_TYPE,
    Connect,
    Cookie,
    Error,
    ExtendedTcpHeader,
    Info,
    SupportedTcpExtensions,
    TcpOption,
    Tlv,
    decode_options,
)

SERVER = IPv4Address("192.0.2.1")


def test_registry_holds_the_types_of_the_rfc() -> None:
    assert sorted(TLV_BY_TYPE) == [1, 10, 20, 21, 22, 30]
    assert set(TLV_BY_TYPE.values()) == set(get_args(Tlv))


def test_mapped_address_is_an_ipv4_server() -> None:
    mapped = encode((Connect(1, IPv6Address("::ffff:192.0.2.1")),))
    assert mapped == encode((Connect(1, SERVER),))
    assert decode(mapped).tlvs == (Connect(1, SERVER),)


@pytest.mark.parametrize("text", ["::192.0.2.1", "64:ff9b::c000:201", "::1:0:0", "1::ffff:c000:201"])
def test_only_the_mapped_prefix_is_ipv4(text: str) -> None:
    tlv = Connect(1, IPv6Address(text))
    assert decode(encode((tlv,))).tlvs == (tlv,)


def test_reserved_bytes_and_padding_are_not_judged() -> None:
    wire = bytes.fromhex("01082263 0101ffff 1402ffff 02040001 1502ffff 1e000400 1601ffff".replace(" ", ""))
    wire = wire[:1] + bytes((len(wire) // 4,)) + wire[2:]
    assert decode(wire) == Message(
        (
            Info(),
            ExtendedTcpHeader(bytes.fromhex("02040001")),
            SupportedTcpExtensions((30, 4)),
            Cookie(b""),
        )
    )


def test_padding_is_zero_and_short() -> None:
    assert ExtendedTcpHeader(b"\x04\x02").encode() == bytes.fromhex("14020000 04020000")
    assert SupportedTcpExtensions((30,)).encode() == bytes.fromhex("15020000 1e000000")
    assert Error(33, b"\x1d\x22").encode() == bytes.fromhex("1e02211d 22000000")
    assert Connect(1, SERVER, (TcpOption(254, b"\x01"),)).encode()[20:] == bytes.fromhex("fe030100")


@pytest.mark.parametrize(
    "tlv",
    [
        Cookie(b"odd"),
        Cookie(bytes(MAX_TLV_SIZE)),
        ExtendedTcpHeader(bytes(MAX_TLV_SIZE - 3)),
        Error(1, bytes(MAX_TLV_SIZE - 2)),
        SupportedTcpExtensions((30, 0)),
        Connect(1, SERVER, (TcpOption(0),)),
        Connect(1, SERVER, (TcpOption(1),)),
        Connect(1, SERVER, (TcpOption(254, bytes(254)),)),
        Connect(1, SERVER, (TcpOption(254, bytes(253)),) * 4),
    ],
    ids=lambda tlv: type(tlv).__name__,
)
def test_what_cannot_be_sent_is_refused_here(tlv: Tlv) -> None:
    with pytest.raises(Misuse):
        encode((tlv,))


def test_message_is_bounded_and_repeats_nothing() -> None:
    assert len(encode((Cookie(bytes(MAX_TLV_SIZE - 4)),))) == MAX_MESSAGE_SIZE
    with pytest.raises(Misuse):
        encode((Cookie(bytes(MAX_TLV_SIZE - 4)), Info()))
    with pytest.raises(Misuse):
        encode((Info(), Info()))


@pytest.mark.parametrize("wire", ["1e03", "04021e", "1e00", "1e01", "fe", "0402fe03"])
def test_options_that_do_not_fit_are_malformed(wire: str) -> None:
    with pytest.raises(Malformed) as caught:
        decode_options(bytes.fromhex(wire))
    assert caught.value.code == ErrorCode.MALFORMED_MESSAGE


@pytest.mark.parametrize("size", [0, 3, 4, 20, 23, 25, 28])
def test_only_a_whole_message_decodes(size: int) -> None:
    wire = encode((Connect(443, SERVER),))
    with pytest.raises(Malformed):
        decode((wire + b"rest")[:size])


def test_decoder_takes_its_message_and_hands_back_the_rest() -> None:
    wire = encode((Connect(443, SERVER),))
    decoder = Decoder()
    assert decoder.feed(b"") is None
    assert decoder.feed(bytearray(wire[:10])) is None
    assert decoder.feed(memoryview(wire)[10:-1]) is None
    assert decoder.feed(wire[-1:] + b"user") == b"user"
    assert decoder.message == Message((Connect(443, SERVER),))
    assert decoder.raw == wire
    assert decoder.feed(b"data") == b"data"
    assert decoder.raw == wire


def test_decoder_of_a_bare_header_needs_no_more() -> None:
    decoder = Decoder()
    assert decoder.feed(b"\x01\x01\x22\x63") == b""
    assert decoder.message == Message()
    assert len(decoder.raw) == HEADER_SIZE


def test_errors_name_the_side_to_blame() -> None:
    assert Malformed(None, "not Convert").blame == "remote"
    assert Misuse("too long").blame == "local"


def test_error_values_read_what_they_write() -> None:
    assert error_value.echo(bytes(range(200)) * 6)[1:] == (bytes(range(200)) * 6)[:1012]
    assert error_value.read_missing_cookie(error_value.missing_cookie(b"abcd")) == b"abcd"
    assert error_value.read_byte_list(error_value.byte_list((1, 2)) + b"\x00\x00") == (1, 2)
    assert [error_value.read_retry_s(error_value.retry(s)) for s in (-1, 0, 1, 255, 256)] == [30, 30, 1, 255, 255]
    assert error_value.read_retry_s(b"\x00\x00\x00\x01\x00") == 256
    assert error_value.read_retry_s(b"") == 30
    assert error_value.read_retry_s(b"\xff" * 1005) == 3600
    assert error_value.read_unreachable(error_value.unreachable(13) + b"\x00") == 13
    assert error_value.read_unreachable(b"") == 0
