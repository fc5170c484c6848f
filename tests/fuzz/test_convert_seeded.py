"""A million broken messages from a few seeds: each decodes or is Malformed, and nothing depends on how bytes arrive.

Made by a plain generator rather than hypothesis, for speed.
"""

from collections import Counter
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from random import Random

import pytest

from hagw.convert.errors import ErrorCode, Malformed
from hagw.convert.events import Data, EarlyData
from hagw.convert.machine import ClientMachine, ConverterMachine
from hagw.convert.message import decode, encode
from hagw.convert.tlv import (
    Connect,
    Cookie,
    Error,
    ExtendedTcpHeader,
    Info,
    SupportedTcpExtensions,
    TcpOption,
)

SAMPLES = [
    encode(tlvs)
    for tlvs in (
        (Connect(443, IPv4Address("192.0.2.1")),),
        (Connect(80, IPv6Address("2001:db8::1")), Cookie(bytes(range(28)))),
        (Info(),),
        (Info(), Cookie(b"12345678"), Connect(22, IPv4Address("198.51.100.7"))),
        (Connect(443, IPv4Address("192.0.2.1"), (TcpOption(30), TcpOption(4), TcpOption(254, b"abc"))),),
        (ExtendedTcpHeader(bytes.fromhex("020405b40101040201030307")),),
        (SupportedTcpExtensions((30, 4, 8)), ExtendedTcpHeader(bytes.fromhex("020405b4"))),
        (Error(ErrorCode.NOT_AUTHORIZED),),
        (Error(ErrorCode.UNSUPPORTED_TCP_OPTION, b"\x1d\x22"),),
        (Cookie(bytes(1012)),),
    )
]


def overwrite(wire: bytearray, random: Random) -> None:
    for _ in range(random.randrange(1, 4)):
        wire[random.randrange(len(wire))] = random.getrandbits(8)


def spoil_tlv(wire: bytearray, random: Random) -> None:
    """Change a word's first two bytes: type and length, if a TLV starts there."""
    at = 4 * random.randrange(len(wire) // 4)
    wire[at] = random.choice((0, 1, 10, 20, 21, 22, 30, 127))
    wire[at + 1] = random.randrange(8)


def repeat_words(wire: bytearray, random: Random) -> None:
    """Repeat a run of words, with the Total Length that fits."""
    low = 4 * random.randrange(1, len(wire) // 4 + 1)
    wire += wire[low : low + 4 * random.randrange(8)]
    wire[1] = min(len(wire) // 4, 255)


def drop_words(wire: bytearray, random: Random) -> None:
    low = 4 * random.randrange(1, len(wire) // 4 + 1)
    del wire[low : low + 4 * random.randrange(8)]
    wire[1] = len(wire) // 4


def cut_end(wire: bytearray, random: Random) -> None:
    del wire[random.randrange(len(wire)) :]


def replace_body(wire: bytearray, random: Random) -> None:
    wire[4:] = random.randbytes(len(wire) - 4)


SPOILERS: tuple[Callable[[bytearray, Random], None], ...] = (
    overwrite,
    spoil_tlv,
    repeat_words,
    drop_words,
    cut_end,
    replace_body,
)


def spoiled(random: Random) -> bytes:
    wire = bytearray(random.choice(SAMPLES))
    random.choice(SPOILERS)(wire, random)
    return bytes(wire)


def judge(wire: bytes) -> str:
    """Name what became of the bytes; that what decodes encodes again is checked here."""
    try:
        message = decode(wire)
    except Malformed as why:
        return "reset" if why.code is None else why.code.name
    assert decode(encode(message.tlvs)) == message
    return "decoded"


SERVER = IPv4Address("192.0.2.1")


def asking() -> ClientMachine:
    machine = ClientMachine()
    machine.connect(SERVER, 443)
    return machine


def heard(machine: ClientMachine | ConverterMachine, chunks: list[bytes]) -> list[object]:
    """Return the events, user data as one at their end."""
    events = [event for chunk in chunks for event in machine.receive(chunk)]
    user = b"".join([event.data for event in events if isinstance(event, (Data, EarlyData))])
    return [*(event for event in events if not isinstance(event, (Data, EarlyData))), user]


@pytest.mark.parametrize(
    ("cases", "seed"),
    [
        pytest.param(50_000, 8803, id="50k"),
        *(pytest.param(100_000, 8684 + n, id=f"100k-{n}", marks=pytest.mark.slow) for n in range(10)),
    ],
)
def test_spoiled_messages_decode_or_are_malformed(cases: int, seed: int) -> None:
    random = Random(seed)
    outcomes: Counter[str] = Counter()
    for _ in range(cases):
        wire = spoiled(random)
        outcomes[judge(wire)] += 1
        place = random.randrange(len(wire) + 1)
        pieces = [wire[:place], wire[place:]]
        assert heard(ConverterMachine(requires_cookie=True), pieces) == heard(
            ConverterMachine(requires_cookie=True), [wire]
        )
        assert heard(asking(), pieces) == heard(asking(), [wire])
    usual = {"decoded", "reset", "MALFORMED_MESSAGE", "UNSUPPORTED_MESSAGE", "UNSUPPORTED_VERSION"}
    assert set(outcomes) == usual
    assert min(outcomes.values()) > cases / 500, outcomes
