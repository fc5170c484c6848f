"""What hagw knows about a kind of access line, whichever line it is."""

from dataclasses import dataclass

from hagw.model.intent import UplinkKind


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of line. How patient to be with its silence is in `hagw.health.profile`, under the same name."""

    name: UplinkKind
    title: str
    made_by: str  # what has to run for its interface to exist, "" = the hardware is enough
    is_point_to_point: bool  # works without a router's address
    mtu_max: int  # more than this never passes such a line
