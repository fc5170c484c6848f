"""Transactions that are refused, or that take themselves back because something does not work."""

from dataclasses import replace
from ipaddress import IPv4Address, ip_address

import pytest

from hagw.control import transaction
from hagw.control.inforce import Archive
from hagw.control.wish import Wish
from hagw.errors import ConfigError, HagwError, Refused
from hagw.model.health import GatewayHealth
from hagw.model.intent import CpeIntent
from hagw.plan.caller import Caller
from tests.unit.control.transactions import AFTER, BEFORE, KEY, Box, Running, config, play, results

HAG = f"version: 1\nrole: hag\nlisten: {{addresses: ['::']}}\ncustomers: [{{name: home, key: '{KEY}'}}]\n"


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
        assert (await running.transactions.plan(Wish(text, "x"))).obstacles
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
