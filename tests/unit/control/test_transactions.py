"""Transactions over a kernel in memory: applied, confirmed, taken back by who asked, and many at random."""

import asyncio
import random

import pytest

from hagw.config.load import load
from hagw.errors import Refused
from hagw.model.flow import FlowKey
from hagw.plan.diff import diff
from hagw.plan.slots import slots_of
from tests import variety
from tests.unit.control.transactions import AFTER, BEFORE, LINES, Box, Running, config, nothing, play, results, until

OTHER_COMMENT = "# mine\n" + BEFORE


def test_the_first_start_makes_the_file_generation_1(box: Box) -> None:
    async def story(running: Running) -> None:
        assert running.transactions.standing().generation == 1
        assert not running.transactions.standing().file_differs
        assert box.holds(running.gateway.intent)

    play(box, story)
    assert results(box) == ["committed"]
    assert (box.directory / "state" / "in-force").read_text() == BEFORE


def test_apply_makes_another_configuration_true_and_keeps_it(box: Box) -> None:
    async def story(running: Running) -> None:
        outcome = await running.apply(AFTER, write_file=True)
        assert (outcome.result, outcome.generation) == ("in force", 2)
        assert outcome.steps > 4
        assert "uplink lte goes" in outcome.changes
        assert box.holds(running.gateway.intent)
        assert running.gateway.status()["config_generation"] == 2

    play(box, story)
    assert box.file.read_text() == AFTER
    assert not (box.directory / "state" / "journal.json").exists()

    async def later(running: Running) -> None:
        assert running.transactions.text(None) == AFTER
        assert box.holds(running.gateway.intent)

    play(box, later)


@pytest.mark.parametrize("text", [BEFORE, OTHER_COMMENT])
def test_what_means_the_same_writes_nothing_to_the_kernel(box: Box, text: str) -> None:
    async def story(running: Running) -> None:
        before = box.writes()
        outcome = await running.apply(text)
        assert outcome.steps == 0
        assert box.writes() == before
        assert running.transactions.text(None) == text

    play(box, story)


def test_a_file_that_was_edited_broken_or_lost_changes_nothing_at_a_start(box: Box) -> None:
    play(box, nothing)
    for change in (lambda: box.file.write_text(AFTER), lambda: box.file.write_text("{"), box.file.unlink):
        change()

        async def story(running: Running) -> None:
            assert running.transactions.text(None) == BEFORE
            assert running.gateway.status()["config_file_differs"]
            assert box.holds(running.gateway.intent)

        play(box, story)
    assert results(box) == ["committed"]


def test_without_confirmation_it_is_taken_back_in_time(box: Box) -> None:
    async def story(running: Running) -> None:
        outcome = await running.apply(AFTER, confirm_within_s=30.0)
        assert (outcome.result, outcome.pending_confirm_s) == ("pending", 30.0)
        assert running.gateway.status()["pending_confirm_s"] == 30.0
        assert box.holds(running.gateway.intent)
        box.now += 29.0
        with pytest.raises(Refused, match="waits for its confirmation for another 1 s"):
            await running.apply(BEFORE)
        assert running.gateway.status()["config_generation"] == 2
        box.now += 1.0
        await until(lambda: running.gateway.status()["config_generation"] == 1 and box.holds(running.gateway.intent))
        assert running.gateway.status()["pending_confirm_s"] is None
        assert running.transactions.text(None) == BEFORE

    play(box, story)
    assert box.archive().generations.get(2).reason == "not confirmed within 30 s"


def test_a_confirmed_one_stays(box: Box) -> None:
    async def story(running: Running) -> None:
        with pytest.raises(Refused, match="Nothing waits"):
            await running.transactions.confirm()
        await running.apply(AFTER, confirm_within_s=30.0)
        assert (await running.transactions.confirm()).result == "in force"
        box.now += 100.0
        await asyncio.sleep(0.05)
        assert running.gateway.status()["config_generation"] == 2

    play(box, story)
    assert results(box) == ["committed", "committed"]


def test_rollback_takes_back_what_is_pending_and_else_applies_the_one_before(box: Box) -> None:
    async def story(running: Running) -> None:
        await running.apply(AFTER, confirm_within_s=30.0)
        assert (await running.transactions.rollback(None, "tester", None)).result == "rolled back"
        assert running.transactions.text(None) == BEFORE
        await running.apply(AFTER)
        assert (await running.transactions.rollback(None, "tester", None)).generation == 4
        assert running.transactions.text(None) == BEFORE
        await running.transactions.rollback(3, "tester", None)
        assert running.transactions.text(None) == AFTER
        with pytest.raises(Refused, match="There is no generation 99"):
            await running.transactions.rollback(99, "tester", None)

    play(box, story)
    assert results(box) == ["committed", "rolled back", "committed", "committed", "committed"]


def test_edits_never_applied_are_kept_beside_a_file_that_must_be_written(box: Box) -> None:
    async def story(running: Running) -> None:
        box.file.write_text("# half of an idea\n")
        outcome = await running.apply(AFTER, write_file=True)
        assert "kept as" in outcome.notice

    play(box, story)
    assert box.file.read_text() == AFTER
    assert box.file.with_name("hagw.yaml.unapplied").read_text() == "# half of an idea\n"


def test_names_that_dns_told_are_explained_only_where_names_are_wanted(box: Box) -> None:
    flow = FlowKey("192.168.77.10", 0, "203.0.113.10", 443)

    async def story(running: Running) -> None:
        running.gateway.names_of = lambda address: ("films.example",) if address == flow.server else ()
        await running.apply(AFTER)
        assert running.gateway.explain(flow)["flow"]["domain"] == "films.example"
        await running.apply(config("dsl", extra="history: {domains: false}"))
        for candidate in (None, load(BEFORE, "-")):  # whatever a candidate says of names
            assert "films.example" not in str(running.gateway.explain(flow, candidate))

    play(box, story)


def test_lines_keep_their_slots_whatever_comes_and_goes(box: Box) -> None:
    async def story(running: Running) -> None:
        assert slots_of(running.gateway.intent) == {"dsl": 1, "lte": 2}
        await running.apply(config("wifi", "lte"))
        assert slots_of(running.gateway.intent) == {"wifi": 3, "lte": 2}
        await running.apply(config("wifi", "lte").replace("name: lte", "name: mobile"))
        assert slots_of(running.gateway.intent) == {"wifi": 3, "mobile": 2}

    play(box, story)

    async def later(running: Running) -> None:
        assert slots_of(running.gateway.intent) == {"wifi": 3, "mobile": 2}

    play(box, later)


def test_observers_hear_of_what_they_are_to_look_for(box: Box) -> None:
    async def story(running: Running) -> None:
        await running.apply(BEFORE + "portal_check: {enabled: false}\n")
        assert [page is not None and page.enabled for page in box.health.portals] == [False]

    play(box, story)


# --- at random

WALK = 1000


def anything(dice: random.Random, names: list[str]) -> str:
    """Return a valid configuration over these lines with all sorts of things in it."""
    lines = variety.about(dice, names)
    return config(*names, extra=variety.sections(dice, names), **lines)


@pytest.mark.slow
def test_any_walk_through_configurations_ends_as_a_fresh_start(box: Box) -> None:
    dice = random.Random(7)

    async def story(running: Running) -> None:
        for _ in range(WALK):
            names = dice.sample(LINES, dice.randint(1, len(LINES)))
            await running.apply(anything(dice, names))
            assert box.holds(running.gateway.intent)
            assert [uplink.name for uplink in running.gateway.intent.uplinks] == names

    play(box, story)
    assert len(box.archive().generations.all()) == 50
    machine = box.machines[-1]
    machine.write(diff(box.state(), {}))
    assert box.world.resources == {}
    assert set(box.world.sysctls.values()) == {"0"}
