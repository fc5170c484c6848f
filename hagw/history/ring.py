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
        self._size = self._record.size + 4  # and its checksum
        self._path = path

    @property
    def size_bytes(self) -> int:
        """How large the file is, and stays."""
        return _HEADER.size + self.slots * self._size

    def write(self, records: dict[int, Values]) -> None:
        """Write records by their time in seconds since 1970; those that follow each other go in one step."""
        with open(self._open(), "r+b", buffering=0) as file:
            for first, data in self._runs(records):
                file.seek(_HEADER.size + first * self._size)
                file.write(data)

    def read(self, begin: int, end: int) -> dict[int, Values]:
        """Return the records with `begin` <= time < `end`."""
        try:
            with open(self._path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return {}
        if data[: _HEADER.size] != self._header():
            return {}
        found = {}
        for at in range(begin - begin % self.step_s, end, self.step_s):
            offset = _HEADER.size + self._slot(at) * self._size
            values = self._parse(data[offset : offset + self._size], at)
            if at >= begin and values is not None:
                found[at] = values
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

    def _parse(self, data: bytes, at: int) -> Values | None:
        if len(data) != self._size or int.from_bytes(data[:4], "little") != at:
            return None
        (checksum,) = struct.unpack_from("<I", data, self._record.size)
        if checksum != zlib.crc32(data[: self._record.size]):
            return None
        _, *values = self._record.unpack_from(data)
        return tuple(None if math.isnan(value) else value for value in values)
