"""Time series on disk: bounded, kept over restarts and losses of power, gaps stay gaps."""

import random
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from hagw.history.ring import Ring
from hagw.history.series import FIELDS, Sample, Series

BEGIN = 1_790_000_000 // 3600 * 3600


class Clock:
    def __init__(self, now: float = float(BEGIN)) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def sample(down: float, state: str = "up") -> Sample:
    return Sample(down, down / 4, 20.0, 0.0, state, 10.0)


def record(series: Series, clock: Clock, seconds: int, down: float = 1e6, state: str = "up") -> None:
    for _ in range(seconds):
        series.add({"dsl": sample(down, state)})
        if series.is_due():
            series.flush()
        clock.now += 1


def test_a_second_a_minute_and_an_hour_are_told(tmp_path: Path) -> None:
    clock = Clock()
    series = Series(tmp_path, clock)
    series.begin()
    record(series, clock, 3_700, 1e6)
    hour = series.tell("1h", ["uplink.dsl.down_bps"])
    assert (hour.step_s, len(hour.series["uplink.dsl.down_bps"])) == (1, 3_600)
    assert list(hour.series) == ["uplink.dsl.down_bps"]
    assert hour.series["uplink.dsl.down_bps"].count(1e6) >= 3_598
    day = series.tell("24h").series
    assert len(day["uplink.dsl.up_bps"]) == 1_440
    assert 61 <= sum(value is not None for value in day["uplink.dsl.up_bps"]) <= 63
    assert 600.0 in day["uplink.dsl.kept_off_bytes"], "bytes are added up"
    year = series.tell("1y").series["uplink.dsl.down_bps"]
    assert [value for value in year if value is not None] == [1e6]
    month = series.tell("30d").series["uplink.dsl.down_bps"]
    assert (len(month), [value for value in month if value is not None]) == (720, [1e6, 1e6])


def test_a_second_that_comes_in_meanwhile_disturbs_nobody_who_is_told(tmp_path: Path) -> None:
    """The API tells in a thread: the second below comes in just while minutes are looked through."""
    clock = Clock()
    series = Series(tmp_path, clock)
    series.begin()

    class Compared(int):
        def __ge__(self, other: int) -> bool:
            clock.now += 1
            series.add({"dsl": sample(1e6)})
            return int(self) >= other

    record(series, clock, 5, 1e6)
    series._recent["dsl"].append((Compared(clock.now), sample(1e6).values()))
    assert 1e6 in series.tell("24h", ["uplink.dsl.down_bps"]).series["uplink.dsl.down_bps"]


def test_other_steps_and_earlier_times_are_told_as_fine_as_they_are_kept(tmp_path: Path) -> None:
    clock = Clock()
    series = Series(tmp_path, clock)
    series.begin()
    record(series, clock, 1_200, 1e6)
    record(series, clock, 1_200, 3e6)
    last = int(clock.now) - 1
    thick = series.tell("30d", ["uplink.dsl.down_bps"], step_s=60)
    assert (thick.step_s, len(thick.series["uplink.dsl.down_bps"])) == (600, 4_320), "no more than POINTS_MAX"
    assert [value for value in thick.series["uplink.dsl.down_bps"] if value is not None] == [1e6, 1e6, 3e6, 3e6]
    thin = series.tell("1h", ["uplink.dsl.down_bps"], step_s=300)
    assert (thin.step_s, len(thin.series["uplink.dsl.down_bps"])) == (300, 12)
    assert [value for value in thin.series["uplink.dsl.down_bps"] if value is not None] == [1e6] * 4 + [3e6] * 4
    record(series, clock, 3_600, 5e6)
    then = series.tell("1h", ["uplink.dsl.down_bps"], until=last)
    assert then.step_s == 60, "its seconds are gone"
    assert then.begin_unix_s + 3_600 >= last
    assert [value for value in then.series["uplink.dsl.down_bps"] if value is not None] == [1e6] * 20 + [3e6] * 20
    ahead = series.tell("1h", ["uplink.dsl.down_bps"], until=last + 10**9)
    assert ahead == series.tell("1h", ["uplink.dsl.down_bps"]), "of what will be nothing is told"
    assert set(series.tell("24h", until=0).series["uplink.dsl.down_bps"]) == {None}


def test_history_outlives_a_daemon_and_what_it_did_not_see_is_a_gap(tmp_path: Path) -> None:
    clock = Clock()
    first = Series(tmp_path, clock)
    first.begin()
    record(first, clock, 120, 1e6)
    first.flush()
    clock.now += 30
    second = Series(tmp_path, clock)
    second.begin()
    record(second, clock, 10, 2e6)
    told = second.tell("1h").series["uplink.dsl.down_bps"]
    known = [value for value in told if value is not None]
    assert known == [1e6] * 120 + [2e6] * 10
    at = told.index(2e6)
    assert told[at - 30 : at] == [None] * 30


def test_the_worst_state_of_a_minute_is_its_state(tmp_path: Path) -> None:
    clock = Clock()
    series = Series(tmp_path, clock)
    series.begin()
    record(series, clock, 59)
    record(series, clock, 1, state="down")
    record(series, clock, 61)
    states = [value for value in series.tell("24h").series["uplink.dsl.state"] if value is not None]
    assert states == [2.0, 0.0, 0.0]


def test_files_have_a_size_that_does_not_grow(tmp_path: Path) -> None:
    clock = Clock()
    series = Series(tmp_path, clock)
    series.begin()
    record(series, clock, 130)
    series.flush()
    before = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sum(before.values()) < 2_000_000
    for _ in range(50):
        clock.now += 86_400
        record(series, clock, 61)
    series.flush()
    assert before.items() <= {path.name: path.stat().st_size for path in tmp_path.iterdir()}.items()


def test_lines_that_come_and_go_do_not_fill_the_disk(tmp_path: Path) -> None:
    clock = Clock()
    series = Series(tmp_path, clock)
    series.begin()
    for number in range(150):
        series.add({f"line{number}": sample(1.0)})
    clock.now += 61
    series.flush()
    assert len(list(tmp_path.iterdir())) <= 96


def test_a_clock_that_goes_back_ends_nothing(tmp_path: Path) -> None:
    clock = Clock()
    series = Series(tmp_path, clock)
    series.begin()
    record(series, clock, 100)
    clock.now -= 10_000
    record(series, clock, 100, 3e6)
    series.flush()
    assert [value for value in series.tell("1h").series["uplink.dsl.down_bps"] if value] == [3e6] * 100


def test_a_disk_that_refuses_costs_history_only(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("")
    clock = Clock()
    series = Series(place, clock)
    series.begin()
    record(series, clock, 130)
    assert series.tell("1h").series["uplink.dsl.down_bps"].count(1e6) == 130


def test_an_earlier_turn_of_the_ring_is_not_told_as_a_later_one(tmp_path: Path) -> None:
    ring = Ring(tmp_path / "dsl.1s", 1, 600, 1)
    ring.write({BEGIN: (1.0,), BEGIN + 599: (2.0,), BEGIN + 600: (3.0,)})
    assert ring.read(BEGIN, BEGIN + 600) == {BEGIN + 599: (2.0,)}
    assert ring.read(BEGIN + 600, BEGIN + 1200) == {BEGIN + 600: (3.0,)}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2_000_000), st.integers(1, 400), st.randoms(use_true_random=False))
def test_torn_records_are_gaps_and_never_other_values(at: int, length: int, chance: random.Random) -> None:
    """Whatever a loss of power leaves in place of a stretch of the file: every value read was once written."""
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "dsl.1s"
        ring = Ring(path, 1, 600, len(FIELDS))
        written = {BEGIN + n: tuple(float(n * 7 + f) for f in range(len(FIELDS))) for n in range(600)}
        ring.write(written)
        data = bytearray(path.read_bytes())
        begin = at % len(data)
        torn = bytes(chance.choice((0, 255, chance.randrange(256))) for _ in range(min(length, len(data) - begin)))
        data[begin : begin + len(torn)] = torn
        path.write_bytes(bytes(data[: len(data) - at % 3]))
        found = Ring(path, 1, 600, len(FIELDS)).read(BEGIN, BEGIN + 600)
        assert all(written[second] == values for second, values in found.items())
        assert len(found) >= 600 - len(torn) // 32 - 3 or begin < 24
        Ring(path, 1, 600, len(FIELDS)).write({BEGIN: written[BEGIN]})
        assert Ring(path, 1, 600, len(FIELDS)).read(BEGIN, BEGIN + 1) == {BEGIN: written[BEGIN]}
