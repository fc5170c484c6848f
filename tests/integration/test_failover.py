"""A line dies in mid-transfer: the transfer goes on over the others, and takes the line back when it heals."""

import itertools
import time
from collections.abc import Iterator

import pytest
from ends import Ends
from plane_lab import INET, figures, own_lab, until

from hagw.lab.lab import Lab
from hagw.lab.traffic import Stream, Streams
from tests.attentive import metered

pytestmark = pytest.mark.netns

LINES = ("dsl", "lte", "wifi")
QUICK = {("down", "down", "dsl"), ("up", "up", "lte")}
WARM_UP_S = 0.4  # still in slow start: the hardest moment to tell a dead line from a pausing sender
OUTAGE_S = 1.5
CARRIES_BYTES = 60_000  # more than probes and a join


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with own_lab("over") as made:
        yield made


@pytest.fixture(scope="module")
def streams(lab: Lab) -> Iterator[Streams]:
    with metered(lab) as served:
        yield served


def begin(streams: Streams, direction: str) -> Stream:
    start = streams.download if direction == "down" else streams.upload
    return start("lan1", INET[4])


def outage(lab: Lab, stream: Stream, line: str, direction: str, **fault: str) -> tuple[float, float]:
    """Break and heal a line; return the gap, and how long after healing it carries data again, both in ms."""
    begun_s = stream.elapsed_s()
    lab.link(line, **fault)
    time.sleep(OUTAGE_S)
    gap_s = stream.meter.longest_gap_s(begun_s, stream.elapsed_s())
    lab.link(line, blackhole="none", carrier="on")
    before = lab.link(line)[f"bytes_{direction}"]
    back_s = until(lambda: lab.link(line)[f"bytes_{direction}"] - before > CARRIES_BYTES, 10.0, every_s=0.02)
    assert stream.is_alive()
    return 1000 * gap_s, 1000 * back_s


def shares(lab: Lab, direction: str) -> dict[str, float]:
    """Return what each line carries, as a part of what it can."""
    before = {line: lab.link(line) for line in LINES}
    time.sleep(0.3)
    after = {line: lab.link(line) for line in LINES}
    key = f"bytes_{direction}"
    return {
        line: round(8 * (after[line][key] - before[line][key]) / 0.3 / after[line][f"rate_{direction}_bps"], 2)
        for line in LINES
    }


def await_carried_by_all(lab: Lab, direction: str) -> None:
    """Wait until every line carries a good part of what it can."""
    seen: list[dict[str, float]] = []

    def carried_by_all() -> bool:
        seen.append(shares(lab, direction))
        return all(share > 0.3 for share in seen[-1].values())

    try:
        until(carried_by_all, 10.0)
    except AssertionError:
        whys = [(flow["why"], flow["by_uplink"]) for flow in Ends(lab).flows()]
        raise AssertionError(f"not carried by all: {whys}, {seen[-3:]}") from None


def repeated(
    lab: Lab, streams: Streams, direction: str, line: str, runs: int, **fault: str
) -> tuple[list[float], list[float]]:
    """Break a line several times during one transfer; return gaps and returns, in ms."""
    gaps, returns = [], []
    stream = begin(streams, direction)
    try:
        for _ in range(runs):
            time.sleep(WARM_UP_S)
            await_carried_by_all(lab, direction)
            gap_ms, back_ms = outage(lab, stream, line, direction, **fault)
            gaps.append(gap_ms)
            returns.append(back_ms)
    finally:
        stream.stop()
        lab.link(line, blackhole="none", carrier="on")
    what = ", ".join(f"{key} {value}" for key, value in fault.items())
    figures(f"{direction}load, {line}, {what}: gap", "ms", gaps)
    figures(f"{direction}load, {line}, {what}: line carries again after", "ms", returns)
    return gaps, returns


@pytest.mark.slow
@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("direction", ["down", "up"])
def test_a_silent_line(lab: Lab, streams: Streams, direction: str, line: str) -> None:
    gaps, returns = repeated(lab, streams, direction, line, 3, blackhole="both")
    assert max(gaps) < 500
    assert max(returns) < 3000


@pytest.mark.parametrize(
    ("direction", "dead", "line"),
    [
        case if case in QUICK else pytest.param(*case, marks=pytest.mark.slow)
        for case in itertools.product(("down", "up"), ("up", "down"), LINES)
    ],
)
def test_a_line_silent_in_one_direction(lab: Lab, streams: Streams, direction: str, dead: str, line: str) -> None:
    gaps, returns = repeated(lab, streams, direction, line, 1, blackhole=dead)
    assert max(gaps) < 500
    assert max(returns) < 3000


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["down", "up"])
def test_carrier_loss(lab: Lab, streams: Streams, direction: str) -> None:
    gaps: list[float] = []
    for line in LINES:
        found, returns = repeated(lab, streams, direction, line, 1, carrier="off")
        gaps += found
        assert max(returns) < 3000
    figures(f"{direction}load, carrier loss of any line: gap", "ms", gaps)
    assert sorted(gaps)[len(gaps) // 2] <= 250
    assert max(gaps) < 450


def test_nothing_is_left_of_all_that(lab: Lab) -> None:
    """Comes last: subflows came and went, but connections and descriptors are what they were."""
    ends = Ends(lab)
    ends.assert_nothing_left(15.0)
    assert not [flow for flow in ends.flows() if flow["path"] != "converted"]
