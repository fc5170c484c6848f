"""Framing of netlink attributes."""

from hypothesis import given
from hypothesis import strategies as st

from hagw.kernel.netlink import NLA_F_NESTED, attribute, attributes, nested

pairs = st.lists(st.tuples(st.integers(1, 0x3FFF), st.binary(max_size=40)), max_size=8)


@given(pairs)
def test_what_is_encoded_decodes(found: list[tuple[int, bytes]]) -> None:
    assert list(attributes(b"".join(attribute(kind, payload) for kind, payload in found))) == found


@given(st.binary(max_size=80))
def test_any_bytes_decode_to_something_that_is_in_them(data: bytes) -> None:
    for _, payload in attributes(data):
        assert payload in data


def test_a_nested_attribute_is_flagged_and_holds_the_others() -> None:
    encoded = nested(3, attribute(1, b"a"), attribute(2, b"bcde"))
    assert int.from_bytes(encoded[2:4], "little") == 3 | NLA_F_NESTED
    ((kind, payload),) = attributes(encoded)
    assert kind == 3
    assert list(attributes(payload)) == [(1, b"a"), (2, b"bcde")]
