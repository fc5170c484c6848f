"""The audit log: who asked for what change, from where, and what became of it. JSON lines, bounded, never a secret.

STATE/audit.log    newest last; audit.log.1 is the one before, together at most twice SIZE_MAX_BYTES
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

FILE: Final = "audit.log"
SIZE_MAX_BYTES: Final = 1 << 20
TEXT_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Deed:
    """Something somebody did, or was refused. `status` is that of the answer (HTTP)."""

    at_unix_s: float
    user: str
    via: str
    address: str
    action: str
    detail: str
    status: int


class AuditLog:
    """One file that grows, and its predecessor. One writer at a time; methods raise OSError."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / FILE
        self._before = directory / f"{FILE}.1"

    def append(self, deed: Deed) -> None:
        """Add an entry; on the disk when this returns."""
        line = json.dumps(asdict(_short(deed)), separators=(",", ":")).encode() + b"\n"
        self._file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = os.open(self._file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with open(descriptor, "r+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line  # the power went in the middle of the last one
            file.write(line)
            os.fsync(descriptor)
        if size + len(line) > SIZE_MAX_BYTES:
            os.replace(self._file, self._before)

    def newest(self, count: int) -> tuple[Deed, ...]:
        """Return the newest entries, newest first; lines that cannot be read are left out."""
        found: list[Deed] = []
        for deed in self._backwards():
            if len(found) == count:
                break
            found.append(deed)
        return tuple(found)

    def _backwards(self) -> Iterator[Deed]:
        for path in (self._file, self._before):
            try:
                lines = path.read_bytes().splitlines()
            except FileNotFoundError:
                continue
            for line in reversed(lines):
                try:
                    yield Deed(**json.loads(line))
                except (ValueError, TypeError):
                    continue


def _short(deed: Deed) -> Deed:
    return replace(
        deed,
        user=deed.user[:TEXT_MAX],
        address=deed.address[:TEXT_MAX],
        action=deed.action[:TEXT_MAX],
        detail=deed.detail[:TEXT_MAX],
    )
