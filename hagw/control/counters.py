"""Bytes through the uplinks' interfaces, as IP bytes, and the rates that follow from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hagw.model.intent import UplinkIntent, UplinkKind

DEVICES = Path("/proc/thread-self/net/dev")  # /sys shows the namespace it was mounted in, not ours
ETHERNET_HEADER_BYTES = 14
WINDOW_MIN_S = 0.5  # rates over less than this are noise


@dataclass(frozen=True, slots=True)
class InterfaceCount:
    """An interface's counters since it exists; bytes include what the link layer adds."""

    bytes_down: int
    packets_down: int
    bytes_up: int
    packets_up: int


@dataclass(frozen=True, slots=True)
class UplinkTraffic:
    """IP bytes since the interface exists and present rates in bit/s of IP bytes; None = not known yet."""

    bytes_down: int
    bytes_up: int
    down_bps: int | None = None
    up_bps: int | None = None


def read_interfaces(devices: Path = DEVICES) -> dict[str, InterfaceCount]:
    """Return the counters of all interfaces of this network namespace by name (proc(5), /proc/net/dev)."""
    counts = {}
    for line in devices.read_text().splitlines()[2:]:
        name, _, rest = line.partition(":")
        columns = [int(word) for word in rest.split()]
        counts[name.strip()] = InterfaceCount(columns[0], columns[1], columns[8], columns[9])
    return counts


def ip_bytes(kind: UplinkKind, size_bytes: int, packets: int) -> int:
    """Return the IP bytes of what an interface counted: PPP and WWAN interfaces count no Ethernet header."""
    header = 0 if kind in ("pppoe", "wwan") else ETHERNET_HEADER_BYTES
    return max(0, size_bytes - header * packets)


class TrafficMeter:
    """Turns successive readings into totals and rates."""

    def __init__(self, uplinks: tuple[UplinkIntent, ...]) -> None:
        self._uplinks = uplinks
        self._read_at: float | None = None
        self.traffic: Mapping[str, UplinkTraffic] = {}

    def feed(self, counts: Mapping[str, InterfaceCount], now: float) -> None:
        """Take in a reading made at `now`; one too soon after the last is left out."""
        elapsed_s = None if self._read_at is None else now - self._read_at
        if elapsed_s is not None and elapsed_s < WINDOW_MIN_S:
            return
        self.traffic = {
            up.name: self._next(up, count, elapsed_s)
            for up in self._uplinks
            if (count := counts.get(up.interface)) is not None
        }
        self._read_at = now

    def _next(self, uplink: UplinkIntent, count: InterfaceCount, elapsed_s: float | None) -> UplinkTraffic:
        down = ip_bytes(uplink.kind, count.bytes_down, count.packets_down)
        up = ip_bytes(uplink.kind, count.bytes_up, count.packets_up)
        before = self.traffic.get(uplink.name)
        if before is None or elapsed_s is None or down < before.bytes_down or up < before.bytes_up:
            return UplinkTraffic(down, up)  # first reading, or the interface was made anew
        return UplinkTraffic(
            down, up, _rate_bps(down - before.bytes_down, elapsed_s), _rate_bps(up - before.bytes_up, elapsed_s)
        )


def _rate_bps(size_bytes: int, elapsed_s: float) -> int:
    return round(size_bytes * 8 / elapsed_s)
