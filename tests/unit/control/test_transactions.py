"""Transactions over a kernel in memory: all or nothing, refused, judged, confirmed, taken back, cut short."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from hagw.config.load import load
from hagw.control import transaction
from hagw.control.inforce import CUT_SHORT, Archive, take_up
from hagw.errors import ConfigError, HagwError, Refused
from hagw.model.flow import FlowKey
from hagw.model.health import GatewayHealth
from hagw.model.intent import CpeIntent
from hagw.plan.caller import Caller
from hagw.plan.diff import diff
from hagw.plan.slots import slots_of
from tests import variety
from tests.unit.control.transactions import KEY, LINES, Box, PowerLost, Running, config

BEFORE = config("dsl", "lte", rules=3)
AFTER = config("dsl", "wifi", rules=1, lte=", cost: 3")
HAG = f"version: 1\nrole: hag\nlisten: {{addresses: ['::']}}\ncustomers: [{{name: home, key: '{KEY}'}}]\n"
OTHER_COMMENT = "# mine\n" + BEFORE


@pytest.fixture
def directory() -> Iterator[Path]:
    """Somewhere that waits for no disk: a transaction waits for it half a dozen times, and no test looks at that."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


@pytest.fixture
def box(directory: Path) -> Box:
    box = Box(directory)
    box.file.write_text(BEFORE)
    return box


def play(box: Box, story: Callable[[Running], Awaitable[None]]) -> None:
    async def run() -> None:
        async with box.running() as running:
            await story(running)

    asyncio.run(run())


def results(box: Box) -> list[str]:
    return [generation.result for generation in box.archive().generations.all()]


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


async def nothing(running: Running) -> None:
    """Start and end."""


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


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20.0):
        while not condition():
            await asyncio.sleep(0.01)


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


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (config("dsl", "lte", "gsm"), "uplink gsm: there is no interface gsm0"),
        (config("dsl", "lte", dsl=", enabled: false", lte=", enabled: false"), "no uplink would be left in use"),
        (BEFORE.replace("[lan0]", "[lan0, lan7]"), "lan: there is no interface lan7"),
        (HAG, "is a cpe and cannot become a hag"),
    ],
)
def test_an_impossible_plan_is_refused_before_anything_is_touched(box: Box, text: str, reason: str) -> None:
    async def story(running: Running) -> None:
        before = box.writes()
        with pytest.raises(Refused, match=f"Nothing was changed: .*{reason}"):
            await running.apply(text)
        assert (await running.transactions.plan(transaction.Wish(text, "x"))).obstacles
        assert box.writes() == before

    play(box, story)
    assert results(box) == ["committed"]


def test_two_names_of_one_interface_are_refused(box: Box) -> None:
    lines = dict(box.world.facts.uplinks)
    lines["wifi"] = replace(lines["wifi"], ifindex=lines["dsl"].ifindex)
    box.world.facts = replace(box.world.facts, uplinks=lines)

    async def story(running: Running) -> None:
        with pytest.raises(Refused, match="uplinks dsl and wifi are the same interface"):
            await running.apply(config("dsl", "wifi"))

    play(box, story)


def test_an_uplink_that_is_unplugged_just_now_does_not_keep_a_rule_from_changing(box: Box) -> None:
    async def story(running: Running) -> None:
        lines = dict(box.world.facts.uplinks)
        del lines["lte"]
        box.world.facts = replace(box.world.facts, uplinks=lines)
        assert (await running.apply(config("dsl", "lte", rules=4))).result == "in force"

    play(box, story)


def test_what_would_cut_the_callers_session_is_refused(box: Box) -> None:
    far, near = ip_address("198.51.100.77"), IPv4Address("192.0.2.9")
    on_lte = Caller(far, ip_address("192.0.2.2"))

    async def story(running: Running) -> None:
        with pytest.raises(Refused, match=r"answers to 198\.51\.100\.77 leave by lte0 now and would leave by dsl0"):
            await running.apply(config("dsl", "wifi"), caller=on_lte)
        assert (await running.apply(config("dsl", "lte"), caller=on_lte)).result == "in force"
        assert (await running.apply(config("dsl", "wifi"), caller=Caller(near, ip_address("192.168.1.1")))).result

    play(box, story)


def test_a_gateway_that_answers_no_more_takes_the_configuration_back(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transaction, "CHECK_TIMEOUT_S", 0.1)

    async def story(running: Running) -> None:
        switch = running.gateway.switch

        async def switch_to_silence(intent: CpeIntent) -> int:
            box.health.reach["hag"] = GatewayHealth("down" if intent.rules[1:] == () else "up")
            return await switch(intent)

        monkeypatch.setattr(running.gateway, "switch", switch_to_silence)
        with pytest.raises(Refused, match="Rolled back to generation 1: no gateway answers any more"):
            await running.apply(AFTER)
        assert running.gateway.status()["config_generation"] == 1
        assert box.holds(running.gateway.intent)

    play(box, story)
    assert box.archive().generations.get(2).reason == "no gateway answers any more"


def test_what_did_not_work_before_need_not_work_after(box: Box) -> None:
    box.health.reach["hag"] = GatewayHealth("down")

    async def story(running: Running) -> None:
        assert (await running.apply(AFTER)).result == "in force"

    play(box, story)


def test_a_kernel_that_refuses_takes_the_configuration_back(box: Box) -> None:
    async def story(running: Running) -> None:
        del box.world.sysctls["net/ipv4/conf/wifi0/rp_filter"]
        with pytest.raises(Refused, match=r"Rolled back to generation 1: .*wifi0"):
            await running.apply(AFTER)
        assert box.holds(running.gateway.intent)

    play(box, story)


FAULT = r"something failed that should not \(KeyError: 'wifi'\); the daemon's log says where"


@pytest.mark.parametrize("culprit", ["condition", "switch", "switch back"])
def test_a_defect_in_the_middle_takes_the_configuration_back(
    box: Box, monkeypatch: pytest.MonkeyPatch, culprit: str
) -> None:
    async def story(running: Running) -> None:
        gateway, calls = running.gateway, 0
        true = getattr(gateway, culprit.partition(" ")[0])

        async def fail(*asked: object, **how: object) -> object:
            nonlocal calls
            calls += 1
            found = await true(*asked, **how)
            if calls == 1 or (culprit == "switch back" and calls == 2):
                raise KeyError("wifi")
            return found

        with monkeypatch.context() as broken:
            broken.setattr(gateway, culprit.partition(" ")[0], fail)
            with pytest.raises(Refused, match=f"Rolled back to generation 1: {FAULT}"):
                await running.apply(AFTER, confirm_within_s=60)
        assert calls > 0
        assert box.holds(gateway.intent)
        standing = running.transactions.standing()
        assert (standing.generation, standing.pending_confirm_s) == (1, None)
        assert (await running.apply(AFTER)).generation == 3  # it goes on serving

    play(box, story)
    assert results(box) == ["committed", "rolled back", "committed"]
    assert "KeyError" in box.archive().generations.get(2).reason


def test_a_defect_before_anything_is_touched_is_said_and_nothing_else(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(running: Running) -> None:
        async def fail(_: CpeIntent) -> None:
            raise KeyError("wifi")

        with monkeypatch.context() as broken:
            broken.setattr(running.gateway, "preview", fail)
            with pytest.raises(HagwError, match=f"Nothing was changed: {FAULT}"):
                await running.apply(AFTER)
        assert (await running.apply(AFTER)).result == "in force"

    play(box, story)


def test_a_defect_while_it_is_confirmed_takes_it_back(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(running: Running) -> None:
        await running.apply(AFTER, confirm_within_s=60)

        def fail(*_: object, **__: object) -> str:
            raise KeyError("wifi")

        with monkeypatch.context() as broken:
            broken.setattr(Archive, "commit", fail)
            with pytest.raises(Refused, match=f"Rolled back to generation 1: {FAULT}"):
                await running.transactions.confirm()
        assert box.holds(running.gateway.intent)
        assert running.transactions.standing().pending_confirm_s is None

    play(box, story)
    assert (box.directory / "state" / "in-force").read_text() == BEFORE


def test_a_wrong_configuration_names_its_lines_and_touches_nothing(box: Box) -> None:
    async def story(running: Running) -> None:
        before = box.writes()
        with pytest.raises(ConfigError, match=r"test\.yaml:2: role"):
            await running.apply(BEFORE.replace("role: cpe", "role: toaster"))
        assert box.writes() == before

    play(box, story)


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


# --- cut short

STEPS_MAX = 200


def cut_short(directory: Path, steps: int, confirm_within_s: float | None) -> bool:
    """Apply AFTER with power for so many steps, start anew, and judge; say whether the power lasted."""
    directory.mkdir()
    box = Box(directory)
    box.file.write_text(BEFORE)
    play(box, nothing)
    lasted = True

    async def story(running: Running) -> None:
        box.power.left = steps
        await running.apply(AFTER, confirm_within_s=confirm_within_s, write_file=True)

    try:
        play(box, story)
    except PowerLost:
        lasted = False
    box.power.left = None

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
    lasted = True

    async def story(running: Running) -> None:
        await running.apply(AFTER, confirm_within_s=None if verb == "rollback of what is kept" else 30.0)
        box.power.left = steps
        verbs = running.transactions
        await running.powered(verbs.confirm() if verb == "confirm" else verbs.rollback(None, "tester", None))

    try:
        play(box, story)
    except PowerLost:
        lasted = False
    box.power.left = None

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
