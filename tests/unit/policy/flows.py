"""Random flows and rules that meet each other often: few values, all of them at the edges of something."""

from ipaddress import ip_address, ip_network

from hypothesis import strategies as st

from hagw.model.flow import FlowKey
from hagw.model.intent import RuleIntent, TrafficDescriptor
from hagw.policy.applications import APPLICATIONS

CLIENTS = ("192.168.77.1", "192.168.77.11", "192.168.77.255", "192.168.78.0", "fd77::11", "fd77:0:0:1::1")
SERVERS = ("203.0.113.0", "203.0.113.10", "203.0.113.255", "198.51.100.7", "2001:db8::1", "2001:db8:ffff::1")
PREFIXES = (0, 8, 23, 24, 25, 31, 32)
PORTS = (0, 1, 22, 79, 80, 81, 443, 5060, 65535)
PROTOCOLS = (1, 6, 17, 47, 50, 58, 132)
MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02")
INTERFACES = ("lan0", "guests0")
DOMAINS = (
    "example.org",
    "www.example.org",
    "a.www.example.org",
    "notexample.org",
    "org",
    "youtube.com",
    "www.netflix.com",
)
PATTERNS = (*DOMAINS, "*.example.org", "*.org", "*.www.example.org", "*.com")
MODES = ("load-balancing", "active-standby", "smallest-delay", "priority-based", "redundant", "direct", "block")
LINES = ("dsl", "lte", "wifi")


def prefixes(addresses: tuple[str, ...]) -> st.SearchStrategy[object]:
    return st.builds(
        lambda text, length: ip_network(
            (text, min(length * (4 if ":" in text else 1), ip_address(text).max_prefixlen)), strict=False
        ),
        st.sampled_from(addresses),
        st.sampled_from(PREFIXES),
    )


# Made once, not with each example: to set a strategy up takes longer than to draw from it.
CLIENT = st.sampled_from(CLIENTS)
SERVER = {family: st.sampled_from([each for each in SERVERS if (":" in each) == (family == 6)]) for family in (4, 6)}
PORT = st.sampled_from(PORTS)
PROTOCOL = st.sampled_from(PROTOCOLS)
DSCP = st.sampled_from((0, 10, 46))
INTERFACE = st.sampled_from(INTERFACES)
MAC = st.sampled_from(MACS)
SOME_DOMAINS = st.lists(st.sampled_from(DOMAINS), unique=True, max_size=3)
SOURCE = st.sampled_from(("sni", "dns", "given"))
MAYBE_DSCP, MAYBE_INTERFACE, MAYBE_MAC = st.none() | DSCP, st.none() | INTERFACE, st.none() | MAC
RULE_PORT = st.sampled_from(PORTS[1:])
COMPONENTS = {
    name: st.lists(component, min_size=1, max_size=3)
    for name, component in {
        "sources": prefixes(CLIENTS),
        "destinations": prefixes(SERVERS),
        "destination_ports": st.tuples(RULE_PORT, RULE_PORT).map(lambda p: (min(p), max(p))),
        "macs": MAC,
        "interfaces": INTERFACE,
        "protocols": PROTOCOL,
        "dscps": DSCP,
        "domains": st.sampled_from(PATTERNS),
        "applications": st.sampled_from(sorted(APPLICATIONS)),
    }.items()
}
NAMES = st.lists(st.sampled_from(sorted(COMPONENTS)), unique=True, max_size=3)
MODE = st.sampled_from(MODES)
QUIC = st.sampled_from((None, None, "reject", "steer"))
SOME_LINES = st.lists(st.sampled_from(LINES), unique=True, max_size=2)


@st.composite
def flows(draw: st.DrawFn) -> FlowKey:
    """Draw a flow whose addresses are of one family; what is not always known is sometimes not."""
    client = draw(CLIENT)
    server = draw(SERVER[6 if ":" in client else 4])
    protocol = draw(PROTOCOL)
    names = draw(SOME_DOMAINS)
    source = draw(SOURCE) if names else "none"
    return FlowKey(
        client=client,
        client_port=40_000,
        server=server,
        server_port=draw(PORT) if protocol in (6, 17, 132) else 0,
        protocol=protocol,
        dscp=draw(MAYBE_DSCP),
        interface=draw(MAYBE_INTERFACE),
        mac=draw(MAYBE_MAC),
        domain=names[0] if names else None,
        domain_source=source,  # type: ignore[arg-type]  # one of these
        others=tuple(names[1:]) if source == "dns" else (),
    )


@st.composite
def descriptors(draw: st.DrawFn) -> TrafficDescriptor:
    """Draw what a rule is for: few components, so that rules match now and then."""
    return TrafficDescriptor(**{name: tuple(draw(COMPONENTS[name])) for name in draw(NAMES)})  # type: ignore[arg-type]


DESCRIPTORS = st.lists(descriptors(), max_size=8)


@st.composite
def rule_sets(draw: st.DrawFn) -> tuple[RuleIntent, ...]:
    """Draw up to eight rules, in order of precedence."""
    found = []
    for number, traffic in enumerate(draw(DESCRIPTORS)):
        mode = draw(MODE)
        lines = () if mode == "block" else tuple(draw(SOME_LINES))
        quic = None if mode == "block" else draw(QUIC)
        found.append(RuleIntent(f"r{number}", number, traffic, mode, lines, quic=quic))  # type: ignore[arg-type]
    return tuple(found)
