"""What is known of servers' names: which an address has, for how long, and that it stays bounded."""

from ipaddress import ip_address

from hypothesis import given, settings
from hypothesis import strategies as st

from hagw.policy.dns_answers import Resolved
from hagw.policy.names import ADDRESSES_A_DOMAIN, DOMAINS_MAX, KEPT_MAX_S, KEPT_MIN_S, NAMES_AN_ADDRESS, NameBook


def answer(domain: str, *addresses: str, ttl_s: int = 3600) -> Resolved:
    return Resolved(domain, tuple(ip_address(each) for each in addresses), ttl_s)


def test_an_address_has_the_names_it_was_told_last_first() -> None:
    book = NameBook()
    book.learn(answer("a.example", "192.0.2.1"), 0.0)
    book.learn(answer("b.example", "192.0.2.1", "192.0.2.2"), 1.0)
    assert book.names("192.0.2.1", 2.0) == ("b.example", "a.example")
    book.learn(answer("a.example", "192.0.2.1"), 3.0)
    assert book.names("192.0.2.1", 4.0) == ("a.example", "b.example")
    assert book.names("192.0.2.3", 4.0) == ()


def test_a_name_holds_for_its_ttl_within_bounds() -> None:
    book = NameBook()
    (short,) = book.learn(answer("a.example", "192.0.2.1", ttl_s=5), 100.0)
    (long,) = book.learn(answer("b.example", "192.0.2.2", ttl_s=10**6), 100.0)
    assert (short.until, long.until) == (100.0 + KEPT_MIN_S, 100.0 + KEPT_MAX_S)
    book.sweep(100.0 + KEPT_MIN_S)
    assert [each.domain for each in book.every(100.0)] == ["b.example"]
    assert book.names("192.0.2.1", 100.0 + KEPT_MIN_S) == ()


def test_the_domain_told_of_least_recently_goes_first() -> None:
    book = NameBook()
    for number in range(DOMAINS_MAX):
        book.learn(answer(f"{number}.example", f"10.0.{number // 250}.{number % 250}"), float(number))
    book.learn(answer("0.example", "192.0.2.9"), 1e5)
    book.learn(answer("new.example", "192.0.2.10"), 1e5)
    assert len(book) == DOMAINS_MAX
    assert book.names("192.0.2.9", 1e5) == ("0.example",)
    assert "1.example" not in {each.domain for each in book.every(0.0)}


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 60), st.integers(0, 3000)), max_size=120))
def test_it_stays_bounded_and_both_ways_agree(told: list[tuple[int, int, int]]) -> None:
    book = NameBook(domains_max=20)
    now = 0.0
    for domain, address, pause in told:
        now += pause
        book.learn(answer(f"{domain}.example", f"192.0.2.{address}", ttl_s=pause), now)
        if pause % 7 == 0:
            book.sweep(now)
        assert len(book) <= 20
    known = {(each.address, each.domain) for each in book.every(now)}
    assert known == {(a, name) for a in {a for a, _ in known} for name in book.names(a, now)}
    assert all(sum(a == address for a, _ in known) <= NAMES_AN_ADDRESS for address, _ in known)
    assert all(sum(d == domain for _, d in known) <= ADDRESSES_A_DOMAIN for _, domain in known)
