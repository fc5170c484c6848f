"""What the uplinks carried for one connection, subflows that ended included. Which subflows there are is `paths`'s."""

from collections.abc import Mapping
from dataclasses import dataclass

from hagw.dataplane.mptcp_socket import SubflowInfo
from hagw.health.noharm import SubflowSample


@dataclass(slots=True)
class Carried:
    """Payload bytes by direction."""

    down: int = 0
    up: int = 0

    def add(self, info: SubflowInfo) -> None:
        """Add what a subflow carried."""
        self.down += info.bytes_received
        self.up += info.bytes_acked


class Account:
    """Bytes by slot. `live` are the subflows that are there, as last observed; `initial` is the slot that began."""

    __slots__ = ("_ended", "_initial", "_overhead", "_sampled")

    def __init__(self, initial: int) -> None:
        self._initial = initial
        self._overhead = Carried()
        self._ended: dict[int, Carried] = {}
        self._sampled: dict[int, tuple[int, int, int]] = {}  # local port, bytes up and down at the last sample

    def not_payload(self, down: int = 0, up: int = 0) -> None:
        """Leave out of the account bytes of the Convert messages: they travel on the initial subflow."""
        self._overhead.down += down
        self._overhead.up += up

    def close(self, slot: int, info: SubflowInfo | None) -> None:
        """Keep the last figures of a subflow that is no more; None = it was never established."""
        self._sampled.pop(slot, None)
        if info is not None:
            self._ended.setdefault(slot, Carried()).add(info)

    def carried(self, live: Mapping[int, SubflowInfo]) -> dict[int, Carried]:
        """Return payload bytes by slot.

        The kernel counts what each subflow carried: repeats over another line count on both, SYN and FIN as a byte.
        """
        totals = {slot: Carried(ended.down, ended.up) for slot, ended in self._ended.items()}
        for slot, info in live.items():
            totals.setdefault(slot, Carried()).add(info)
        if self._initial in totals:
            initial = totals[self._initial]
            initial.down = max(initial.down - self._overhead.down, 0)
            initial.up = max(initial.up - self._overhead.up, 0)
        return totals

    def sample(self, slot: int, uplink: str, info: SubflowInfo) -> SubflowSample:
        """Return what the no-harm guard judges by: what the uplink's subflow carried since the last call."""
        port, acked, received = self._sampled.get(slot, (0, 0, 0))
        if port != info.local[1]:
            acked = received = 0
        self._sampled[slot] = (info.local[1], info.bytes_acked, info.bytes_received)
        return SubflowSample(
            uplink=uplink,
            bytes_up=info.bytes_acked - acked,
            bytes_down=info.bytes_received - received,
            delivery_rate_bps=float(info.delivery_rate_bps),
            srtt_ms=info.srtt_us / 1000,
            min_rtt_ms=info.min_rtt_us / 1000,
            unacked_bytes=info.unacked * info.mss,
            notsent_bytes=info.notsent_bytes,
            app_limited=info.app_limited,
        )
