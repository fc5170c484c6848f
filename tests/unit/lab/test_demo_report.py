"""What the demo says of what it measured: the contract's document, and whether the run was a success."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from hagw.lab import demo_report
from hagw.lab.demo import possible_bps, withheld
from hagw.lab.demo_report import Bonded, Direction, FileMoved, Line, Outage, Results

LINES = (
    Line("dsl", {"down": 16e6, "up": 5e6}, {"down": 15e6, "up": 4e6}),
    Line("lte", {"down": 50e6, "up": 20e6}, {"down": 48e6, "up": 19e6}),
    Line("wifi", {"down": 20e6, "up": 20e6}, {"down": 19e6, "up": 19e6}),
)
ADSL = (replace(LINES[0], alone_bps={"down": 15e6, "up": 1e6}), *LINES[1:])


def bonded(direction: Direction, rate_bps: float, shares: Sequence[int], **changed: object) -> Bonded:
    by_uplink = {line.name: share * 1_000_000 for line, share in zip(LINES, shares, strict=True)}
    by_interface = {name: round(carried / 0.95) for name, carried in by_uplink.items()}
    one = Bonded(direction, rate_bps, "converted", by_uplink, by_interface, {})
    return replace(one, **changed)  # type: ignore[arg-type]


GOOD = Results(
    preset="demo",
    lines=LINES,
    bonded={"down": bonded("down", 80e6, (15, 47, 18)), "up": bonded("up", 41e6, (4, 18, 19))},
    outage=Outage("dsl", 250.0, 400.0),
    files=(FileMoved("a.bin", "down", 10, "aa", "aa"), FileMoved("b.bin", "up", 10, "bb", "bb")),
    duration_s=81.23,
)


def with_bonded(direction: Direction, one: Bonded) -> Results:
    return replace(GOOD, bonded={**GOOD.bonded, direction: one})


def test_a_good_run_has_nothing_against_it() -> None:
    assert demo_report.reasons(GOOD) == []


def test_the_document_has_the_contracts_keys() -> None:
    document = demo_report.document(GOOD)
    assert document["schema"] == 1
    assert (document["ok"], document["reasons"]) == (True, [])
    assert document["lines"]["dsl"].items() >= {"alone_down_bps": 15_000_000, "alone_up_bps": 4_000_000}.items()
    assert document["single"] == {"down_bps": 48_000_000, "up_bps": 19_000_000}
    assert document["bonded"] == {"down_bps": 80_000_000, "up_bps": 41_000_000}
    assert (document["sum_down_bps"], document["sum_up_bps"]) == (82_000_000, 42_000_000)
    assert (document["percent_down"], document["percent_up"]) == (97.6, 97.6)
    assert document["bytes_by_uplink"]["lte"] == {"down": 47_000_000, "up": 18_000_000}
    assert (document["gap_ms"], document["rejoin_ms"]) == (250, 400)
    assert (document["sha256_equal"], document["duration_s"]) == (True, 81.2)


def test_the_limit_is_the_payload_of_the_rates() -> None:
    """1428 of 1500 bytes with timestamps and the DSS option: 20 + 32 + 20 bytes of headers."""
    document = demo_report.document(GOOD)
    assert document["limit_down_bps"] == round(86e6 * 1428 / 1500)
    assert document["limit_up_bps"] == round(45e6 * 1428 / 1500)


def test_without_a_rate_there_is_no_limit() -> None:
    endless = replace(LINES[0], rate_bps={"down": None, "up": None})
    assert replace(GOOD, lines=(endless, *LINES[1:])).limit_bps("down") is None


@pytest.mark.parametrize(("rate_bps", "good"), [(73.9e6, True), (73.7e6, False)])
def test_ninety_percent_of_the_sum_are_asked_for(rate_bps: float, good: bool) -> None:
    found = demo_report.reasons(with_bonded("down", bonded("down", rate_bps, (15, 47, 18))))
    expected = [] if good else ["the bonded download reached 89.9 % of the sum, 0.1 less than 90"]
    assert found == expected


def test_a_line_that_carried_little_was_not_used() -> None:
    (found,) = demo_report.reasons(with_bonded("up", bonded("up", 41e6, (3, 19, 19))))
    assert found == "dsl carried 75 % of what it carries alone in the upload, less than 80"


def test_a_withheld_line_need_not_be_used_but_the_others_must_be_full() -> None:
    held = {"dsl": "0.9 Mbit/s up beside 38.0 Mbit/s of the other lines would slow them down"}
    results = replace(with_bonded("up", bonded("up", 37e6, (0, 18, 19), withheld=held)), lines=ADSL)
    assert demo_report.reasons(results) == []
    document = demo_report.document(results)
    assert (document["sum_up_bps"], document["subset_up_bps"]) == (39_000_000, 38_000_000)
    assert (document["percent_up"], document["percent_of_subset_up"]) == (94.9, 97.4)
    assert document["withheld"]["up"] == held
    assert f"dsl is withheld from the upload: {held['dsl']}; the upload is 97.4 %" in demo_report.text(results)
    slow = replace(with_bonded("up", bonded("up", 35.9e6, (0, 18, 19), withheld=held)), lines=ADSL)
    assert demo_report.reasons(slow) == ["the bonded upload reached 94.5 % of the lines not withheld, 0.5 less than 95"]


@pytest.mark.parametrize("path", ["direct", "bypassed", ""])
def test_a_transfer_that_was_not_converted_is_not_bonded(path: str) -> None:
    (found,) = demo_report.reasons(with_bonded("down", bonded("down", 80e6, (15, 47, 18), path=path)))
    assert found.startswith("the download was not converted to Multipath TCP")


@pytest.mark.parametrize("counted", [14_000_000, 20_000_000])
def test_hagw_must_not_contradict_the_interfaces(counted: int) -> None:
    one = GOOD.bonded["down"]
    lying = replace(one, by_interface={**one.by_interface, "dsl": counted})
    (found,) = demo_report.reasons(with_bonded("down", lying))
    assert found == f"dsl carried 15000000 bytes of the download as hagw says, but its interface counted {counted}"


@pytest.mark.parametrize(("gap_ms", "good"), [(490.0, True), (500.0, False)])
def test_a_gap_is_shorter_than_half_a_second(gap_ms: float, good: bool) -> None:
    found = demo_report.reasons(replace(GOOD, outage=Outage("dsl", gap_ms, 400.0)))
    assert found == ([] if good else ["the blackhole of dsl silenced the download for 500 ms, 0 over 500"])


def test_a_healed_line_must_come_back() -> None:
    never = replace(GOOD, outage=Outage("dsl", 250.0, None))
    assert demo_report.reasons(never) == ["dsl carried no data again after it healed"]
    assert demo_report.document(never)["rejoin_ms"] is None
    late = replace(GOOD, outage=Outage("dsl", 250.0, 3100.0))
    assert demo_report.reasons(late) == ["dsl carried data again only 3100 ms after it healed, not within 3000"]


def test_a_file_that_changed_on_the_way_fails_the_run() -> None:
    changed = replace(GOOD, files=(*GOOD.files, FileMoved("c.bin", "down", 10, "cc", "dd")))
    assert demo_report.reasons(changed) == ["download of c.bin: SHA-256 dd arrived, cc was sent"]
    assert demo_report.document(changed)["sha256_equal"] is False


def test_a_transfer_that_failed_says_what_curl_said() -> None:
    broken = replace(GOOD, files=(FileMoved("c.bin", "up", 10, "cc", "", "curl: (56) reset"),))
    assert demo_report.reasons(broken) == ["upload of c.bin failed: curl: (56) reset"]


def test_a_slow_demo_is_a_failed_one() -> None:
    assert demo_report.reasons(replace(GOOD, duration_s=121.0)) == ["the demo took 121 s, more than 120"]


def test_a_run_that_broke_off_says_so_and_leaves_the_rest_unknown() -> None:
    broken = Results("demo", (), {}, None, (), 3.0, ("hagw on cpe is not ready after 20 s",))
    assert demo_report.reasons(broken) == [
        "hagw on cpe is not ready after 20 s",
        "the bonded download was not measured",
        "the bonded upload was not measured",
        "the blackhole was not tried",
    ]
    document = demo_report.document(broken)
    assert (document["ok"], document["lines"], document["bytes_by_uplink"]) == (False, {}, {})
    assert document["single"] == document["bonded"] == {"down_bps": None, "up_bps": None}
    assert {document[key] for key in ("sum_up_bps", "percent_down", "gap_ms", "rejoin_ms", "sha256_equal")} == {None}
    assert "FAILED" in demo_report.text(broken)


def test_withheld_lines_are_read_from_the_flow_with_their_reasons() -> None:
    flow = {
        "why": "rule default; dsl withheld: 0.9 Mbit/s up would slow them down",
        "subflows": [
            {"uplink": "dsl", "state": "withheld"},
            {"uplink": "lte", "state": "established"},
            {"uplink": "wifi", "state": "withheld"},
        ],
    }
    assert withheld(flow) == {"dsl": "0.9 Mbit/s up would slow them down", "wifi": "hagw does not say why"}
    assert withheld({}) == {}


def test_no_line_carries_more_payload_than_its_rate_allows() -> None:
    assert possible_bps(15e6, 16e6) == 15e6
    assert possible_bps(16e6, 16e6) == 16e6 * 1448 / 1500
    assert possible_bps(16e6, None) == 16e6
