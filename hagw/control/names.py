"""Names of servers, from DNS answers overheard on the LAN to the table's sets and the workers, while rules want them.

Level-triggered like the rest: whoever reconciles asks for `refill` after each pass, which puts whatever is known where
it belongs, also into a table that was made anew. New answers go there at once.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from typing import Final, Protocol

from hagw.control.ports import KernelPort
from hagw.errors import HagwError
from hagw.log import log_of
from hagw.model.intent import CpeIntent, Intent, IPAddress
from hagw.plan.named import NamedSets
from hagw.policy.dns_answers import resolved
from hagw.policy.names import Learnt, NameBook

TELL_MAX: Final = 500  # names in one message to the workers
PENDING_MAX: Final = 10_000

log = log_of("hagw.dns")


class Tap(Protocol):
    """Overhears DNS answers: `hagw.probe.dns_tap.DnsTap`."""

    def listen(self, interfaces: tuple[str, ...]) -> None: ...


class ServerNames:
    """What servers are called. Nothing is overheard unless some rule asks for a name."""

    def __init__(
        self,
        kernel: KernelPort,
        intent: Callable[[], Intent],
        tell: Callable[[list[Learnt]], None],
        tap: Callable[[Callable[[bytes], None]], Tap],
    ) -> None:
        self._kernel = kernel
        self._intent = intent
        self._tell = tell
        self._tap = tap(self.take)
        self._book = NameBook()
        self._sets = NamedSets(())
        self._rules: object = None
        self._pending: dict[tuple[str, str], Learnt] = {}
        self._due = asyncio.Event()
        self._trouble = ""

    def of(self, address: str) -> tuple[str, ...]:
        """Return the names an address has, the one told last first."""
        return self._book.names(address, time.monotonic())

    def take(self, message: bytes) -> None:
        """Take a DNS message that was overheard."""
        told = resolved(message)
        if told is not None:
            self._pend(self._book.learn(told, time.monotonic()))

    def refill(self) -> None:
        """Look again at what rules ask for, and put what is known where it belongs."""
        intent = self._intent()
        if not isinstance(intent, CpeIntent):
            return
        if intent.rules is not self._rules:
            self._rules, self._sets = intent.rules, NamedSets(intent.rules)
        self._tap.listen(intent.lan_interfaces if self._sets else ())
        now = time.monotonic()
        self._book.sweep(now)
        self._pend(self._book.every(now))

    async def run(self) -> None:
        """Pass on what is learnt, for ever."""
        while True:
            await self._due.wait()
            self._due.clear()
            learnt, self._pending = list(self._pending.values()), {}
            for begin in range(0, len(learnt), TELL_MAX):
                self._tell(learnt[begin : begin + TELL_MAX])
            try:
                await self._kernel.add_named(self._elements(learnt))
                self._trouble = ""
            except HagwError as why:  # the next pass asks for it again
                if str(why) != self._trouble:
                    log.warning("names are not known to the table", reason=str(why))
                self._trouble = str(why)

    def _pend(self, learnt: Iterable[Learnt]) -> None:
        """Note what some rule asks for."""
        for each in learnt:
            if len(self._pending) < PENDING_MAX and self._sets.of(each.domain, 4):
                self._pending[each.address, each.domain] = each
                self._due.set()

    def _elements(self, learnt: list[Learnt]) -> Mapping[str, Mapping[IPAddress, float]]:
        found: dict[str, dict[IPAddress, float]] = {}
        now = time.monotonic()
        for each in learnt:
            address = ip_address(each.address)
            for name in self._sets.of(each.domain, address.version):
                own = found.setdefault(name, {})
                own[address] = max(own.get(address, 0.0), each.until - now)
        return found
