"""What a CPE says of its lines counts once, whichever end or connection breaks off, and whenever."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from channel_rig import Office, until

from hagw.channel.client import ChannelClient
from hagw.channel.reports import Report, Reports
from hagw.control.durable import Disk
from hagw.registry.said import LINES_MAX, Said
from hagw.registry.usage import Batch, Spool, total_by

MEGA = 1_000_000
Counts = Mapping[str, tuple[int, int]]


class Flash:
    """A file that outlives the CPE's daemon; it can be full."""

    def __init__(self) -> None:
        self.text = ""
        self.is_full = False

    async def keep(self, text: str) -> None:
        if self.is_full:
            raise OSError("no space left")
        self.text = text

    def reports(self, boot: str = "1") -> Reports:
        return Reports(self.text, boot, self.keep)


def due(reports: Reports, counts: Counts) -> Report | None:
    return asyncio.run(reports.due(counts))


@pytest.fixture
def flash() -> Flash:
    """Return a disk on which somebody began to count at 5 MB."""
    found = Flash()
    asyncio.run(found.reports().begin({"dsl": (5 * MEGA, 0)}))
    return found


def test_a_report_is_said_again_until_it_has_arrived_then_the_rest_follows(flash: Flash) -> None:
    reports = flash.reports()
    asyncio.run(reports.begin({"dsl": (6 * MEGA, 0)}))  # it has begun already
    reports.arrived(reports._last.stream, 0)
    first = due(reports, {"dsl": (7 * MEGA, 3)})
    assert first is not None
    assert first.uplinks == {"dsl": (2 * MEGA, 3)}
    assert due(reports, {"dsl": (9 * MEGA, 3), "lte": (1, 1)}) == first
    reports.arrived(first.stream, first.number + 1)
    reports.arrived("another", first.number)
    assert due(reports, {"dsl": (9 * MEGA, 3), "lte": (1, 1)}) == first
    reports.arrived(first.stream, first.number)
    second = due(reports, {"dsl": (9 * MEGA, 3), "lte": (6, 1)})
    assert second is not None
    assert (second.number, second.uplinks) == (first.number + 1, {"dsl": (2 * MEGA, 0), "lte": (5, 0)})


def test_what_is_not_worth_a_packet_waits(flash: Flash) -> None:
    assert due(flash.reports(), {"dsl": (6 * MEGA - 1, 0)}) is None
    assert due(flash.reports(), {"dsl": (6 * MEGA, 0)}) is not None


def test_the_next_daemon_goes_on(flash: Flash) -> None:
    first = due(flash.reports(), {"dsl": (7 * MEGA, 0)})
    assert first is not None
    after = flash.reports()
    assert due(after, {"dsl": (8 * MEGA, 0)}) == first  # perhaps it had not arrived
    after.arrived(first.stream, first.number)
    second = due(after, {"dsl": (8 * MEGA, 0)})
    assert second is not None
    assert second.uplinks == {"dsl": (MEGA, 0)}


def test_after_a_boot_counters_begin_anew_however_far_they_are(flash: Flash) -> None:
    first = due(flash.reports(), {"dsl": (7 * MEGA, 0)})
    booted = flash.reports("2")
    assert first is not None
    booted.arrived(first.stream, first.number)
    second = due(booted, {"dsl": (9 * MEGA, 0)})
    assert second is not None
    assert second.uplinks == {"dsl": (9 * MEGA, 0)}


def said(reports: Reports, counts: Counts) -> Counts:
    """Return what a report says, that has arrived at once; nothing where none is due."""
    found = due(reports, counts)
    if found is None:
        return {}
    reports.arrived(found.stream, found.number)
    return found.uplinks


def arrived(flash: Flash, boot: str = "1") -> Reports:
    reports = flash.reports(boot)
    reports.arrived(reports._last.stream, reports._last.number)
    return reports


def test_an_interface_that_gets_another_name_is_not_said_again(flash: Flash) -> None:
    reports = arrived(flash)
    assert said(reports, {"dsl": (7 * MEGA, 0)}) == {"dsl": (2 * MEGA, 0)}
    assert said(reports, {"vdsl": (9 * MEGA, 0)}) == {}
    assert said(reports, {"vdsl": (12 * MEGA, 0)}) == {"vdsl": (3 * MEGA, 0)}, "also if no other line carries anything"
    assert said(reports, {"dsl": (14 * MEGA, 0)}) == {}, "what it carried as another line was said"
    assert said(reports, {"dsl": (15 * MEGA, 0)}) == {"dsl": (MEGA, 0)}


def test_a_line_that_was_away_for_a_while_is_not_said_again(flash: Flash) -> None:
    reports = arrived(flash)
    assert said(reports, {"dsl": (7 * MEGA, 0), "lte": (9 * MEGA, 0)}) == {"dsl": (2 * MEGA, 0), "lte": (0, 0)}
    assert said(reports, {"dsl": (9 * MEGA, 0), "lte": (0, 0)}) == {"dsl": (2 * MEGA, 0)}
    again = arrived(flash)
    assert said(again, {"dsl": (9 * MEGA, 0), "lte": (10 * MEGA, 0)}) == {"dsl": (0, 0), "lte": (MEGA, 0)}
    made_anew = {"dsl": (9 * MEGA, 0), "lte": (2 * MEGA, 0)}
    assert said(again, made_anew) == {"dsl": (0, 0), "lte": (2 * MEGA, 0)}


def test_what_a_line_carried_before_it_was_used_is_not_said(flash: Flash) -> None:
    """It is switched off when counting begins: nobody reads its interface, which others use."""
    flash.text = ""
    reports = flash.reports()
    asyncio.run(reports.begin({"dsl": (5 * MEGA, 0), "lte": (0, 0)}))
    assert said(reports, {"dsl": (6 * MEGA, 0), "lte": (0, 0)}) == {"dsl": (MEGA, 0)}
    assert said(reports, {"dsl": (7 * MEGA, 0), "lte": (900 * MEGA, 0)}) == {"dsl": (MEGA, 0), "lte": (0, 0)}
    assert said(reports, {"dsl": (7 * MEGA, 0), "lte": (901 * MEGA, 0)}) == {"dsl": (0, 0), "lte": (MEGA, 0)}


def test_a_line_that_comes_long_after_a_boot_counts_from_zero(flash: Flash) -> None:
    booted = arrived(flash, "2")
    assert said(booted, {"dsl": (0, 0)}) == {}
    assert said(booted, {"dsl": (3 * MEGA, 0)}) == {"dsl": (3 * MEGA, 0)}


def test_what_cannot_be_kept_is_not_said_and_said_later(flash: Flash) -> None:
    reports = flash.reports()
    flash.is_full = True
    with pytest.raises(OSError, match="space"):
        due(reports, {"dsl": (7 * MEGA, 0)})
    flash.is_full = False
    found = due(reports, {"dsl": (8 * MEGA, 0)})
    assert found is not None
    assert (found.number, found.uplinks) == (1, {"dsl": (3 * MEGA, 0)})


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 2}', '{"version": 1, "stream": "x", "number": []}'])
def test_a_damaged_file_begins_anew_under_another_name(text: str) -> None:
    one, other = Reports(text), Reports(text)
    assert one._last.stream != other._last.stream
    asyncio.run(one.begin({"dsl": (7 * MEGA, 0)}))
    assert due(one, {"dsl": (7 * MEGA, 5)}) is None


# --- the gateway's end


class Desk:
    """A gateway's disk, and its daemons one after the other."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.is_full = False
        self.is_unsure = False  # the file is there; that it stays could not be made sure
        self.said = self.next_daemon()

    def next_daemon(self) -> Said:
        self.said = Said(Spool(self.directory, self._keep))
        asyncio.run(self.said.begin())
        return self.said

    def _keep(self, path: Path, text: str) -> None:
        if self.is_full:
            raise OSError("no space left")
        Disk().replace(path, text)
        if self.is_unsure:
            raise OSError("the directory could not be synchronised")

    def take(self, report: str, down: int = MEGA, customer: str = "home") -> bool:
        return self.said.take(customer, {"dsl": (down, 0)}, report, "2026-11-23")

    def keep(self) -> dict[str, str]:
        return asyncio.run(self.said.keep())

    def flush(self, ledger: "Ledger") -> None:
        spool = Spool(self.directory, self._keep)
        while asyncio.run(spool.flush(ledger)):  # type: ignore[arg-type]  # of the real one it needs no more
            pass

    def counted(self, customer: str = "home") -> int:
        batches = Spool(self.directory, self._keep)._load(".json").values()
        return sum(used.bytes_down for used in total_by(batches) if used.customer == customer)


class Ledger:
    """What a registry does with readings, as far as the spool needs it."""

    def __init__(self) -> None:
        self.bytes_down = 0

    async def add_usage(self, batches: list[Batch]) -> None:
        self.bytes_down += sum(used.bytes_down for used in total_by(batches))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "usage")


def test_a_report_that_comes_again_counts_once_before_and_after_it_is_on_the_disk(desk: Desk) -> None:
    assert not desk.take("00-1")
    assert not desk.take("00-1")
    assert desk.keep() == {"home": "00-1"}
    assert desk.take("00-1")
    assert desk.keep() == {}
    assert desk.counted() == MEGA


def test_it_counts_once_if_the_daemon_dies_before_or_after_it_was_kept(desk: Desk) -> None:
    desk.take("00-1")
    desk.next_daemon()  # it had nothing on the disk
    assert not desk.take("00-1")
    desk.keep()
    desk.next_daemon()  # the CPE never heard of that
    assert desk.take("00-1")
    assert not desk.take("00-2", 5)
    desk.keep()
    assert desk.counted() == MEGA + 5


def test_it_is_remembered_when_readings_were_summed_up(desk: Desk) -> None:
    for number in range(1, 90):
        assert not desk.take(f"00-{number}", 1)
        desk.keep()
    desk.next_daemon()
    assert desk.take("00-89", 1)
    assert desk.counted() == 89


def test_a_full_disk_tells_nobody_that_it_was_kept_and_loses_nothing(desk: Desk) -> None:
    desk.take("00-1")
    desk.is_full = True
    with pytest.raises(OSError, match="space"):
        desk.keep()
    assert not desk.take("00-1")
    desk.is_full = False
    assert desk.keep() == {"home": "00-1"}
    assert desk.counted() == MEGA


@pytest.mark.parametrize("is_flushed", [False, True])
def test_what_is_on_the_disk_though_that_failed_counts_once(desk: Desk, is_flushed: bool) -> None:
    ledger = Ledger()
    desk.take("00-1")
    desk.take("")
    desk.is_unsure = True
    for _ in range(2):
        with pytest.raises(OSError, match="synchronised"):
            desk.keep()
    desk.is_unsure = False
    if is_flushed:
        desk.flush(ledger)
    assert not desk.take("00-1")
    assert not desk.take("00-2", 5)
    while desk.keep():
        pass
    desk.flush(ledger)
    assert ledger.bytes_down == 2 * MEGA + 5


def test_nobodys_reports_hide_anothers(desk: Desk) -> None:
    desk.take(f"00-{1 << 43}", customer="evil")
    desk.keep()
    assert not desk.take("00-1")
    desk.keep()
    assert desk.counted() == MEGA


def test_an_older_cpes_words_count_as_often_as_they_come(desk: Desk) -> None:
    assert not desk.take("")
    assert not desk.take("")
    assert desk.keep() == {}
    assert desk.counted() == 2 * MEGA


def test_lines_beyond_some_are_one(desk: Desk) -> None:
    desk.said.take("home", {f"line{n}": (1, 0) for n in range(LINES_MAX + 9)}, "", "2026-11-23")
    desk.keep()
    records = total_by(Spool(desk.directory, desk._keep)._load(".json").values())
    assert len(records) == LINES_MAX + 1
    assert sum(record.bytes_down for record in records) == LINES_MAX + 9


# --- both


def test_a_report_is_repeated_over_the_channel_until_it_is_acknowledged(office: Office) -> None:
    counts = {"dsl": (1, 0)}
    reports = Reports()
    client = ChannelClient(
        "hag", office.credentials(), lambda: office.ways, office.kept.append, lambda: counts, 0.05, reports=reports
    )

    async def scene() -> None:
        await until(lambda: client.standing.state == "connected" and reports._told is not None)
        counts["dsl"] = (1 + 2 * MEGA, 0)
        await until(lambda: office.used)
        counts["dsl"] = (1 + 4 * MEGA, 0)  # the office says so of the first only when that comes again
        await until(lambda: len(office.used) > 1)
        assert [uplinks for _, uplinks in office.used] == [{"dsl": (2 * MEGA, 0)}] * 2
        assert len(set(office.reports)) == 2

    office.play(scene, client)
