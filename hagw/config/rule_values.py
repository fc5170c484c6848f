"""Scalars of rules' traffic descriptors, each parsed once from its text: protocols, DSCPs, domains, hours.

Every parser raises ValueError whose message says what is allowed.
"""

import re
from typing import Annotated, Final

from hagw.config.values import scalar
from hagw.model.flow import PROTOCOLS
from hagw.model.intent import TimeWindow
from hagw.policy.first_bytes import domain_name
from hagw.policy.schedule import DAY_MINUTES, DAYS

_NUMBER: Final = re.compile(r"\d{1,3}", re.ASCII)
_WINDOW: Final = re.compile(r"(?:([a-z, -]+)\s+)?(\d{1,2}):(\d\d)\s*-\s*(\d{1,2}):(\d\d)|([a-z, -]+)", re.ASCII)
_DSCPS: Final = {
    "le": 1,
    **{f"cs{number}": number * 8 for number in range(8)},
    **{f"af{high}{low}": high * 8 + low * 2 for high in range(1, 5) for low in range(1, 4)},
    "va": 44,
    "ef": 46,
}


def parse_protocol(text: str) -> tuple[int, ...]:
    """Return the IP protocol numbers that a name stands for, or the number given."""
    if text.lower() in PROTOCOLS:
        return PROTOCOLS[text.lower()]
    if not _NUMBER.fullmatch(text) or int(text) > 255:
        raise ValueError(f"{text!r} is not a protocol: {', '.join(PROTOCOLS)}, or a number up to 255")
    return (int(text),)


def parse_dscp(text: str) -> int:
    """Return a DSCP from its name or number."""
    if text.lower() in _DSCPS:
        return _DSCPS[text.lower()]
    if not _NUMBER.fullmatch(text) or int(text) > 63:
        raise ValueError(f"{text!r} is not a DSCP such as ef, af41, cs1, or a number up to 63")
    return int(text)


def parse_domain(text: str) -> str:
    """Return a domain pattern in lower case and ASCII: a name, or "*." and a name for everything below it."""
    prefix = "*." if text.startswith("*.") else ""
    try:
        name = domain_name(text.removeprefix("*.").encode("idna").decode("ascii"))
    except UnicodeError:
        name = None
    if name is None:
        raise ValueError(f'{text!r} is not a domain such as "example.org", or "*.example.org" for all names below it')
    return prefix + name


def parse_window(text: str) -> TimeWindow:
    """Return hours from "mon-fri 08:00-18:00", "22:00-06:00" or "sat,sun"."""
    match = _WINDOW.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError(f'{text!r} is not a time such as "mon-fri 08:00-18:00", "22:00-06:00" or "sat,sun"')
    days = _days(match[1] or match[6])
    if match[2] is None:
        return TimeWindow(days, 0, DAY_MINUTES)
    begin, end = int(match[2]) * 60 + int(match[3]), int(match[4]) * 60 + int(match[5])
    if begin >= DAY_MINUTES or end > DAY_MINUTES or int(match[3]) > 59 or int(match[5]) > 59:
        raise ValueError(f"{text!r}: times of day are between 00:00 and 24:00")
    if begin == end:
        raise ValueError(f"{text!r}: it ends when it begins; for whole days leave the hours out")
    return TimeWindow(days, begin, end)


def _days(text: str | None) -> tuple[int, ...]:
    """Return weekdays from "mon-fri,sun"; all where nothing is given. A range may pass the weekend: "sat-mon"."""
    if text is None:
        return tuple(range(len(DAYS)))
    found: set[int] = set()
    for part in text.replace(" ", "").split(","):
        first, _, last = part.partition("-")
        if first not in DAYS or (last or first) not in DAYS:
            raise ValueError(f"{part!r} is not a weekday or a range of them: {', '.join(DAYS)}")
        low, high = DAYS.index(first), DAYS.index(last or first)
        found.update(number % len(DAYS) for number in range(low, high + 1 if high >= low else high + 1 + len(DAYS)))
    return tuple(sorted(found))


Protocol = Annotated[tuple[int, ...], *scalar(parse_protocol, number=True)]
Dscp = Annotated[int, *scalar(parse_dscp, number=True)]
Domain = Annotated[str, *scalar(parse_domain)]
Window = Annotated[TimeWindow, *scalar(parse_window)]
