"""What hagw owns in the kernel, as values: a state maps keys to resources, a plan is the steps between two states."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hagw.model.intent import IPAddress, IPInterface

Family = Literal[4, 6]
LinkProperty = Literal["mtu", "up"]
Key = tuple[str | int | None, ...]


@dataclass(frozen=True, slots=True)
class Sysctl:
    """A kernel parameter under our control; `name` is its path below /proc/sys, since interface names have dots.

    Part of a state only while the value it had before is remembered: dropping it puts that value back.
    """

    name: str
    value: str

    @property
    def key(self) -> Key:
        """Identify the parameter."""
        return ("sysctl", self.name)


@dataclass(frozen=True, slots=True)
class MptcpLimits:
    """Limits of the in-kernel path manager; like a sysctl, dropping them puts the earlier ones back."""

    subflows: int
    add_addr_accepted: int

    @property
    def key(self) -> Key:
        """There is one in a network namespace."""
        return ("limits",)


@dataclass(frozen=True, slots=True)
class LinkSetting:
    """A property of an interface under our control: its mtu, or that it is up (1). Put back like a sysctl."""

    device: str
    name: LinkProperty
    value: int

    @property
    def key(self) -> Key:
        """Identify the property."""
        return ("link", self.device, self.name)


@dataclass(frozen=True, slots=True)
class Address:
    """An address of an uplink that hagw itself configures, with the length of its prefix."""

    device: str
    address: IPInterface

    @property
    def key(self) -> Key:
        """Identify the address: another length is another address."""
        return ("address", self.device, str(self.address))


@dataclass(frozen=True, slots=True)
class Route:
    """A default route in one of our tables. `via` None = on-link; a gateway need not be in a connected prefix."""

    family: Family
    table: int
    device: str
    via: IPAddress | None = None
    kind: Literal["unicast", "local"] = "unicast"

    @property
    def key(self) -> Key:
        """A table has one default route a family, replaced in one step."""
        return ("route", self.family, self.table)


@dataclass(frozen=True, slots=True)
class Rule:
    """A routing rule. `mark` is compared under MARK_MASK; None = does not matter. A changed rule is another rule."""

    family: Family
    priority: int
    table: int
    mark: int | None = None
    source: IPAddress | None = None
    incoming: str | None = None  # interface; "lo" = sent by this machine
    suppress_default: bool = False  # take no default route from the table

    @property
    def key(self) -> Key:
        """All of it: rules cannot be edited, only added and removed."""
        source = None if self.source is None else str(self.source)
        who = (self.mark, source, self.incoming, self.suppress_default)
        return ("rule", self.family, self.priority, self.table, *who)


@dataclass(frozen=True, slots=True)
class NftTable:
    """Our nftables table. `text` is the JSON that `hagw.plan.nft` builds; empty = present, content unknown."""

    text: str

    @property
    def key(self) -> Key:
        """There is one."""
        return ("nft",)


Resource = Sysctl | MptcpLimits | LinkSetting | Address | Route | Rule | NftTable
KernelState = Mapping[Key, Resource]


@dataclass(frozen=True, slots=True)
class Put:
    """Create the resource, or replace the one with its key."""

    resource: Resource


@dataclass(frozen=True, slots=True)
class Drop:
    """Remove the resource, or put back what was there before it."""

    resource: Resource


Step = Put | Drop
Plan = tuple[Step, ...]


def state_of(*resources: Resource) -> dict[Key, Resource]:
    """Build a state from its resources."""
    return {resource.key: resource for resource in resources}
