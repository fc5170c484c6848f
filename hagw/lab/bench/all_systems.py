"""The list of everything that can be compared."""

from collections.abc import Sequence

from hagw.lab.bench.rivals import pairs
from hagw.lab.bench.systems import Direct, Hagw, Mptcpize, OneLine, System


def systems(names: Sequence[str], lines: Sequence[str]) -> tuple[System, ...]:
    """Return the systems of those names; `lines` stands for each line alone."""
    known: dict[str, tuple[System, ...]] = {
        "hagw": (Hagw(),),
        "direct": (Direct(),),
        "lines": tuple(OneLine(line) for line in lines),
        "mptcpize": (Mptcpize(),),
        **{pair.name: (pair,) for pair in pairs()},
    }
    return tuple(system for name in names for system in known[name])
