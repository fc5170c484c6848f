"""What operators do with the configuration: they never see a key, change what is theirs, and nothing gets lost."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from hagw.config.share import is_masked
from hagw.model.web import CLIENT_HEADER, SERVER_HEADER
from tests.unit.access.desk_rig import Rig
from tests.unit.api.web_rig import Web
from tests.unit.control.transactions import KEY, Box, Running, config

BEFORE = "# ours\n" + config("dsl", "lte", rules=1)
RULE = {"name": "films", "precedence": 9, "traffic": {"destination_port": ["443"]}, "steering": {"mode": "direct"}}


@dataclass
class Scene:
    """A running control plane, and everybody's session at its API."""

    web: Web
    box: Box
    running: Running
    secrets: dict[str, str]

    async def ask(self, role: str, method: str, path: str, **body: Any) -> httpx.Response:
        return await self.web.ask(method, path, self.secrets[role], json=body)

    async def good(self, role: str, method: str, path: str, **body: Any) -> dict[str, Any]:
        answer = await self.ask(role, method, path, **body)
        assert answer.is_success, answer.text
        assert KEY not in answer.text or role == "admin"
        found: dict[str, Any] = answer.json()
        return found

    async def draft(self, *edits: dict[str, Any]) -> str:
        """Return what an operator's page makes of the text it is shown."""
        shown = await self.good("operator", "GET", "/config")
        assert is_masked(shown["text"])
        edited = await self.good("operator", "POST", "/config/edit", text=shown["text"], edits=list(edits))
        assert edited["issues"] == []
        text: str = edited["text"]
        return text


def play(tmp_path: Path, story: Callable[[Scene], Awaitable[None]]) -> None:
    box = Box(tmp_path)
    box.file.write_text(BEFORE)

    async def scenario() -> None:
        async with box.running() as running:
            web = Web(Rig(tmp_path / "desk"), running.gateway, running.transactions)
            await story(Scene(web, box, running, await web.everybody()))

    asyncio.run(scenario())


def test_an_operator_plans_and_applies_rules_in_a_text_without_keys(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        draft = await scene.draft({"path": "rules[1]", "value": RULE}, {"path": "uplinks.lte.cost", "value": 3})
        assert (await scene.good("operator", "POST", "/config/check", text=draft))["ok"]
        planned = await scene.good("operator", "POST", "/config/plan", text=draft)
        assert any("films" in change for change in planned["changes"])
        applied = await scene.good("operator", "POST", "/config/apply", text=draft, base_generation=1, note="films")
        assert (applied["result"], applied["generation"]) == ("in force", 2)
        there = scene.box.file.read_text()
        assert KEY in there
        assert there.startswith("# ours\n")
        assert [rule.name for rule in scene.running.gateway.intent.rules] == ["r0", "films"]  # type: ignore[union-attr]  # a CPE's
        history = await scene.good("operator", "GET", "/config/history")
        assert (history["generations"][-1]["by"], history["generations"][-1]["note"]) == ("eva-operator", "films")

    play(tmp_path, story)


def test_what_is_an_admins_is_refused_by_name_and_changes_nothing(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        shown = (await scene.good("operator", "GET", "/config"))["text"]
        for other, place in (
            (shown.replace("interface: dsl0", "interface: eth0"), "uplinks[0]"),
            (shown.replace("lan0", "lan1"), "lan"),
            (BEFORE.replace("home", "away"), "gateways"),
        ):
            answer = await scene.ask("operator", "POST", "/config/apply", text=other)
            assert answer.status_code == 403, answer.text
            assert [each["path"] for each in answer.json()["errors"]] == [place]
            if is_masked(other):
                edited = await scene.good("operator", "POST", "/config/edit", text=other)
                assert [issue["path"] for issue in edited["issues"]] == [place]
        assert (await scene.ask("operator", "POST", "/config/apply")).status_code == 422
        assert (await scene.ask("viewer", "POST", "/config/apply", text=shown)).status_code == 403
        assert scene.box.file.read_text() == BEFORE
        assert scene.running.transactions.standing().generation == 1

    play(tmp_path, story)


def test_an_operator_goes_back_in_rules_and_no_further(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        other = BEFORE.replace(KEY, KEY[::-1])
        assert (await scene.good("admin", "POST", "/config/apply", text=other))["generation"] == 2
        assert (await scene.ask("viewer", "POST", "/config/rollback")).status_code == 403
        for body in ({}, {"generation": 1}):
            answer = await scene.ask("operator", "POST", "/config/rollback", **body)
            assert answer.status_code == 403, answer.text
            assert [each["path"] for each in answer.json()["errors"]] == ["gateways"]
        assert scene.box.file.read_text() == other
        edits = [{"path": "rules[1]", "value": RULE}, {"path": "uplinks.lte.cost", "value": 3}]
        assert (await scene.good("operator", "POST", "/config/apply", text=await scene.draft(*edits)))[
            "generation"
        ] == 3
        back = await scene.good("operator", "POST", "/config/rollback", generation=2)
        assert (back["result"], back["generation"]) == ("in force", 4)
        assert scene.running.gateway.intent.rules[1:] == ()  # type: ignore[union-attr]  # a CPE's
        assert KEY[::-1] in scene.box.file.read_text()
        history = await scene.good("operator", "GET", "/config/history")
        assert history["generations"][-1]["note"] == "generation 2 again"
        assert (await scene.ask("operator", "POST", "/config/rollback", generation=99)).status_code == 409
        assert (await scene.good("admin", "POST", "/config/rollback", generation=1))["generation"] == 5

    play(tmp_path, story)


def test_an_operator_takes_back_what_is_pending_and_nothing_more_with_it(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        assert (await scene.ask("operator", "POST", "/config/rollback")).status_code == 409  # there is none older
        other = BEFORE.replace(KEY, KEY[::-1])
        assert (await scene.good("admin", "POST", "/config/apply", text=other))["generation"] == 2
        draft = await scene.draft({"path": "rules[1]", "value": RULE})
        pending = await scene.good("operator", "POST", "/config/apply", text=draft, confirm_within_s=60)
        assert (pending["result"], pending["generation"]) == ("pending", 3)
        further = await scene.ask("operator", "POST", "/config/rollback", generation=1)
        assert (further.status_code, scene.running.transactions.standing().generation) == (409, 3)
        back = await scene.good("operator", "POST", "/config/rollback")
        assert (back["result"], back["generation"]) == ("rolled back", 2)

    play(tmp_path, story)


def test_two_edits_of_the_same_generation_are_not_both_taken(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        mine = await scene.draft({"path": "rules[1]", "value": RULE})
        theirs = BEFORE.replace("home", "away")
        assert (await scene.good("admin", "POST", "/config/apply", text=theirs, base_generation=1))["generation"] == 2
        late = await scene.ask("operator", "POST", "/config/apply", text=mine, base_generation=1)
        assert (late.status_code, late.json()["stale"], late.json()["generation"]) == (409, True, 2)
        assert "films" not in scene.box.file.read_text()

    play(tmp_path, story)


def test_a_draft_with_a_mistake_tells_it_at_its_place(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        shown = (await scene.good("operator", "GET", "/config"))["text"]
        wrong = {**RULE, "steering": {"mode": "sideways"}}
        edits = [{"path": "rules[1]", "value": wrong}]
        edited = await scene.good("operator", "POST", "/config/edit", text=shown, edits=edits)
        assert [issue["path"] for issue in edited["issues"]] == ["rules[1].steering.mode"]
        answer = await scene.ask("operator", "POST", "/config/apply", text=edited["text"])
        assert answer.status_code == 422
        assert [each["path"] for each in answer.json()["errors"]] == ["rules[1].steering.mode"]

    play(tmp_path, story)


def test_explain_says_what_a_candidate_would_do_and_changes_nothing(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        flow = {"client": "192.168.1.2", "server": "203.0.113.10", "port": 443}
        draft = await scene.draft({"path": "rules[1]", "value": RULE})
        before = await scene.good("operator", "POST", "/explain", **flow)
        assert before == await scene.good("viewer", "GET", "/explain?client=192.168.1.2&server=203.0.113.10&port=443")
        then = await scene.good("operator", "POST", "/explain", **flow, text=draft)
        assert (before["rule"], then["rule"]) == ("default", "films")
        assert [rule["name"] for rule in then["rules"]] == ["r0", "films", "default"]
        other = await scene.good("admin", "POST", "/explain", **flow, text=config("dsl", rules=1))
        assert [line["name"] for line in other["uplinks"]] == ["dsl"]
        assert await scene.good("operator", "POST", "/explain", **flow) == before
        wrong = await scene.ask("operator", "POST", "/explain", **flow, text="version: 1")
        assert wrong.status_code == 422
        hag = "version: 1\nrole: hag\nlisten: {addresses: ['0.0.0.0']}\ncustomers: []\n"
        assert (await scene.ask("admin", "POST", "/explain", **flow, text=hag)).status_code == 409

    play(tmp_path, story)


@pytest.mark.parametrize(
    ("client", "server", "cut"),
    [
        ("192.0.2.7", "192.0.1.2 8443", True),
        ("127.0.0.1", "127.0.0.1 8443", False),
        ("192.0.2.7", "nonsense", False),
        ("2001:db8::7", "192.0.1.2 8443", False),
    ],
)
def test_the_browsers_own_session_is_not_cut_off(tmp_path: Path, client: str, server: str, cut: bool) -> None:
    """It came in over dsl, at the line's own address: without the line, answers would not leave by it any more."""

    async def story(scene: Scene) -> None:
        headers = {CLIENT_HEADER: client, SERVER_HEADER: server}
        body = {"text": config("lte")}
        answer = await scene.web.ask("POST", "/config/plan", scene.secrets["admin"], json=body, headers=headers)
        assert any("your own session" in each for each in answer.json()["obstacles"]) == cut, answer.text

    play(tmp_path, story)
