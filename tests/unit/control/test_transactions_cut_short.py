"""Transactions that a loss of power or a restart cuts short, and a state that was damaged meanwhile."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from hagw.config.load import load
from hagw.control.inforce import CUT_SHORT, take_up
from hagw.errors import HagwError, Refused
from tests.unit.control.transactions import AFTER, BEFORE, Box, PowerLost, Running, nothing, play

STEPS_MAX = 200


def lasts(box: Box, story: Callable[[Running], Awaitable[None]]) -> bool:
    """Play a story and have the power back after it; say whether it lasted."""
    try:
        play(box, story)
    except PowerLost:
        return False
    finally:
        box.power.left = None
    return True


def cut_short(directory: Path, steps: int, confirm_within_s: float | None) -> bool:
    """Apply AFTER with power for so many steps, start anew, and judge; say whether the power lasted."""
    directory.mkdir()
    box = Box(directory)
    box.file.write_text(BEFORE)
    play(box, nothing)

    async def story(running: Running) -> None:
        box.power.left = steps
        await running.apply(AFTER, confirm_within_s=confirm_within_s, write_file=True)

    lasted = lasts(box, story)

    async def later(running: Running) -> None:
        text = running.transactions.text(None)
        number = running.transactions.standing().generation
        assert text == (AFTER if number == 2 else BEFORE)
        assert box.holds(running.gateway.intent)
        assert load(text, "").rules == running.gateway.intent.rules
        if number == 2:
            assert box.file.read_text() == AFTER
        known = {each.number: each for each in running.transactions.history()}
        if 2 in known and number == 1:
            assert known[2].result in ("rolled back", "tried")
        assert box.archive().journal.read() is None

    play(box, later)
    return lasted


@pytest.mark.parametrize("confirm_within_s", [None, 30.0])
def test_a_loss_of_power_at_any_step_ends_in_the_checkpoint_or_the_target(
    directory: Path, confirm_within_s: float | None
) -> None:
    for steps in range(STEPS_MAX):
        if cut_short(directory / str(steps), steps, confirm_within_s):
            break
    assert 15 < steps < STEPS_MAX


def taken_back(directory: Path, steps: int, verb: str) -> bool:
    """As `cut_short`, with the power going while AFTER is confirmed or taken back."""
    directory.mkdir()
    box = Box(directory)
    box.file.write_text(BEFORE)

    async def story(running: Running) -> None:
        await running.apply(AFTER, confirm_within_s=None if verb == "rollback of what is kept" else 30.0)
        box.power.left = steps
        verbs = running.transactions
        await running.powered(verbs.confirm() if verb == "confirm" else verbs.rollback(None, "tester", None))

    lasted = lasts(box, story)

    async def later(running: Running) -> None:
        text = running.transactions.text(None)
        assert text in (BEFORE, AFTER)
        assert not lasted or text == (AFTER if verb == "confirm" else BEFORE)
        if verb == "rollback of what waits":
            assert text == BEFORE
        assert box.holds(running.gateway.intent)
        assert load(text, "").rules == running.gateway.intent.rules
        assert box.archive().journal.read() is None

    play(box, later)
    return lasted


@pytest.mark.parametrize("verb", ["confirm", "rollback of what waits", "rollback of what is kept"])
def test_a_loss_of_power_while_it_is_confirmed_or_taken_back_ends_in_either(directory: Path, verb: str) -> None:
    for steps in range(STEPS_MAX):
        if taken_back(directory / str(steps), steps, verb):
            break
    assert (1 if verb == "confirm" else 10) < steps < STEPS_MAX


def test_a_restart_while_pending_is_a_rollback(box: Box) -> None:
    async def story(running: Running) -> None:
        await running.apply(AFTER, confirm_within_s=30.0)

    play(box, story)

    async def later(running: Running) -> None:
        assert running.transactions.text(None) == BEFORE
        assert box.holds(running.gateway.intent)

    play(box, later)
    assert box.archive().generations.get(2).result == "rolled back"
    assert box.archive().generations.get(2).reason == CUT_SHORT


def test_a_damaged_generation_is_said_and_the_file_taken(box: Box) -> None:
    play(box, nothing)
    (box.directory / "state" / "generations" / "000001.yaml").write_text("version: 1\n")
    box.file.write_text(AFTER)

    async def story(running: Running) -> None:
        assert running.transactions.text(None) == AFTER
        assert "its checksum differs" in running.gateway.status()["config_notice"]
        assert (await running.apply(BEFORE)).result == "in force"

    play(box, story)


def test_a_state_directory_that_cannot_be_used_leaves_the_file_in_force(box: Box) -> None:
    (box.directory / "state").write_text("not a directory")

    async def story(running: Running) -> None:
        assert running.transactions.standing().generation == 0
        assert box.holds(running.gateway.intent)
        with pytest.raises(Refused, match="state directory cannot be used"):
            await running.apply(AFTER)

    play(box, story)


def test_with_neither_file_nor_generation_there_is_nothing_to_run(box: Box) -> None:
    box.file.unlink()
    with pytest.raises(HagwError, match="cannot be read"):
        take_up(box.archive())
