"""A CPE whose clock is wrong, or steps, authenticates all the same: it works by the gateway's clock."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ends import Ends
from plane_lab import INET, Attempts, Counting, Server, own_lab, until

from hagw.lab.lab import Lab

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.beside]

LIBRARY = "libfaketime.so.1"
DECADE_S = 3650 * 86_400
BEFORE_S, AFTER_S = 1.0, 3.0


class Clock:
    """The wall clock of the CPE's daemon and workers; monotonic clocks stay as they are."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set("-50y")

    def set(self, shift: str) -> None:
        """Shift it against the machine's: `-50y`, `+2h`."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{shift}\n")
        fresh.rename(self._file)

    def environment(self) -> list[str]:
        """Return the assignments under which a process has this clock."""
        library = next(Path("/usr/lib").glob(f"*/faketime/{LIBRARY}"))
        return [
            f"LD_PRELOAD={library}",
            f"FAKETIME_TIMESTAMP_FILE={self._file}",
            "FAKETIME_NO_CACHE=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
        ]


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Clock:
    return Clock(tmp_path_factory.mktemp("clock") / "shift")


@pytest.fixture(scope="module")
def lab(clock: Clock) -> Iterator[Lab]:
    """A CPE that booted decades ago."""
    with own_lab("clock", hagw=False) as made:
        made.hagw_start("hag")
        made.spawn("cpe", "daemon", ["env", *clock.environment(), sys.executable, "-P", "-m", "hagw", "daemon"])
        until(lambda: made.pids("cpe", "daemon"), 5.0)  # else another one is started
        made.hagw_start("cpe")
        yield made


def test_a_box_without_a_clock_comes_up_bonded(lab: Lab) -> None:
    ends = Ends(lab)
    until(lambda: ends.at_rest("cpe"), 10.0)
    counting = Counting()
    with Server(lab, counting) as server, Attempts(lab, INET[4], server.port) as attempts:
        until(lambda: len(counting.seen) > 20, 10.0)
        assert [a for a in attempts.stop() if a.failure] == []
    flows = ends.flows()
    assert flows
    assert {flow["path"] for flow in flows} == {"converted"}
    assert max(flow["started_s"] for flow in flows) < 5 * DECADE_S, "the clock was not the wrong one"
    assert ends.total("hag", "refused") == 0


@pytest.mark.parametrize("shift", ["-40y", "+0", "+20y"])
def test_a_step_of_the_clock_loses_nothing(lab: Lab, clock: Clock, shift: str) -> None:
    ends = Ends(lab)
    until(lambda: ends.at_rest("cpe"), 10.0)
    direct = ends.total("cpe", "direct_total")
    counting = Counting()
    with Server(lab, counting) as server, Attempts(lab, INET[4], server.port) as attempts:
        until(lambda: attempts.now_s() > BEFORE_S, 10.0)
        clock.set(shift)
        until(lambda: attempts.now_s() > BEFORE_S + AFTER_S, 10.0)
        done = attempts.stop()
    assert [a for a in done if a.failure] == []
    assert len(done) > 50, "more than were warm before the step"
    assert counting.twice() == []
    assert ends.total("cpe", "direct_total") == direct
    assert ends.total("hag", "refused") == 0
