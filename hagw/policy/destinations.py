"""Which servers a customer may reach through the gateway. Addresses only: no names, no DNS."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network
from typing import Final

from hagw.model.intent import IPAddress, IPNetwork

# Not documentation prefixes: nothing answers there, and laboratories use them.
REFUSED: Final[tuple[IPNetwork, ...]] = tuple(
    ip_network(prefix)
    for prefix in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.168.0.0/16", "224.0.0.0/4", "240.0.0.0/4", "::/127", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
    )
)  # fmt: skip
NAT64: Final = IPv6Network("64:ff9b::/96")
SMTP_PORT: Final = 25


@dataclass(frozen=True, slots=True)
class DestinationRules:
    """`deny` wins over `allow`, `allow` over the built-in refusals; a gateway's own addresses are never reachable."""

    allow: tuple[IPNetwork, ...]
    deny: tuple[IPNetwork, ...]
    own: frozenset[IPAddress]

    def refusal(self, address: IPAddress, port: int) -> str | None:
        """Return why this server is out of bounds, None if it is not; so is one behind an address within its own."""
        embedded = _embedded(address)
        return self._refusal(address, port) or (self._refusal(embedded, port) if embedded is not None else None)

    def _refusal(self, address: IPAddress, port: int) -> str | None:
        if address in self.own:
            return "one of the gateway's own addresses"
        if any(address in network for network in self.deny):
            return "denied by configuration"
        if any(address in network for network in self.allow):
            return None
        if port == SMTP_PORT:
            return "mail relay port"
        if any(address in network for network in REFUSED):
            return "not a public address"
        return None


def _embedded(address: IPAddress) -> IPv4Address | None:
    """Return the IPv4 address that a translator or relay on the way would go to."""
    if not isinstance(address, IPv6Address):
        return None
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour
