"""Sets of the table that hold the addresses of servers by name, for rules by domain on what the kernel forwards.

One set for each combination of patterns that a rule's traffic can have, and family. The table makes them empty; they
are filled while running, with what DNS answers on the LAN told (`hagw.control.names`), and their elements time out by
themselves. A set is known by its patterns, so that a change of other rules leaves it as it is.
"""

import hashlib
from collections.abc import Iterable
from typing import Any, Final

from hagw.model.intent import RuleIntent, TrafficDescriptor
from hagw.model.resources import Family
from hagw.policy.applications import Signature
from hagw.policy.index import Names, signatures

NAMED_PREFIX: Final = "named_"
NAMED_TIMEOUT_S: Final = 600
NAMED_MAX: Final = 65_535  # addresses of one set
_DIGEST_CHARACTERS: Final = 16

Patterns = tuple[tuple[str, ...], tuple[str, ...]]  # of the traffic and of the application's signature; both must fit


class NamedSets:
    """Which sets a server's name belongs into."""

    def __init__(self, rules: Iterable[RuleIntent]) -> None:
        self._wanted = _every(rules)
        self._traffic = Names(traffic for traffic, _ in self._wanted)
        self._signatures = Names(signature for _, signature in self._wanted)

    def __bool__(self) -> bool:
        """Say whether any rule asks for a name."""
        return bool(self._wanted)

    def of(self, domain: str, family: Family) -> tuple[str, ...]:
        """Return the sets of a family that addresses of this name belong into."""
        fits = self._traffic.fitting(domain) & self._signatures.fitting(domain)
        found = []
        while fits:
            found.append(_name(self._wanted[(fits & -fits).bit_length() - 1], family))
            fits &= fits - 1
        return tuple(found)


def set_of(traffic: TrafficDescriptor, signature: Signature, family: Family) -> str | None:
    """Return the set that a packet's destination must be in, None where no name is asked for."""
    patterns = traffic.domains, signature.domains
    return _name(patterns, family) if any(patterns) else None


def sets(rules: Iterable[RuleIntent]) -> list[dict[str, Any]]:
    """Return the sets, without elements: those live their own lives."""
    return [
        {
            "name": _name(patterns, family),
            "type": f"ipv{family}_addr",
            "flags": ["timeout"],
            "timeout": NAMED_TIMEOUT_S,
            "size": NAMED_MAX,
        }
        for patterns in _every(rules)
        for family in (4, 6)
    ]


def _every(rules: Iterable[RuleIntent]) -> list[Patterns]:
    found = ((rule.traffic.domains, each.domains) for rule in rules for each in signatures(rule.traffic))
    # Patterns in another order, or given twice, are the same set.
    return list({_name(patterns, 4): patterns for patterns in found if any(patterns)}.values())


def _name(patterns: Patterns, family: int) -> str:
    digest = hashlib.sha256(repr([sorted(set(each)) for each in patterns]).encode()).hexdigest()
    return f"{NAMED_PREFIX}{digest[:_DIGEST_CHARACTERS]}_{family}"
