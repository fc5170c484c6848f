"""What was there before us, and what we put in its place: all that `hagw clear` needs to leave a machine as found."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hagw.model.resources import LinkProperty, MptcpLimits


@dataclass(frozen=True, slots=True)
class RememberedSysctl:
    """A parameter's value before our first write. `along` are others the kernel changes with it.

    `written` are all values that may be ours: what is about to be written is remembered first, so that after a
    crash in between the one before it is ours as well.
    """

    previous: str
    written: tuple[str, ...]
    along: Mapping[str, str] = field(default_factory=dict)  # name -> value before
    ifindex: int = 0  # the interface it belongs to, which may get another name; 0 = none


@dataclass(frozen=True, slots=True)
class RememberedLimits:
    """The path manager's limits before our first write, and all that may be ours."""

    previous: MptcpLimits
    written: tuple[MptcpLimits, ...]


@dataclass(frozen=True, slots=True)
class RememberedLink:
    """A property of an interface before our first write, and all values that may be ours."""

    previous: int
    written: tuple[int, ...]
    ifindex: int = 0


@dataclass(frozen=True, slots=True)
class Remembered:
    """Everything remembered about one network namespace since it exists.

    `table` is the text of the nft table that we put, `table_seen` a digest of how the kernel shows it: another
    digest means that somebody else edited it.
    """

    sysctls: Mapping[str, RememberedSysctl] = field(default_factory=dict)
    limits: RememberedLimits | None = None
    table: str = ""
    table_seen: str = ""
    links: Mapping[tuple[str, LinkProperty], RememberedLink] = field(default_factory=dict)  # (device, property)
