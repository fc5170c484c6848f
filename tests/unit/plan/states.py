"""Arbitrary intents, facts, health and states, for properties."""

from ipaddress import IPv4Address, IPv4Interface, IPv6Address

from hypothesis import strategies as st

from hagw.model.facts import Facts, UplinkFacts
from hagw.model.health import UplinkHealth
from hagw.model.intent import CpeIntent, GatewayIntent, UplinkIntent
from hagw.model.resources import (
    Address,
    Key,
    LinkSetting,
    MptcpLimits,
    NftTable,
    Resource,
    Route,
    Rule,
    Sysctl,
    state_of,
)

GATEWAY = GatewayIntent("hag", (IPv4Address("198.51.100.10"),), 5124, 5124, "home", bytes(32))
NAMES = ("dsl", "lte", "wifi")

addresses4 = st.integers(1, 254).map(lambda host: IPv4Address(f"192.0.2.{host}"))
addresses6 = st.integers(1, 254).map(lambda host: IPv6Address(f"2001:db8::{host:x}"))


@st.composite
def intents(draw: st.DrawFn) -> CpeIntent:
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=3))
    uplinks = tuple(
        UplinkIntent(
            addressing=draw(st.sampled_from(("dhcp", "static", "ra"))),
            addresses=draw(st.just(()) | st.tuples(addresses4.map(lambda address: IPv4Interface((address, 24))))),
            mtu=draw(st.none() | st.just(1400)),
            name=name,
            kind="dsl",
            interface=f"{name}0",
            slot=slot,
            enabled=draw(st.booleans()),
            metered=draw(st.booleans()),
            cost=draw(st.integers(0, 2)),
        )
        for slot, name in enumerate(names, start=1)
    )
    return CpeIntent(lan_interfaces=("lan0",), uplinks=uplinks, gateways=(GATEWAY,))


@st.composite
def uplink_facts(draw: st.DrawFn, name: str) -> UplinkFacts:
    return UplinkFacts(
        name=name,
        ifindex=draw(st.none() | st.just(NAMES.index(name) + 2)),
        admin_up=draw(st.booleans()),
        carrier=draw(st.booleans()),
        address4=draw(st.none() | addresses4),
        address6=draw(st.none() | addresses6),
        gateway4=draw(st.none() | addresses4),
        gateway6=draw(st.none() | addresses6),
        onlink4=draw(st.booleans()),
        onlink6=draw(st.booleans()),
        mtu=draw(st.sampled_from((1280, 1492, 1500))),
        accepts_ra=draw(st.booleans()),
    )


@st.composite
def all_facts(draw: st.DrawFn) -> Facts:
    return Facts(
        uplinks={name: draw(uplink_facts(name)) for name in NAMES},
        sysctls=draw(st.frozensets(st.sampled_from(("net/mptcp/pm_type", "net/mptcp/blackhole_timeout")))),
        ipv6=draw(st.booleans()),
    )


healths = st.dictionaries(
    st.sampled_from(NAMES), st.sampled_from(("up", "suspect", "down", "disabled")).map(UplinkHealth)
)

families = st.sampled_from((4, 6))
resources: st.SearchStrategy[Resource] = st.one_of(
    st.builds(
        Sysctl,
        st.sampled_from(("net/ipv4/ip_forward", "net/ipv6/conf/dsl0/accept_ra", "net/ipv6/conf/all/forwarding")),
        st.sampled_from("012"),
    ),
    st.builds(MptcpLimits, st.integers(0, 8), st.integers(0, 8)),
    st.builds(LinkSetting, st.sampled_from(("dsl0", "lte0")), st.sampled_from(("mtu", "up")), st.integers(0, 2)),
    st.builds(Address, st.just("dsl0"), addresses4.map(lambda address: IPv4Interface((address, 24)))),
    st.builds(Route, families, st.integers(5101, 5103), st.sampled_from(("dsl0", "lte0")), st.none() | addresses4),
    st.builds(Rule, families, st.integers(5100, 5103), st.integers(5101, 5102), st.none() | st.integers(1, 2)),
    st.builds(NftTable, st.sampled_from(("", "one", "two"))),
)
states: st.SearchStrategy[dict[Key, Resource]] = st.lists(resources, max_size=12).map(lambda found: state_of(*found))
