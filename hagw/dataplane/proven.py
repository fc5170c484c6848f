"""From which addresses customers have proved to come: a table in memory that all workers and the daemon share.

A cookie says whose a connection is, and works for whoever has read it on its way. Only the customer's own CPE can
answer what we have sent to an address, by an echo or over the control channel. Entries are hashes in buckets of
eight, the oldest goes first; a torn write costs one proof, which is made anew.
"""

import hashlib
import mmap
import os
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Final

PROVEN_FILE: Final = "proven"  # in the runtime directory: a new boot begins without
BUCKETS: Final = 8_192
WAYS: Final = 8
LIFETIME_S: Final = 24 * 3600.0  # an idle line is not asked
BOUND_S: Final = 3 * 3600.0  # after a CPE was last heard of; no cookie that was stolen before works for longer than 2 h
GRACE_S: Final = 5.0  # for a CPE that has just come to prove the addresses of its other lines
ADDRESSES_MAX: Final = 32  # that a customer's TCP comes from within BOUND_S: eight lines in two families, bound anew
CUSTOMERS_MAX: Final = 16_384
_RENEWS: Final = "renews"  # no address
_SINCE: Final = "since"
_ENTRY: Final = struct.Struct("=Qd")
_SIZE: Final = BUCKETS * WAYS * _ENTRY.size


class ProvenAddresses:
    """The table at a path, made if it is not there. Times are CLOCK_MONOTONIC. Raise OSError."""

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, _SIZE)
            self._table = mmap.mmap(descriptor, _SIZE)
        finally:
            os.close(descriptor)

    def prove(self, customer: str, address: str, now: float) -> None:
        """A customer has answered from this address."""
        self._put(_key(customer, address), now)
        self._put(_key(customer, ""), now)

    def is_proven(self, customer: str, address: str, now: float) -> bool:
        """Say whether it has, lately."""
        return self._at(_key(customer, address)) > now - LIFETIME_S

    def is_foreign(self, customer: str, address: str, now: float) -> bool:
        """Say whether a customer who proves addresses has not proved this one; who never did may be an older CPE."""
        return self._at(_key(customer, "")) > now - LIFETIME_S and not self.is_proven(customer, address, now)

    def bind(self, customer: str, now: float) -> None:
        """A CPE that renews its proofs over the control channel is there: its cookies are good where it is alone."""
        if not self._is_since(_key(customer, _RENEWS), now - BOUND_S):
            self._put(_key(customer, _SINCE), now)
        self._put(_key(customer, _RENEWS), now)

    def unbind(self, customer: str) -> None:
        """Its cookies are good from anywhere, until it is bound again."""
        self._put(_key(customer, _RENEWS), float("-inf"))

    def is_bound(self, customer: str, now: float) -> bool:
        """Say whether the customer's CPE renews proofs over the control channel, and has had the time to."""
        renews = self._is_since(_key(customer, _RENEWS), now - BOUND_S)
        return renews and not self._is_since(_key(customer, _SINCE), now - GRACE_S)

    def _is_since(self, key: int, then: float) -> bool:
        return self._at(key) > then

    def _at(self, key: int) -> float:
        return max((at for _, known, at in self._bucket(key) if known == key), default=float("-inf"))

    def _put(self, key: int, now: float) -> None:
        entries = self._bucket(key)
        own = [offset for offset, known, _ in entries if known == key]
        offset = own[0] if own else min(entries, key=lambda entry: entry[2])[0]
        _ENTRY.pack_into(self._table, offset, key, now)

    def _bucket(self, key: int) -> list[tuple[int, int, float]]:
        begin = key % BUCKETS * WAYS * _ENTRY.size
        offsets = range(begin, begin + WAYS * _ENTRY.size, _ENTRY.size)
        return [(offset, *_ENTRY.unpack_from(self._table, offset)) for offset in offsets]


class Homes:
    """From how many addresses each customer has logged in lately.

    Where each connection through a provider's NAT comes from another address, nobody can prove the next one's.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[str, OrderedDict[str, float]] = OrderedDict()

    def wanders(self, customer: str, address: str, now: float) -> bool:
        """Take an address that a customer has logged in from; say whether there were more than ADDRESSES_MAX."""
        seen = self._seen.setdefault(customer, OrderedDict())
        seen[address] = now
        seen.move_to_end(address)
        while len(seen) > ADDRESSES_MAX + 1 or next(iter(seen.values())) <= now - BOUND_S:
            seen.popitem(last=False)
        self._seen.move_to_end(customer)
        if len(self._seen) > CUSTOMERS_MAX:
            self._seen.popitem(last=False)
        return len(seen) > ADDRESSES_MAX


def _key(customer: str, address: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{customer}\0{address}".encode(), digest_size=8).digest(), "big") or 1
