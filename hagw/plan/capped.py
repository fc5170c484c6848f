"""What the kernel keeps from lines whose data cap says so, whoever sends it and whatever else fails.

The workers and the ranking of lines leave such a line alone while another one works. Behind them these chains hold
when it is the last one: a line that is cut lets nothing begin over it, a throttled one drops what exceeds its rate.
Left alone are answers to what came in from the line, or the owner could not reach the gateway over it any more, and
what the line itself needs: DHCP and neighbours. Both chains are always there, empty where there is nothing to keep: the
rules of a table that is updated in place go when its chains are emptied, and only those are that it is to have.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from hagw.model.health import UplinkHealth
from hagw.model.intent import CpeIntent
from hagw.plan.expressions import RETURN, Expression, Rule, carries, ct, equal, hooked, interfaces, meta, payload

_BEFORE_ALL: Final = -310  # raw is at -300
_BEHIND_ALL: Final = 310
_DHCP: Final = [67, 547]
_SMALL_BYTES: Final = 200  # acknowledgements and echoes pass: without them a slow line looks dead
_BURST_BYTES: Final = 128 * 1024  # two packets as large as segmentation offload makes them


def chains(intent: CpeIntent, health: Mapping[str, UplinkHealth]) -> list[dict[str, Any]]:
    """Return the chains; they are empty where no line is cut or throttled."""
    lines = [up for up in intent.uplinks if up.enabled and up.interface and up.name in health]
    cut = [up.interface for up in lines if health[up.name].cap == "cut"]
    slow = {up.interface: _rate_bps(intent, up.name) for up in lines if health[up.name].cap == "throttle"}
    leaving = [*(_nothing_begins(cut) if cut else ()), *_slowly(slow, "oifname")]
    return [
        hooked("capped_in", "filter", "prerouting", _BEFORE_ALL, list(_slowly(slow, "iifname"))),
        hooked("capped_out", "filter", "postrouting", _BEHIND_ALL, leaving),
    ]


def _rate_bps(intent: CpeIntent, line: str) -> int:
    """Return the lowest rate of the line's caps that throttle at all."""
    rates = [cap.throttle_rate_bps for cap in intent.data_caps if line in cap.uplinks and cap.throttle is not None]
    return min(rates, default=512_000)


def _nothing_begins(cut: list[str]) -> Iterator[Rule]:
    out = interfaces(cut, "oifname")
    yield [out, equal(payload("udp", "dport"), {"set": _DHCP}), RETURN]
    yield [out, carries("icmp", 1), RETURN]
    yield [out, equal(ct("direction"), "original"), {"drop": None}]


def _slowly(slow: Mapping[str, int], key: str) -> Iterator[Rule]:
    for interface, rate_bps in sorted(slow.items()):
        line = interfaces([interface], key)
        yield [line, {"match": {"op": "<=", "left": meta("length"), "right": _SMALL_BYTES}}, RETURN]
        yield [line, _over(rate_bps), {"drop": None}]


def _over(rate_bps: int) -> Expression:
    burst = {"burst": _BURST_BYTES, "burst_unit": "bytes"}
    return {"limit": {"rate": rate_bps // 8, "rate_unit": "bytes", "per": "second", "inv": True, **burst}}
