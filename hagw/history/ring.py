"""A ring of records on disk: one file of a size that never changes, each record at the place its time gives it.

A record says its own time and carries a checksum. One that was torn by a loss of power, or that is left from an earlier
turn of the ring, counts as not there; nothing has to be repaired.
"""

import math
import os
import struct
import zlib
from pathlib import Path
from typing import Final

MAGIC: Final = b"hagw-ring-1\n"
_HEADER: Final = struct.Struct("<12sIII")  # magic, step, slots, fields

Values = tuple[float | None, ...]


class Ring:
    """One file: `slots` records, `step_s` apart, of `fields` numbers each. Methods raise OSError."""

    def __init__(self, path: Path, step_s: int, slots: int, fields: int) -> None:
        self.step_s = step_s
        self.slots = slots
        self._fields = fields
        self._record = struct.Struct(f"<I{fields}f")
        self._checked = struct.Struct(f"<I{fields}fI")
        self._size = self._checked.size
        self._path = path

    @property
    def size_bytes(self) -> int:
        """How large the file is, and stays."""
        return _HEADER.size + self.slots * self._size

    def write(self, records: dict[int, Values]) -> None:
        """Write records by their time in seconds since 1970; those that follow each other go in one step.

        They are on the disk when this returns, and so is the file itself.
        """
        is_new = not self._path.exists()
        with open(self._open(), "r+b", buffering=0) as file:
            for first, data in self._runs(records):
                file.seek(_HEADER.size + first * self._size)
                file.write(data)
            os.fdatasync(file.fileno())
        if is_new:
            sync_directory(self._path.parent)

    def read(self, begin: int, end: int) -> dict[int, Values]:
        """Return the records with `begin` <= time < `end`."""
        first = -(-begin // self.step_s) * self.step_s
        found: dict[int, Values] = {}
        try:
            with open(self._path, "rb", buffering=0) as file:
                if file.read(_HEADER.size) != self._header():
                    return {}
                while first < end:
                    slot = self._slot(first)
                    count = min(-(-(end - first) // self.step_s), self.slots - slot)
                    file.seek(_HEADER.size + slot * self._size)
                    data = file.read(count * self._size)
                    self._parse(found, data, first)
                    first += count * self.step_s
        except FileNotFoundError:
            return {}
        return found

    def _open(self) -> int:
        """Return a descriptor of the file, made anew where it is another one's."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            if os.pread(descriptor, _HEADER.size, 0) != self._header():
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, self._header(), 0)
            if os.fstat(descriptor).st_size != self.size_bytes:
                os.ftruncate(descriptor, self.size_bytes)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def _header(self) -> bytes:
        return _HEADER.pack(MAGIC, self.step_s, self.slots, self._fields)

    def _slot(self, at: int) -> int:
        return at // self.step_s % self.slots

    def _runs(self, records: dict[int, Values]) -> list[tuple[int, bytes]]:
        """Return the records as runs of neighbouring slots: the first one's number, and the bytes."""
        runs: list[tuple[int, bytearray]] = []
        following = -1
        for at in sorted(records):
            slot = self._slot(at)
            if slot != following:
                runs.append((slot, bytearray()))
            runs[-1][1].extend(self._encode(at, records[at]))
            following = slot + 1 if slot + 1 < self.slots else -1
        return [(first, bytes(data)) for first, data in runs]

    def _encode(self, at: int, values: Values) -> bytes:
        data = self._record.pack(at, *(math.nan if value is None else value for value in values))
        return data + struct.pack("<I", zlib.crc32(data))

    def _parse(self, found: dict[int, Values], data: bytes, first: int) -> None:
        """Put what is whole of neighbouring records into `found`, that of the time `first` being the first.

        A month of minutes is 43,200 of them: each line here is worth 5 ms.
        """
        view, size, body, step_s, crc32 = memoryview(data), self._size, self._record.size, self.step_s, zlib.crc32
        at, begin = first, 0
        for record in self._checked.iter_unpack(view[: len(data) - len(data) % size]):
            if record[0] == at and record[-1] == crc32(view[begin : begin + body]):
                values = record[1:-1]
                # Only what is not a number is another one than itself, and makes a sum one.
                if (total := sum(values)) != total:
                    values = tuple([None if value != value else value for value in values])
                found[at] = values
            at += step_s
            begin += size


def sync_directory(directory: Path) -> None:
    """Have a new or renamed file in a directory outlive a loss of power. Raise OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
