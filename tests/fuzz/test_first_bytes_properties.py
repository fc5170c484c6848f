"""Any first bytes: nothing raises, and more of them never turns a name into another one."""

import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from hagw.policy.first_bytes import MAX_BYTES, MORE, Named, domain_name, read

sys.path.append(str(Path(__file__).parents[1] / "unit" / "policy"))
from hellos import extension, handshake, records, server_name

hello_parts = st.lists(
    st.builds(extension, st.sampled_from((0, 16, 43, 51, 0xFE0D, 0x7A7A)), st.binary(max_size=60))
    | st.builds(server_name, st.binary(max_size=30)),
    max_size=5,
)
starts = st.sampled_from(
    (b"", b"\x16", b"\x16\x03\x01", b"\x16\x03\x01\x00\x40\x01\x00\x00\x3c\x03\x03", b"GET / HTTP/1.1\r\n", b"POST ")
)


@settings(max_examples=500)
@given(starts, st.binary(max_size=2000))
def test_nothing_raises(start: bytes, rest: bytes) -> None:
    found = read(start + rest)
    if isinstance(found, Named):
        assert domain_name(found.domain) == found.domain


@settings(max_examples=300)
@given(hello_parts, st.integers(1, 200), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4))
def test_a_broken_hello_is_read_or_not_but_never_raises(
    parts: list[bytes], size: int, flips: list[tuple[int, int]]
) -> None:
    said = bytearray(records(handshake(*parts), size))
    for place, value in flips:
        said[place % len(said)] = value
    told = None
    for length in range(0, len(said) + 1, 7):
        found = read(bytes(said[:length]))
        if isinstance(found, Named):
            assert told in (None, found.domain)
            told = found.domain


@given(st.binary(max_size=64))
def test_what_is_long_enough_is_not_waited_for(start: bytes) -> None:
    assert read((start + bytes(MAX_BYTES))[:MAX_BYTES]) != MORE
