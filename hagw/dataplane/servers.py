"""Which servers are worth a try with MPTCP: where configured, or remembered to have answered with it.

A server that does not speak MPTCP costs nothing but options in the SYN; a path that drops such SYNs costs up to
RACE_S, after which a plain connection is tried beside, and the server is left alone for a day.
"""

from typing import Final

from hagw.model.intent import IPAddress, IPNetwork, ServerMptcp

RACE_S: Final = 0.3
GOOD_S: Final = 24 * 3600.0
BAD_S: Final = 24 * 3600.0
PLAIN_S: Final = 3600.0
SERVERS_MAX: Final = 50_000


class ServerMemory:
    """What was learned of servers; bounded, the oldest entry goes first."""

    def __init__(self) -> None:
        self._mode: ServerMptcp = "off"
        self._prefixes: tuple[IPNetwork, ...] = ()
        self._until: dict[tuple[IPAddress, int], tuple[bool, float]] = {}

    def configure(self, mode: ServerMptcp, prefixes: tuple[IPNetwork, ...]) -> None:
        """Take the configured mode and the prefixes that are always tried."""
        self._mode = mode
        self._prefixes = prefixes

    def try_mptcp(self, address: IPAddress, port: int, now: float) -> bool:
        """Say whether to open this server connection with MPTCP."""
        known = self._until.get((address, port))
        if known is not None and known[1] > now:
            return known[0]
        return self._mode == "auto" or any(address in network for network in self._prefixes)

    def learn(self, address: IPAddress, port: int, speaks_mptcp: bool, now: float) -> None:
        """Remember how the server answered to an MPTCP SYN."""
        self._put((address, port), speaks_mptcp, now + (GOOD_S if speaks_mptcp else PLAIN_S))

    def learn_blocked(self, address: IPAddress, port: int, now: float) -> None:
        """Remember that MPTCP SYNs to this server get lost."""
        self._put((address, port), False, now + BAD_S)

    def forget_old(self, now: float) -> None:
        """Drop entries that are over."""
        if len(self._until) > SERVERS_MAX // 2:
            self._until = {key: value for key, value in self._until.items() if value[1] > now}

    def _put(self, key: tuple[IPAddress, int], good: bool, until: float) -> None:
        self._until.pop(key, None)
        while len(self._until) >= SERVERS_MAX:
            del self._until[next(iter(self._until))]
        self._until[key] = (good, until)
