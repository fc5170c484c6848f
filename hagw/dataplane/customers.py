"""The customers as a HAG worker knows them: whose cookie it is, what each may reach, what each holds."""

from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from typing import Final

from hagw.convert import cookie
from hagw.model.intent import IPAddress, IPNetwork
from hagw.model.snapshot import CustomerView, HagSnapshot
from hagw.pmf.responder import EchoCustomer
from hagw.policy.destinations import DestinationRules

NOBODY: Final = CustomerView("", "")


class Customer:
    """One customer: its view parsed, and what it holds here, which lives on when the view changes."""

    __slots__ = ("keys", "name", "pending", "rules", "sources", "view")

    def __init__(self, name: str) -> None:
        self.name = name
        self.view = NOBODY
        self.keys: tuple[bytes, ...] = ()
        self.sources: tuple[IPNetwork, ...] = ()
        self.rules = DestinationRules((), (), frozenset())
        self.pending = 0

    def take(self, view: CustomerView, snapshot: HagSnapshot, own: frozenset[IPAddress]) -> None:
        """Work by another view, and by the gateway's own destinations."""
        self.view = view
        self.keys = tuple(bytes.fromhex(key) for key in (view.key, view.old_key) if key)
        self.sources = _networks(view.sources)
        self.rules = DestinationRules(
            allow=_networks((*snapshot.allow, *view.allow)), deny=_networks((*snapshot.deny, *view.deny)), own=own
        )


class Customers:
    """All customers of the snapshot, by the tag of their cookies."""

    def __init__(self) -> None:
        self._by_tag: dict[bytes, Customer] = {}

    def apply(self, snapshot: HagSnapshot) -> None:
        """Work by a new snapshot; what customers hold stays with those who are still there."""
        own = frozenset(ip_address(address) for address in snapshot.own_addresses)
        before, self._by_tag = self._by_tag, {}
        for view in snapshot.customers:
            tag = cookie.customer_tag(view.name)
            customer = before.get(tag) or Customer(view.name)
            customer.take(view, snapshot, own)
            self._by_tag[tag] = customer

    def knows(self, customer: Customer) -> bool:
        """Say whether it still is one."""
        return self._by_tag.get(cookie.customer_tag(customer.name)) is customer

    def echoes(self) -> Iterable[EchoCustomer]:
        """Return whose echoes are answered."""
        return [EchoCustomer(key, each.sources) for each in self._by_tag.values() for key in each.keys]

    def of_cookie(self, value: bytes, source: str, wall_time: float) -> Customer | None:
        """Return the customer whose valid cookie this is and who may come from `source`, else None."""
        presented = cookie.parse(value)
        found = None if presented is None else self._by_tag.get(presented.tag)
        if presented is None or found is None:
            return None
        if not any(cookie.verify(presented, key, found.name, wall_time) for key in found.keys):
            return None
        if found.sources and not any(ip_address(source) in network for network in found.sources):
            return None
        return found


def _networks(prefixes: Iterable[str]) -> tuple[IPNetwork, ...]:
    return tuple(ip_network(prefix) for prefix in prefixes)
