"""How often somebody may try to log in: by address, and by user from addresses that the user never came from.

Pure: `now` is monotonic seconds. A try counts before its password is looked at, so that many at once are many tries.
Who guesses a user's password from elsewhere cannot lock that user out: where the user has logged in before, only that
address' own tries count.
"""

from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

ADDRESS_TRIES: Final = 10
USER_TRIES: Final = 20
AGAIN_S: Final = 30.0  # one more try each
KEPT_MAX: Final = 4096


@dataclass(slots=True)
class _Bucket:
    level: float = 0.0
    at: float = 0.0


class Throttle:
    """Leaky buckets, a bounded number of them."""

    def __init__(self) -> None:
        self._addresses: OrderedDict[str, _Bucket] = OrderedDict()
        self._users: OrderedDict[str, _Bucket] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def try_s(self, user: str, address: str, now: float) -> float:
        """Count a try and return 0; or count nothing and return in how many seconds there is one."""
        network = network_of(address)
        buckets = [(_bucket(self._addresses, network, now), ADDRESS_TRIES)]
        if (user, network) not in self._known:
            buckets.append((_bucket(self._users, user, now), USER_TRIES))
        wait_s = max((bucket.level + 1 - tries) * AGAIN_S for bucket, tries in buckets)
        if wait_s > 0:
            return wait_s
        for bucket, _ in buckets:
            bucket.level += 1
        return 0.0

    def succeeded(self, user: str, address: str) -> None:
        """Take back the tries of somebody who knew the password, and remember where the user comes from."""
        network = network_of(address)
        self._addresses.pop(network, None)
        if (user, network) not in self._known and user in self._users:
            self._users[user].level -= 1
        self._known[user, network] = None
        self._known.move_to_end((user, network))
        _bound(self._known)

    def forgive(self, user: str) -> None:
        """Forget the tries at this user's password: the owner has given another one."""
        self._users.pop(user, None)


def network_of(address: str) -> str:
    """Return what counts as one address: of IPv6 the /64, which one host has to itself."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ip_address(int(parsed) >> 64 << 64))


def _bucket(buckets: OrderedDict[str, _Bucket], key: str, now: float) -> _Bucket:
    bucket = buckets.setdefault(key, _Bucket(at=now))
    buckets.move_to_end(key)
    bucket.level = max(0.0, bucket.level - max(0.0, now - bucket.at) / AGAIN_S)
    bucket.at = now
    _bound(buckets)
    return bucket


def _bound(entries: OrderedDict[str, _Bucket] | OrderedDict[tuple[str, str], None]) -> None:
    while len(entries) > KEPT_MAX:
        entries.popitem(last=False)
