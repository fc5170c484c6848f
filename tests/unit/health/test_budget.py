"""What an idle metered line costs in a day, by every kind, style and misfortune. An hour is simulated, not a day."""

from typing import get_args

import pytest

from hagw.health.fleet import Fleet
from hagw.health.gateway import Told
from hagw.health.line import Counters, LineSetup
from hagw.health.link import Link
from hagw.health.profile import Profile, profile_of, styled
from hagw.model.intent import ProbeStyle, UplinkKind

BUDGET_BYTES = 2_000_000
PACKET_BYTES = {4: 64 + 8 + 20, 6: 64 + 8 + 40}
VERSIONS = {"gw": (4, 6)}
NOTHING = Counters(0, 0, 0, 0)
WARM_S = 1800.0  # every gap between questions has grown to its longest by then
MEASURED_S = 1800.0


def day_bytes(
    kind: UplinkKind,
    style: ProbeStyle,
    *,
    line_dead: bool = False,
    gateway_dead: bool = False,
    ipv4_dead: bool = False,
    ipv6_dead: bool = False,
) -> float:
    """Return what an idle day costs on a metered line beside an unmetered one, from half an hour late enough."""
    now = 1000.0
    fleet = Fleet(now)
    lines = [
        LineSetup("lte", kind, Link(), metered=True, style=style, versions=VERSIONS),
        LineSetup("dsl", "dsl", Link(), versions=VERSIONS),
    ]
    fleet.configure(lines, ["gw"], now)
    spent = question = 0
    begun = now
    while now - begun < WARM_S + MEASURED_S:
        orders = fleet.turn(now, {"lte": NOTHING, "dsl": NOTHING})
        for ask in orders.asks:
            question += 1
            fleet.asked(ask, question, now)
            family_dead = (ipv4_dead and ask.version == 4) or (ipv6_dead and ask.version == 6)
            misfortune = now - begun > 60.0 and (gateway_dead or (ask.line == "lte" and (line_dead or family_dead)))
            if not misfortune:
                fleet.answered(ask, question, 0.03, Told(True, 0.0), now)
            if ask.line == "lte" and now - begun > WARM_S:
                spent += PACKET_BYTES[ask.version] * (1 if misfortune else 2)
        now += max(0.05, orders.again_s)
    return spent * 86_400 / MEASURED_S


COSTS: dict[tuple[Profile, str], float] = {}


def cost(kind: UplinkKind, style: ProbeStyle, misfortune: str) -> float:
    """Return `day_bytes`, simulated once for all kinds that have the same profile."""
    case = styled(profile_of(kind, True), style, True), misfortune
    if case not in COSTS:
        COSTS[case] = day_bytes(kind, style, **({} if misfortune == "quiet" else {misfortune: True}))
    return COSTS[case]


@pytest.mark.parametrize("style", get_args(ProbeStyle))
@pytest.mark.parametrize("kind", get_args(UplinkKind))
@pytest.mark.parametrize(
    "misfortune",
    [
        "quiet",
        *(
            pytest.param(each, marks=pytest.mark.slow)
            for each in ("line_dead", "gateway_dead", "ipv4_dead", "ipv6_dead")
        ),
    ],
)
def test_an_idle_metered_line_stays_within_its_budget(kind: UplinkKind, style: ProbeStyle, misfortune: str) -> None:
    # A third of it is left for warm connections, which live on a metered line where there is no other.
    assert 0 < cost(kind, style, misfortune) < BUDGET_BYTES * 2 / 3
