"""The roll: who may use this gateway, as the registry last said; kept on disk for as long as its database is away."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from ipaddress import ip_network
from typing import Any

from hagw.model.intent import CustomerIntent, CustomerLimits, IPNetwork


@dataclass(frozen=True, slots=True)
class Roll:
    """All customers that may use a gateway, and their devices' public keys by name, at one revision."""

    revision: int
    customers: tuple[CustomerIntent, ...]
    device_keys: Mapping[str, bytes]


def encode_roll(roll: Roll) -> str:
    """Return the roll as text, keys included."""
    customers = [_entry(customer) for customer in roll.customers]
    devices = {name: key.hex() for name, key in roll.device_keys.items()}
    return json.dumps({"version": 1, "revision": roll.revision, "customers": customers, "device_keys": devices})


def decode_roll(text: str) -> Roll | None:
    """Return what `encode_roll` wrote, None where it is something else: a damaged file, or a later version's."""
    try:
        document = json.loads(text)
        if document["version"] != 1:
            return None
        customers = tuple(_customer(entry) for entry in document["customers"])
        devices = {str(name): bytes.fromhex(key) for name, key in document["device_keys"].items()}
        return Roll(int(document["revision"]), customers, devices)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _entry(customer: CustomerIntent) -> dict[str, Any]:
    return {
        "name": customer.name,
        "key": customer.key.hex(),
        "old_key": None if customer.old_key is None else customer.old_key.hex(),
        "sources": [str(prefix) for prefix in customer.sources],
        "allow": [str(prefix) for prefix in customer.allow],
        "deny": [str(prefix) for prefix in customer.deny],
        "limits": asdict(customer.limits),
    }


def _customer(entry: dict[str, Any]) -> CustomerIntent:
    return CustomerIntent(
        name=str(entry["name"]),
        key=bytes.fromhex(entry["key"]),
        sources=_prefixes(entry["sources"]),
        old_key=None if entry["old_key"] is None else bytes.fromhex(entry["old_key"]),
        allow=_prefixes(entry["allow"]),
        deny=_prefixes(entry["deny"]),
        limits=CustomerLimits(**entry["limits"]),
    )


def _prefixes(texts: list[str]) -> tuple[IPNetwork, ...]:
    return tuple(ip_network(text) for text in texts)
