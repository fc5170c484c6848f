"""Names are resolved within a second whichever line dies: for LAN hosts, through the CPE's resolver, for the CPE."""

from collections.abc import Iterator

import pytest
from plane_lab import INET, figures, own_lab, until
from resolvers import Asking, resolvers, watched
from test_failopen import is_bonded

from hagw.lab.lab import Lab

pytestmark = [pytest.mark.netns, pytest.mark.slow]

RUNS = 2
LIMIT_S = 1.0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with own_lab("dns") as made, resolvers(made):
        yield made


def clients(lab: Lab) -> dict[str, Asking]:
    return {
        "LAN host, public resolver, IPv4": Asking(lab, "lan1", INET[4]),
        "LAN host, public resolver, IPv6": Asking(lab, "lan1", INET[6]),
        "LAN host, the CPE's resolver": Asking(lab, "lan1", "192.168.77.1"),
        "the CPE itself, IPv4": Asking(lab, "cpe", INET[4], fresh=True),
        "the CPE itself, IPv6": Asking(lab, "cpe", INET[6], fresh=True),
        "the CPE itself, one socket, IPv4": Asking(lab, "cpe", INET[4]),
        "the CPE itself, one socket, IPv6": Asking(lab, "cpe", INET[6]),
    }


@pytest.mark.parametrize("fault", [{"blackhole": "both"}, {"blackhole": "down"}, {"carrier": "off"}], ids=str)
def test_names_are_resolved_within_a_second_when_a_line_dies(lab: Lab, fault: dict[str, str]) -> None:
    """The line that carried all of it, silently or with its carrier."""
    took: dict[str, list[float]] = {}
    for _ in range(RUNS):
        with lab.links_restored():
            longest = watched(clients(lab), lambda: lab.link("dsl", **fault), before_s=1.5, after_s=3.0)
        until(lambda: is_bonded(lab), 30.0)
        for name, seconds in longest.items():
            took.setdefault(name, []).append(1000 * seconds)
    for name, runs in took.items():
        figures(f"{fault}, {name}: longest answer", "ms", runs)
    assert max(max(runs) for runs in took.values()) < 1000 * LIMIT_S, took
