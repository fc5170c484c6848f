"""One flow as rules see it: what its first packet says, and what its first bytes or the DNS told."""

from dataclasses import dataclass, replace
from typing import Final, Literal

DomainSource = Literal["sni", "host", "dns", "given", "none"]

TCP: Final = 6
UDP: Final = 17
# Protocols whose header begins with a source and a destination port: TCP, UDP, DCCP, SCTP, UDP-Lite.
WITH_PORTS: Final = frozenset({TCP, UDP, 33, 132, 136})
PROTOCOLS: Final[dict[str, tuple[int, ...]]] = {
    "tcp": (TCP,),
    "udp": (UDP,),
    "icmp": (1, 58),
    "igmp": (2,),
    "ipip": (4, 41),
    "dccp": (33,),
    "gre": (47,),
    "esp": (50,),
    "ah": (51,),
    "sctp": (132,),
    "udplite": (136,),
}


@dataclass(frozen=True, slots=True)
class FlowKey:
    """A LAN host's flow: addresses as text, ports as numbers, 0 where the protocol has none.

    None is what nobody knows, and fits no descriptor.
    `domain` is lower case without a final dot; `domain_source` says how sure it is. By DNS an address may have several
    names: `others` are those beside `domain`, and a rule fits where any of them does.
    """

    client: str
    client_port: int
    server: str
    server_port: int
    protocol: int = TCP
    dscp: int | None = None
    interface: str | None = None
    mac: str | None = None
    domain: str | None = None
    domain_source: DomainSource = "none"
    others: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every name the server may have."""
        return () if self.domain is None else (self.domain, *self.others)


def by_dns(flow: FlowKey, names: tuple[str, ...]) -> FlowKey:
    """Return a flow with the names that DNS told of its server, unless its name is known from elsewhere."""
    if flow.domain is not None or not names:
        return flow
    return replace(flow, domain=names[0], domain_source="dns", others=names[1:])


def protocol_name(number: int) -> str:
    """Return a protocol's name, or its number."""
    return next((name for name, numbers in PROTOCOLS.items() if number in numbers), str(number))
