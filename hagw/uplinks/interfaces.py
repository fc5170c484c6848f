"""Which interface is an uplink's: by its name, or by what the configuration matches it by.

Decided anew from the links that are there whenever facts are read: interfaces come, go and are renamed. What cannot be
decided leaves the uplink without an interface, with the reason.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from hagw.model.facts import Facts
from hagw.model.intent import CpeIntent, InterfaceMatch, UplinkIntent
from hagw.uplinks.kinds import KINDS


@dataclass(frozen=True, slots=True)
class Link:
    """An interface as the kernel shows it. MACs are in lower case; "" = it has none, or it is not known."""

    name: str
    mac: str = ""
    permanent_mac: str = ""  # the hardware's own; bridges, VLANs and bonds have none
    driver: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """An uplink's interface."""

    interface: str


@dataclass(frozen=True, slots=True)
class Missing:
    """Why an uplink has no interface now; `candidates` are those of which one may be meant."""

    why: str
    candidates: tuple[str, ...] = ()


def find(intent: CpeIntent, links: Sequence[Link]) -> dict[str, Found | Missing]:
    """Return each uplink's interface. One is never given to two uplinks, nor a LAN interface to any.

    Names come before matches, enabled uplinks before others, then the order of the configuration.
    """
    taken = dict.fromkeys(intent.lan_interfaces, "a LAN interface")
    found: dict[str, Found | Missing] = {}
    for uplink in sorted(intent.uplinks, key=lambda up: (up.match is not None, not up.enabled)):
        choice = _choose(uplink, links, taken)
        found[uplink.name] = choice
        if isinstance(choice, Found):
            taken.setdefault(choice.interface, f"uplink {uplink.name}'s")
    return found


def resolve(uplink: UplinkIntent, facts: Facts) -> UplinkIntent:
    """Return the uplink with the name that its interface has now; "" = there is none."""
    fact = facts.uplinks.get(uplink.name)
    return replace(uplink, interface=fact.interface) if fact is not None and fact.interface else uplink


def resolved(intent: CpeIntent, facts: Facts) -> CpeIntent:
    """Return the intent whose uplinks have the names that their interfaces have now; one that has none keeps ""."""
    return replace(intent, uplinks=tuple(resolve(uplink, facts) for uplink in intent.uplinks))


def _choose(uplink: UplinkIntent, links: Iterable[Link], taken: dict[str, str]) -> Found | Missing:
    if uplink.match is None:
        return _named(uplink, links, taken)
    fitting = [link for link in links if link.name != "lo" and fits(uplink.match, link)]
    if uplink.match.mac is not None and any(link.permanent_mac for link in fitting):
        # A bridge or VLAN on the interface shows the same address: the hardware itself is meant.
        fitting = [link for link in fitting if link.permanent_mac]
    free = [link.name for link in fitting if link.name not in taken]
    match sorted(free):
        case [only]:
            return Found(only)
        case [] if fitting:
            return Missing("; ".join(f"{link.name} is {taken[link.name]} already" for link in fitting))
        case []:
            return Missing(f"no interface has {describe(uplink.match)}{_made_by(uplink)}")
        case several:
            return Missing(
                f"{', '.join(several)} all have {describe(uplink.match)}: make the match narrower", tuple(several)
            )


def _named(uplink: UplinkIntent, links: Iterable[Link], taken: dict[str, str]) -> Found | Missing:
    if uplink.interface in taken:
        return Missing(f"{uplink.interface} is {taken[uplink.interface]} already")
    if any(link.name == uplink.interface for link in links):
        return Found(uplink.interface)
    return Missing(f"there is no interface {uplink.interface}{_made_by(uplink)}")


def _made_by(uplink: UplinkIntent) -> str:
    made_by = KINDS[uplink.kind].made_by
    return f"; it comes with {made_by}" if made_by else ""


def fits(match: InterfaceMatch, link: Link) -> bool:
    """Tell whether an interface has all that is asked for."""
    by_name = match.name is None or fnmatchcase(link.name, match.name)
    by_mac = match.mac is None or match.mac == (link.permanent_mac or link.mac)
    by_driver = match.driver is None or fnmatchcase(link.driver, match.driver)
    return by_name and by_mac and by_driver


def describe(match: InterfaceMatch) -> str:
    """Say what is asked for."""
    parts = (("name", match.name), ("MAC", match.mac), ("driver", match.driver))
    return " and ".join(f"{what} {wanted}" for what, wanted in parts if wanted is not None)
