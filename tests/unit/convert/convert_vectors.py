"""Conformance vectors worked by hand from RFC 8803, grouped by word; addresses are 192.0.2.1 and 2001:db8::1.

`request` goes from client to converter, `reply` back. The server's SYN+ACK options are `options`, by default MSS
1460, SACK permitted, window scale 7. A `reply` of None is a reset without a byte.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

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

SERVER4 = IPv4Address("192.0.2.1")
SERVER6 = IPv6Address("2001:db8::1")
SYNACK = bytes.fromhex("020405b40101040201030307")
SYNACK_MPTCP = bytes.fromhex("020405a0 0402080a e3e4dd27 15c0ce34 0103030a 1e0c0101 5e81947a 99f5791c")
COOKIE = bytes.fromhex("1122334455667788")
CONNECT4 = "0a0501bb 00000000 00000000 0000ffff c0000201"
EXTENDED = ExtendedTcpHeader(SYNACK)
SUPPORTED = SupportedTcpExtensions((30, 4, 8))


@dataclass(frozen=True)
class Vector:
    """`asks` and `answers` are the TLVs of both messages; empty where a message cannot be decoded."""

    name: str
    request: str
    reply: str | None
    asks: tuple[Tlv, ...] = ()
    answers: tuple[Tlv, ...] = ()
    options: bytes = SYNACK
    after: str = ""  # user data behind the request

    @property
    def request_bytes(self) -> bytes:
        return bytes.fromhex(self.request)

    @property
    def reply_bytes(self) -> bytes:
        return bytes.fromhex(self.reply or "")


def echo(code: int, message: str) -> tuple[Tlv, ...]:
    return (Error(code, b"\x00" + bytes.fromhex(message)),)


CONNECTED = "01052263 14040000 020405b4 01010402 01030307"

GRANTED = (
    Vector("V01 base, IPv4", f"01062263 {CONNECT4}", CONNECTED, (Connect(443, SERVER4),), (EXTENDED,)),
    Vector(
        "V02 base, IPv6",
        "01062263 0a0501bb 20010db8 00000000 00000000 00000001",
        CONNECTED,
        (Connect(443, SERVER6),),
        (EXTENDED,),
    ),
    Vector("V03 Info only", "01022263 01010000", "01032263 15020000 1e040800", (Info(),), (SUPPORTED,)),
    Vector(
        "V04 Info and Connect",
        f"01072263 01010000 {CONNECT4}",
        "01072263 15020000 1e040800 14040000 020405b4 01010402 01030307",
        (Info(), Connect(443, SERVER4)),
        (SUPPORTED, EXTENDED),
    ),
    Vector(
        "V05 asks for MPTCP and SACK",
        "01072263 0a0601bb 00000000 00000000 0000ffff c0000201 1e020402",
        "010a2263 14090000 020405a0 0402080a e3e4dd27 15c0ce34 0103030a 1e0c0101 5e81947a 99f5791c",
        (Connect(443, SERVER4, (TcpOption(30), TcpOption(4))),),
        (ExtendedTcpHeader(SYNACK_MPTCP),),
        options=SYNACK_MPTCP,
    ),
    Vector(
        "V06 with a cookie",
        f"01092263 {CONNECT4} 16030000 11223344 55667788",
        CONNECTED,
        (Connect(443, SERVER4), Cookie(COOKIE)),
        (EXTENDED,),
    ),
    Vector(
        "V08 early data",
        f"01062263 {CONNECT4}",
        CONNECTED,
        (Connect(443, SERVER4),),
        (EXTENDED,),
        after="474554202f0d0a",
    ),
)

_LOOPBACK = "01062263 0a050050 00000000 00000000 0000ffff 7f000001"
_MULTICAST6 = "01062263 0a050050 ff020000 00000000 00000000 00000001"
_MULTICAST4 = "01062263 0a050050 00000000 00000000 0000ffff e0000001"
_BROADCAST = "01062263 0a050050 00000000 00000000 0000ffff ffffffff"
_LOOPBACK6 = "01062263 0a050050 00000000 00000000 00000000 00000001"
_UNSPECIFIED = "01062263 0a050050 00000000 00000000 0000ffff 00000000"
_UNSPECIFIED6 = "01062263 0a050050 00000000 00000000 00000000 00000000"
_PORT_0 = "01062263 0a050000 00000000 00000000 0000ffff c0000201"
_INFO_TWICE = "01032263 01010000 01010000"

REFUSED = (
    Vector("V09 version 2", f"02062263 {CONNECT4}", "01022263 1e010001", answers=(Error(0, b"\x01"),)),
    Vector("G17 version 0", f"00062263 {CONNECT4}", "01022263 1e010001", answers=(Error(0, b"\x01"),)),
    Vector("V10 Total Length 0", f"01002263 {CONNECT4}", None),
    Vector("V11 wrong magic", f"0106ffff {CONNECT4}", None),
    Vector("V12 loopback", _LOOPBACK, f"01082263 1e070100 {_LOOPBACK}", answers=echo(1, _LOOPBACK)),
    Vector("V13 multicast", _MULTICAST6, f"01082263 1e070100 {_MULTICAST6}", answers=echo(1, _MULTICAST6)),
    Vector("V13 multicast, IPv4", _MULTICAST4, f"01082263 1e070100 {_MULTICAST4}", answers=echo(1, _MULTICAST4)),
    Vector("V13 broadcast", _BROADCAST, f"01082263 1e070100 {_BROADCAST}", answers=echo(1, _BROADCAST)),
    Vector("V13 loopback, IPv6", _LOOPBACK6, f"01082263 1e070100 {_LOOPBACK6}", answers=echo(1, _LOOPBACK6)),
    Vector(
        "V14 TLV type 0", "01022263 00010000", "01042263 1e030200 01022263 00010000", (), echo(2, "0102226300010000")
    ),
    Vector(
        "V15 unknown TLV type",
        "01032263 7f020000 deadbeef",
        "01052263 1e040200 01032263 7f020000 deadbeef",
        answers=echo(2, "010322637f020000deadbeef"),
    ),
    Vector("V16 duplicate Info", _INFO_TWICE, f"01052263 1e040100 {_INFO_TWICE}", answers=echo(1, _INFO_TWICE)),
    Vector("G6 header only", "01012263", "01032263 1e020100 01012263", answers=echo(1, "01012263")),
    Vector(
        "G6 cookie only",
        "01032263 16020000 11223344",
        "01052263 1e040100 01032263 16020000 11223344",
        answers=echo(1, "010322631602000011223344"),
    ),
    Vector(
        "G7 the converter's TLV from a client",
        "01022263 15010000",
        "01042263 1e030200 01022263 15010000",
        answers=echo(2, "0102226315010000"),
    ),
    Vector(
        "G12 option past the TLV",
        "01072263 0a0601bb 00000000 00000000 0000ffff c0000201 1e050000",
        "01092263 1e080100 01072263 0a0601bb 00000000 00000000 0000ffff c0000201 1e050000",
        answers=echo(1, "01072263 0a0601bb 00000000 00000000 0000ffff c0000201 1e050000"),
    ),
    Vector(
        "G12 option of length 1",
        "01072263 0a0601bb 00000000 00000000 0000ffff c0000201 1e010000",
        "01092263 1e080100 01072263 0a0601bb 00000000 00000000 0000ffff c0000201 1e010000",
        answers=echo(1, "01072263 0a0601bb 00000000 00000000 0000ffff c0000201 1e010000"),
    ),
    Vector("G14 unspecified", _UNSPECIFIED, f"01082263 1e070100 {_UNSPECIFIED}", answers=echo(1, _UNSPECIFIED)),
    Vector(
        "G14 unspecified, IPv6", _UNSPECIFIED6, f"01082263 1e070100 {_UNSPECIFIED6}", answers=echo(1, _UNSPECIFIED6)
    ),
    Vector("G14 port 0", _PORT_0, f"01082263 1e070100 {_PORT_0}", answers=echo(1, _PORT_0)),
    Vector(
        "G14 link-local, IPv4",
        "01062263 0a050050 00000000 00000000 0000ffff a9fe0001",
        "01022263 1e012000",
        answers=(Error(32, b"\x00"),),
    ),
    Vector(
        "G14 link-local, IPv6",
        "01062263 0a050050 fe800000 00000000 00000000 00000001",
        "01022263 1e012000",
        answers=(Error(32, b"\x00"),),
    ),
    Vector(
        "G14 IPv4-compatible",
        "01062263 0a050050 00000000 00000000 00000000 c0000201",
        "01022263 1e012000",
        answers=(Error(32, b"\x00"),),
    ),
    Vector(
        "TCP-AO and TFO asked for",
        "01072263 0a0601bb 00000000 00000000 0000ffff c0000201 1d022202",
        "01032263 1e02211d 22000000",
        answers=(Error(33, bytes.fromhex("1d22000000")),),
    ),
    Vector(
        "MPTCP asked for with content",
        "01082263 0a0701bb 00000000 00000000 0000ffff c0000201 1e040001 00000000",
        "01022263 1e01211e",
        answers=(Error(33, b"\x1e"),),
    ),
    Vector(
        "TLV of length 0",
        "01022263 01000000",
        "01042263 1e030100 01022263 01000000",
        answers=echo(1, "0102226301000000"),
    ),
    Vector(
        "TLV past the message",
        "01022263 16020000",
        "01042263 1e030100 01022263 16020000",
        answers=echo(1, "0102226316020000"),
    ),
    Vector(
        "Info of two words",
        "01032263 01020000 00000000",
        "01052263 1e040100 01032263 01020000 00000000",
        answers=echo(1, "010322630102000000000000"),
    ),
    Vector(
        "Connect of four words",
        "01052263 0a0401bb 00000000 00000000 0000ffff",
        "01072263 1e060100 01052263 0a0401bb 00000000 00000000 0000ffff",
        answers=echo(1, "01052263 0a0401bb 00000000 00000000 0000ffff"),
    ),
)
