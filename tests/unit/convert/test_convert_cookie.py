"""Who can open a converter, and for how long."""

import pytest

from hagw.convert import cookie

KEY = bytes(range(32))
NOON = 1_700_000_000.0 // cookie.PERIOD_S * cookie.PERIOD_S


def is_good(value: bytes, at: float, key: bytes = KEY, customer: str = "home") -> bool:
    parts = cookie.parse(value)
    return parts is not None and cookie.verify(parts, key, customer, at)


def test_cookie_has_the_layout_that_other_versions_expect() -> None:
    value = cookie.mint(KEY, "home", NOON)
    assert value.hex() == "0007349e1c39da587de345b13a13fb1a011939782b626636248f7e72"
    assert len(value) == cookie.COOKIE_SIZE == 28


def test_tag_finds_the_customer() -> None:
    parts = cookie.parse(cookie.mint(KEY, "home", NOON))
    assert parts.tag == cookie.customer_tag("home") != cookie.customer_tag("office")
    assert parts.epoch == NOON // 3600


@pytest.mark.parametrize(
    ("minted", "verified", "good"),
    [
        (0, 0, True),
        (0, 3599, True),
        (0, 3600, True),
        (0, 7199, True),
        (0, 7200, False),
        (0, -1, True),
        (0, -3600, True),
        (0, -3601, False),
    ],
)
def test_cookie_is_good_in_its_epoch_and_beside_it(minted: float, verified: float, good: bool) -> None:
    assert is_good(cookie.mint(KEY, "home", NOON + minted), NOON + verified) is good


def test_other_key_or_customer_is_refused() -> None:
    value = cookie.mint(KEY, "home", NOON)
    assert is_good(value, NOON)
    assert not is_good(value, NOON, key=bytes(32))
    assert not is_good(value, NOON, customer="office")
    assert not is_good(cookie.mint(KEY, "office", NOON), NOON)


def test_every_bit_counts() -> None:
    value = cookie.mint(KEY, "home", NOON)
    for bit in range(len(value) * 8):
        forged = bytearray(value)
        forged[bit // 8] ^= 1 << bit % 8
        assert not is_good(bytes(forged), NOON)


@pytest.mark.parametrize("size", [0, 4, 8, 24, 27, 29, 32, 1012])
def test_cookies_of_another_size_are_not_ours(size: int) -> None:
    assert cookie.parse(bytes(size)) is None
