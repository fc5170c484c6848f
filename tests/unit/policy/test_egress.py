"""Addresses and ports that customers share: paired, apart from each other, and staying."""

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from hagw.model.intent import EgressIntent
from hagw.policy.egress import PORT_FIRST, PORTS_END, Block, assign

POOL = tuple(ip_address(f"203.0.113.{host}") for host in range(5, 13))
POOL6 = (ip_address("2001:db8::5"), ip_address("2001:db8::6"))
NAMES = st.lists(st.integers(0, 300).map("cpe-{}".format), unique=True, max_size=60)
EGRESS = st.builds(
    EgressIntent,
    st.lists(st.sampled_from((*POOL, *POOL6)), unique=True, max_size=6).map(tuple),
    st.sampled_from([16, 1_024, 8_000, 32_256]),
)


def ports(blocks: dict[str, tuple[Block, ...]]) -> list[tuple[str, int]]:
    return [(str(b.address), port) for each in blocks.values() for b in each for port in (b.first, b.last)]


@given(NAMES, EGRESS)
def test_no_port_is_two_customers_and_each_has_one_address_a_family(names: list[str], egress: EgressIntent) -> None:
    found = assign(names, egress, {})
    assert len(set(ports(found))) == len(ports(found))
    assert all(PORT_FIRST <= port < PORTS_END for _, port in ports(found))
    families = {address.version for address in egress.addresses}
    room = (PORTS_END - PORT_FIRST) // egress.ports_per_customer
    for version in families:
        have = [name for name in names if any(b.address.version == version for b in found[name])]
        assert len(have) == min(len(names), room * sum(a.version == version for a in egress.addresses))
    for blocks in found.values():
        assert len({b.address.version for b in blocks}) == len(blocks)


@given(NAMES, NAMES, EGRESS)
def test_who_stays_keeps_what_it_has(before: list[str], after: list[str], egress: EgressIntent) -> None:
    held = assign(before, egress, {})
    found = assign(after, egress, held)
    for name in set(before) & set(after):
        assert set(held[name]) <= set(found[name])


@given(NAMES, EGRESS, st.sampled_from(POOL))
def test_an_address_that_goes_moves_only_its_own(names: list[str], egress: EgressIntent, gone: object) -> None:
    held = assign(names, egress, {})
    left = EgressIntent(tuple(a for a in egress.addresses if a != gone), egress.ports_per_customer)
    found = assign(names, left, held)
    for name in names:
        assert {block for block in held[name] if block.address != gone} <= set(found[name])
        assert all(block.address != gone for block in found[name])


def test_without_a_memory_most_find_the_same_address_again_when_one_is_added() -> None:
    names = [f"cpe-{n}" for n in range(200)]
    before = assign(names, EgressIntent(POOL[:4]), {})
    after = assign(names, EgressIntent(POOL[:5]), {})
    moved = [name for name in names if before[name][0].address != after[name][0].address]
    assert all(after[name][0].address == POOL[4] for name in moved)
    assert 20 < len(moved) < 60
