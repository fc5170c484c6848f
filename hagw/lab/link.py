"""What a link does to the frames of one direction, and the parameters a person sets.

Values and arithmetic only: the process that moves real frames is `hagw.lab.emulator`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args

from hagw.errors import HagwError
from hagw.lab.middlebox import StripMptcp

Blackhole = Literal["none", "up", "down", "both"]
Carrier = Literal["on", "off"]

_RATE_UNITS: Final = {"": 1.0, "bit": 1.0, "k": 1e3, "kbit": 1e3, "m": 1e6, "mbit": 1e6, "g": 1e9, "gbit": 1e9}
_TIME_UNITS_MS: Final = {"": 1.0, "us": 1e-3, "ms": 1.0, "s": 1e3}
_QUANTITY: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([a-z%]*)")


class BadLinkParameter(HagwError):
    """A link parameter cannot be understood; the message names it and what is allowed."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class LinkState:
    """Parameters of a link. Rates count IP bytes, None = not limited; delay is one way; loss is 0..1."""

    rate_down_bps: float | None = None
    rate_up_bps: float | None = None
    delay_ms: float = 0.0
    loss: float = 0.0
    loss_down: float = 0.0  # of one direction, where it is more than `loss`
    loss_up: float = 0.0
    jitter_ms: float = 0.0
    queue_ms: float = 150.0
    blackhole: Blackhole = "none"
    carrier: Carrier = "on"
    strip_mptcp: StripMptcp = "none"

    def is_open(self, direction: Literal["up", "down"]) -> bool:
        """Say whether frames of `direction` pass at all."""
        return self.carrier == "on" and self.blackhole not in (direction, "both")


def changed(state: LinkState, settings: Mapping[str, object]) -> LinkState:
    """Return `state` with `settings` applied.

    Known: rate_down, rate_up, delay, loss, loss_down, loss_up, jitter, queue, blackhole, carrier, strip_mptcp.
    Numbers may be plain (bit/s, ms, fraction) or text with a unit ("16mbit", "12ms", "1%"). Raise BadLinkParameter.
    """
    fields: dict[str, Any] = {}
    for key, value in settings.items():
        text = str(value).strip().lower()
        match key:
            case "rate_down" | "rate_up":
                fields[f"{key}_bps"] = _rate(key, text)
            case "delay" | "jitter" | "queue":
                fields[f"{key}_ms"] = _quantity(key, text, _TIME_UNITS_MS, "a time such as 12ms or 0.2s")
            case "loss" | "loss_down" | "loss_up":
                fields[key] = _loss(text)
            case "blackhole":
                fields["blackhole"] = _choice(key, text, get_args(Blackhole))
            case "carrier":
                fields["carrier"] = _choice(key, {"true": "on", "false": "off"}.get(text, text), get_args(Carrier))
            case "strip_mptcp":
                fields[key] = _choice(key, text, get_args(StripMptcp))
            case _:
                raise BadLinkParameter(f"unknown link parameter {key!r}")
    return replace(state, **fields)


class Direction:
    """The queue of one direction: says when a frame leaves the link, or that it does not.

    A frame waits until the line is idle, is serialised at the rate, then travels `delay_s` (± jitter, order kept);
    one that would wait longer than `queue_s` is dropped at the tail.
    """

    __slots__ = (
        "bytes",
        "delay_s",
        "dropped",
        "free_at",
        "is_open",
        "jitter_s",
        "last_out",
        "loss",
        "lost",
        "queue_s",
        "s_per_byte",
    )

    def __init__(self) -> None:
        self.s_per_byte = 0.0
        self.delay_s = self.jitter_s = self.loss = 0.0
        self.queue_s = 0.15
        self.is_open = True
        self.free_at = 0.0  # when the line has serialised all it was given
        self.last_out = 0.0
        self.bytes = 0  # IP bytes that came out at the other end
        self.lost = 0
        self.dropped = 0

    def configure(
        self, rate_bps: float | None, state: LinkState, is_open: bool, now: float, *, loss: float = 0.0
    ) -> None:
        """Take new parameters; what is already in the queue keeps its time of leaving."""
        self.s_per_byte = 8.0 / rate_bps if rate_bps else 0.0
        self.delay_s, self.jitter_s = state.delay_ms / 1e3, state.jitter_ms / 1e3
        self.loss, self.queue_s, self.is_open = max(loss, state.loss), state.queue_ms / 1e3, is_open
        self.free_at = min(self.free_at, now + self.queue_s)

    def depart(self, now: float, ip_bytes: int, chance: float) -> float:
        """Return when a frame that arrives at `now` leaves, or -1.0 if it is lost; `chance` is random in 0..1."""
        if not self.is_open or chance < self.loss:
            self.lost += 1
            return -1.0
        out = now
        if self.s_per_byte:
            if self.free_at > now:
                if self.free_at - now > self.queue_s:
                    self.dropped += 1
                    return -1.0
                out = self.free_at
            out += ip_bytes * self.s_per_byte
            self.free_at = out
        out += self.delay_s
        if self.jitter_s:
            # The same random number serves twice: above `loss` it is uniform again.
            out += self.jitter_s * (2.0 * (chance - self.loss) / (1.0 - self.loss) - 1.0)
        if out < self.last_out:
            out = self.last_out
        self.last_out = out
        return out


def tcp_payload_share(ipv6: bool = False, mptcp: bool = False) -> float:
    """Return payload / IP size of a full TCP segment with timestamps at 1500 bytes; `mptcp` adds the DSS option."""
    overhead = (40 if ipv6 else 20) + 32 + (20 if mptcp else 0)
    return (1500 - overhead) / 1500


def _rate(key: str, text: str) -> float | None:
    if text in ("none", "unlimited", "0"):
        return None
    return _quantity(key, text, _RATE_UNITS, "a rate such as 16mbit, or none") or None


def _loss(text: str) -> float:
    loss = _quantity("loss", text, {"": 1.0, "%": 0.01}, "a fraction such as 0.01, or 1%")
    if loss > 1.0:
        raise BadLinkParameter(f"loss {text!r} is more than 1 (100%)")
    return loss


def _quantity(key: str, text: str, units: Mapping[str, float], allowed: str) -> float:
    found = _QUANTITY.fullmatch(text)
    if found is None or found[2] not in units:
        raise BadLinkParameter(f"{key} {text!r} is not {allowed}")
    return float(found[1]) * units[found[2]]


def _choice(key: str, text: str, allowed: tuple[str, ...]) -> str:
    if text not in allowed:
        raise BadLinkParameter(f"{key} {text!r} is not one of {', '.join(allowed)}")
    return text
