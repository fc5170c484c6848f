"""What warm connections cost on each line: opening, joining and replacing them, in IP bytes.

Estimated from the kernel's segment counts, as the payload is next to nothing: reading packet sockets would cost more
than what is being counted. Measured beside it: 70 bytes a segment over IPv4.
"""

from typing import Final

from hagw.dataplane.paths import Paths

SEGMENT_BYTES: Final = 72  # IPv4 and TCP header, timestamps, some Multipath TCP option
IPV6_BYTES: Final = 20  # more
CLOSING_SEGMENTS: Final = 2


class Upkeep:
    """IP bytes by the line's slot, since this worker started."""

    def __init__(self) -> None:
        self.by_slot: dict[int, int] = {}

    def add(self, paths: Paths, *, closing: bool = False) -> None:
        """Take a warm connection that is taken by a flow or, `closing`, ends unused; its figures as last observed."""
        for slot, path in paths.paths.items():
            if path.info is not None:
                size = SEGMENT_BYTES + (IPV6_BYTES if ":" in path.local else 0)
                segments = path.info.segments + (CLOSING_SEGMENTS if closing else 0)
                payload = path.info.bytes_acked + path.info.bytes_received
                self.by_slot[slot] = self.by_slot.get(slot, 0) + size * segments + payload

    def add_probe(self, slot: int) -> None:
        """Take a connection opened only to see whether it falls back to plain TCP."""
        self.by_slot[slot] = self.by_slot.get(slot, 0) + SEGMENT_BYTES * 8
