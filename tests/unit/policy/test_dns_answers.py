"""DNS messages told apart: what an answer says of names and addresses, and that nothing else says anything."""

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hagw.policy.dns_answers import ADDRESSES_MAX, ALIASES_MAX, Resolved, resolved

A, CNAME, AAAA = 1, 5, 28


def name(text: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".")) + b"\0"


def record(owner: bytes, kind: int, ttl: int, data: bytes, of: int = 1) -> bytes:
    return owner + struct.pack("!HHIH", kind, of, ttl, len(data)) + data


def answer(*records: bytes, asked: str = "www.example.org", flags: int = 0x8180, count: int | None = None) -> bytes:
    """Return a message; records may point to the question's name at offset 12."""
    header = struct.pack("!6H", 7, flags, 1, len(records) if count is None else count, 0, 0)
    return header + name(asked) + struct.pack("!HH", A, 1) + b"".join(records)


POINTER = b"\xc0\x0c"
FOUR = record(POINTER, A, 60, bytes([203, 0, 113, 10]))
SIX = record(POINTER, AAAA, 30, ip_address("2001:db8::1").packed)


def told(message: bytes) -> tuple[str, list[str], int] | None:
    found = resolved(message)
    return None if found is None else (found.domain, [str(address) for address in found.addresses], found.ttl_s)


def test_an_answer_tells_the_addresses_of_the_name_that_was_asked_for() -> None:
    assert told(answer(FOUR, SIX)) == ("www.example.org", ["203.0.113.10", "2001:db8::1"], 30)
    assert told(answer(record(name("www.example.org"), A, 9, b"\1\2\3\4"), asked="WWW.Example.ORG")) == (
        "www.example.org",
        ["1.2.3.4"],
        9,
    )


def test_aliases_are_followed_and_the_shortest_ttl_counts() -> None:
    chain = (
        record(POINTER, CNAME, 5, name("a.cdn.example")),
        record(name("b.cdn.example"), A, 300, b"\1\2\3\4"),
        record(name("a.cdn.example"), CNAME, 600, name("b.cdn.example")),
    )
    assert told(answer(*chain)) == ("www.example.org", ["1.2.3.4"], 5)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        answer(FOUR)[:11],
        answer(FOUR, flags=0x0100),  # a query
        answer(FOUR, flags=0x8183),  # no such name
        answer(FOUR, flags=0x8380),  # truncated
        answer(FOUR, flags=0xA980),  # another opcode
        answer(),
        answer(FOUR)[:-1],
        answer(record(name("other.example"), A, 60, b"\1\2\3\4")),
        answer(record(POINTER, A, 60, b"\1\2\3")),
        answer(record(POINTER, A, 60, b"\1\2\3\4", of=3)),
        answer(record(POINTER, CNAME, 60, POINTER)),
        answer(FOUR, asked="10.0.0.1"),
        answer(FOUR)[:12] + b"\xc0\x0c" + bytes(20),  # a name that points to itself
        answer(*(record(name(f"n{i}.x"), CNAME, 1, name(f"n{i + 1}.x")) for i in range(ALIASES_MAX + 1)), asked="n0.x"),
    ],
)
def test_what_is_no_whole_answer_tells_nothing(message: bytes) -> None:
    assert resolved(message) is None


def test_what_is_held_of_an_answer_is_bounded() -> None:
    many = [record(POINTER, A, 60, bytes([10, 0, 0, n])) for n in range(200)]
    found = resolved(answer(*many))
    assert isinstance(found, Resolved)
    assert len(found.addresses) == ADDRESSES_MAX


@settings(max_examples=300)
@given(st.binary(max_size=200), st.integers(0, 120), st.integers(0, 40))
def test_no_bytes_raise(noise: bytes, at: int, cut: int) -> None:
    resolved(noise)
    whole = answer(record(POINTER, CNAME, 5, name("a.cdn.example")), FOUR, SIX)
    resolved(whole[:at] + noise + whole[at + cut :])
