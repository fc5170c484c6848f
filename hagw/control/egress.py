"""Which customer has which external address and ports: kept on disk, so that it stays; its changes in a log.

    STATE/egress.json   what each customer has
    STATE/egress.log    when each began and ceased to have it, one JSON document a line; and egress.log.1, older ones

Whoever asks later who came from an address and port at some time finds it there, as far back as two megabytes go.
"""

import json
import time
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from hagw.control.durable import Disk
from hagw.log import log_of
from hagw.model.intent import EgressIntent
from hagw.policy.egress import Block, assign

LOG_MAX_BYTES: Final = 1_000_000  # of each of the two files
Blocks = dict[str, tuple[Block, ...]]

log = log_of("hagw.egress")


class EgressBook:
    """Assigns blocks to customers."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "egress.json"
        self._log = directory / "egress.log"
        self._held: Blocks | None = None
        self._by: tuple[Sequence[str], EgressIntent] | None = None

    def of(self, customers: Sequence[str], egress: EgressIntent) -> Blocks:
        """Return every customer's blocks, empty where no addresses are configured; kept on the disk first."""
        if self._by == (customers, egress) and self._held is not None:
            return self._held
        if not egress.addresses and self._held is None and not self._file.exists():
            return {}
        before = self._load() if self._held is None else self._held
        self._held = {name: blocks for name, blocks in assign(customers, egress, before).items() if blocks}
        self._by = customers, egress
        if self._held != before:
            self._save(before, self._held)
        families = {address.version for address in egress.addresses}
        without = [name for name in customers if len(self._held.get(name, ())) < len(families)]
        if without:
            log.warning("no port block left", customers=len(without), first=without[0])
        return self._held

    def _load(self) -> Blocks:
        try:
            document = json.loads(self._file.read_text(encoding="utf-8"))
            return {
                str(name): tuple(Block(ip_address(address), int(first), int(last)) for address, first, last in blocks)
                for name, blocks in document["customers"].items()
            }
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as why:
            log.warning("port blocks assigned anew", reason=f"{self._file}: {why}")
            return {}

    def _save(self, before: Blocks, now: Blocks) -> None:
        held = {name: [[str(b.address), b.first, b.last] for b in blocks] for name, blocks in now.items()}
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._note(before, now)
            Disk().replace(self._file, json.dumps({"schema": 1, "customers": held}))
        except OSError as why:
            log.warning("port blocks not kept on disk", reason=str(why))

    def _note(self, before: Blocks, now: Blocks) -> None:
        """Log what changed, what ended first."""
        old = {(name, block) for name, blocks in before.items() for block in blocks}
        new = {(name, block) for name, blocks in now.items() for block in blocks}
        changes = [*_entries("released", old - new), *_entries("assigned", new - old)]
        text = "".join(json.dumps(entry) + "\n" for entry in changes)
        if self._log.exists() and self._log.stat().st_size + len(text) > LOG_MAX_BYTES:
            self._log.replace(self._log.with_suffix(".log.1"))
        with self._log.open("a", encoding="utf-8") as file:
            file.write(text[-LOG_MAX_BYTES:])


def _entries(action: str, which: set[tuple[str, Block]]) -> list[dict[str, Any]]:
    at = round(time.time())
    return [
        {"at": at, "action": action, "customer": name, "address": str(b.address), "first": b.first, "last": b.last}
        for name, b in sorted(which, key=lambda pair: (pair[0], str(pair[1].address)))
    ]
