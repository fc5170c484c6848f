"""Which external address and which ports a customer's connections leave from, where customers share addresses.

RFC 6888: one customer, one address of each family (REQ-2, "paired"), for as long as both are there. Each has a block of
ports of its own (RFC 7422, section 2), so that whoever sees address and port knows the customer without a record of
every connection. The address is found by rendezvous hashing: one that comes or goes moves no customer of the others.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hagw.model.intent import EgressIntent, IPAddress

PORT_FIRST: Final = 1_024
PORTS_END: Final = 65_536


@dataclass(frozen=True, slots=True)
class Block:
    """Ports of an address, `first` to `last` included."""

    address: IPAddress
    first: int
    last: int


Held = Mapping[str, tuple[Block, ...]]


def assign(customers: Sequence[str], egress: EgressIntent, held: Held) -> dict[str, tuple[Block, ...]]:
    """Return every customer's blocks, one for each family that has addresses; fewer where none is left.

    A customer keeps what it holds while that is still configured; others get what is free, so it depends on who came
    first and not on who came later.
    """
    starts = range(PORT_FIRST, PORTS_END - egress.ports_per_customer + 1, egress.ports_per_customer)
    known = {name: _still(held.get(name, ()), egress, starts) for name in customers}
    taken = {(block.address, block.first) for blocks in known.values() for block in blocks}
    families = sorted({address.version for address in egress.addresses})
    for name in customers:
        for version in families:
            if all(block.address.version != version for block in known[name]):
                found = _free(name, [a for a in egress.addresses if a.version == version], starts, taken)
                if found is not None:
                    block = Block(*found, found[1] + egress.ports_per_customer - 1)
                    taken.add(found)
                    known[name] = (*known[name], block)
    return known


def _still(blocks: Iterable[Block], egress: EgressIntent, starts: range) -> tuple[Block, ...]:
    size = egress.ports_per_customer
    return tuple(
        block
        for block in blocks
        if block.address in egress.addresses and block.first in starts and block.last == block.first + size - 1
    )


def _free(
    name: str, addresses: Iterable[IPAddress], starts: range, taken: set[tuple[IPAddress, int]]
) -> tuple[IPAddress, int] | None:
    for address in sorted(addresses, key=lambda each: _draw(name, str(each)), reverse=True):
        begin = _draw(name, "block") % len(starts)
        for index in range(len(starts)):
            first = starts[(begin + index) % len(starts)]
            if (address, first) not in taken:
                return address, first
    return None


def _draw(name: str, what: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{name}\0{what}".encode(), digest_size=8).digest(), "big")
