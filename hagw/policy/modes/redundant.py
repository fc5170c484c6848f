"""Redundant: the request to the server goes out over the two best lines at once, and the first answer wins.

What a short flow waits for is its beginning: there a lost packet costs a second, later ones a round trip or two. What
the host sends goes out once, over the line that won; the other lines stand by. Sending every packet twice is the
kernel's scheduler's business, which has no such choice for single connections (ADR 47).
"""

from collections.abc import Sequence

from hagw.model.snapshot import UplinkView
from hagw.policy.modes.plan import SteerPlan


def rival(wish: SteerPlan, able: Sequence[UplinkView]) -> SteerPlan | None:
    """Return the plan of the second request, None where there is none. `able` are the plan's lines, best first."""
    if wish.mode != "redundant" or len(able) < 2 or any(uplink.state != "up" for uplink in able[:2]):
        return None
    first, second, *rest = (uplink.slot for uplink in able)
    return SteerPlan(wish.mode, ((second,), (first,), *((slot,) for slot in rest)))
