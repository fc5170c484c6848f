"""Bad peers get a bounded number of lines, and all of them are accounted for."""

import pytest

from hagw.dataplane.journal import VALUE_MAX_CHARS, Log
from hagw.dataplane.notices import AGAIN_S, BURST, NETWORKS_MAX, REFILL_S, SUMMARY_S, Notices, network_of


class Lines:
    def __init__(self) -> None:
        self.first: list[dict[str, object]] = []
        self.summaries: list[dict[str, object]] = []
        self.notices = Notices(lambda **f: self.first.append(f), lambda **f: self.summaries.append(f))


@pytest.fixture
def lines() -> Lines:
    return Lines()


def test_the_first_of_a_kind_from_a_network_is_told_at_once(lines: Lines) -> None:
    lines.notices.note("192.0.2.1", "slow", "waited", 0.0)
    lines.notices.note("192.0.2.2", "slow", "waited", 1.0)
    lines.notices.note("192.0.2.2", "malformed", "wrong magic", 1.0)
    lines.notices.note("2001:db8::1", "slow", "waited", 1.0)
    lines.notices.note("2001:db8::2:1", "slow", "waited", 1.0)
    assert [(line["source"], line["kind"]) for line in lines.first] == [
        ("192.0.2.1", "slow"),
        ("192.0.2.2", "malformed"),
        ("2001:db8::1", "slow"),
    ]
    assert lines.first[1] == {"source": "192.0.2.2", "kind": "malformed", "reason": "wrong magic"}


def test_what_is_left_out_is_told_together(lines: Lines) -> None:
    lines.notices.summarise(100.0)
    assert not lines.summaries
    for _ in range(1_001):
        lines.notices.note("192.0.2.1", "not-authorised", "no cookie", 100.0)
    for number in range(21):
        lines.notices.note(f"198.51.{number % 3}.1", "slow", "waited", 100.0)
    lines.notices.summarise(100.0 + SUMMARY_S - 0.1)
    assert not lines.summaries
    lines.notices.summarise(100.0 + SUMMARY_S)
    assert lines.summaries == [
        {"seconds": round(SUMMARY_S), "not_authorised": 1_000, "slow": 18, "networks": "4", "most_from": "192.0.2.0/24"}
    ]
    lines.notices.summarise(100.0 + 9 * SUMMARY_S)
    assert len(lines.summaries) == 1


def test_many_networks_get_few_lines_and_little_memory(lines: Lines) -> None:
    """A minute of a flood from everywhere."""
    sent = 0
    for second in range(60):
        for number in range(1_000):
            lines.notices.note(
                f"10.{number % 256}.{(second * 4 + number // 256) % 256}.1", "slow", "waited", float(second)
            )
            sent += 1
        lines.notices.summarise(float(second))
    lines.notices.summarise(1_000.0)
    assert len(lines.first) <= BURST + 60 / REFILL_S
    assert len(lines.summaries) <= 60 / SUMMARY_S + 1
    assert len(lines.first) + sum(int(str(line["slow"])) for line in lines.summaries) == sent
    assert lines.summaries[0]["networks"] == f"{NETWORKS_MAX}+"
    assert all(len(table) <= NETWORKS_MAX for table in (lines.notices._told, lines.notices._networks))


def test_a_network_is_told_of_again_after_a_while(lines: Lines) -> None:
    for now in (0.0, AGAIN_S - 1.0, AGAIN_S):
        lines.notices.note("192.0.2.1", "slow", "waited", now)
    assert len(lines.first) == 2


@pytest.mark.parametrize(
    ("source", "network"),
    [
        ("192.0.2.7", "192.0.2.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
    ],
)
def test_a_network_stands_for_its_addresses(source: str, network: str) -> None:
    assert network_of(source) == network


def test_a_line_cannot_be_ended_or_made_endless_by_a_value(capsys: pytest.CaptureFixture[str]) -> None:
    Log().warning("peer turned away", source="192.0.2.1", reason='a "b"\n\x1b[31m=é', empty="", long="x" * 10_000)
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert line.isascii()
    assert "\x1b" not in line
    assert (
        'level=warning event="peer turned away" source=192.0.2.1 reason="a \\"b\\"\\n\\u001b[31m=\\u00e9" empty=""'
        in line
    )
    assert line.endswith(f"long={'x' * VALUE_MAX_CHARS}\n")
