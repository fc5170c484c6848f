"""The configuration over the API's real Unix socket and the client of the command line."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hagw.access.desk import Desk
from hagw.api import server
from hagw.cli.app import run
from hagw.cli.client import get, post
from hagw.control.door import answers
from hagw.control.durable import Disk
from hagw.errors import ConfigError, HagwError, Refused
from hagw.history.keeper import Keeper, Tap
from tests.unit.control.transactions import Box, config

BEFORE = config("dsl", "lte")
AFTER = config("dsl", "wifi", rules=2)


class Client:
    """Asks in a thread, as the command line would."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def get(self, resource: str) -> dict[str, Any]:
        return await asyncio.to_thread(get, self.path, f"/config{resource}")

    async def post(self, resource: str, **body: Any) -> dict[str, Any]:
        return await asyncio.to_thread(post, self.path, f"/config{resource}", body)


def serve(tmp_path: Path, story: Callable[[Client, Box], Awaitable[None]]) -> None:
    box = Box(tmp_path)
    box.file.write_text(BEFORE)
    path = tmp_path / "hagw.sock"

    async def scenario() -> None:
        async with box.running() as running, asyncio.TaskGroup() as group:
            task = group.create_task(
                server.serve(
                    running.gateway,
                    running.transactions,
                    Desk(tmp_path, Disk()),
                    Keeper(tmp_path, Tap()),
                    path,
                    tmp_path / "web.sock",
                )
            )
            while not await answers(path):
                await asyncio.sleep(0.01)
            await story(Client(path), box)
            task.cancel()

    asyncio.run(scenario())


def test_plan_apply_and_history(tmp_path: Path) -> None:
    async def story(client: Client, box: Box) -> None:
        planned = await client.post("/plan", text=AFTER)
        assert "uplink wifi comes, dsl on wifi0" in planned["changes"]
        assert "add the rule that IPv4 packets from 192.0.3.2 take uplink wifi" in planned["steps"]
        assert planned["obstacles"] == []
        applied = await client.post("/apply", text=AFTER, by="me", note="for wifi")
        assert (applied["schema"], applied["result"], applied["generation"]) == (1, "in force", 2)
        assert box.file.read_text() == AFTER
        history = await client.get("/history")
        assert [entry["result"] for entry in history["generations"]] == ["committed", "committed"]
        assert (history["generations"][1]["by"], history["generations"][1]["note"]) == ("me", "for wifi")
        assert (await client.get(""))["text"] == AFTER

    serve(tmp_path, story)


def test_diff_between_what_is_in_force_the_file_and_generations(tmp_path: Path) -> None:
    async def story(client: Client, box: Box) -> None:
        box.file.write_text(AFTER)
        assert (await client.get("/history"))["file_differs"]
        between = await client.get("/diff")
        assert (between["a"], between["b"], between["equal"]) == ("generation 1", "the file", False)
        assert "-  - {name: lte, kind: dsl, interface: lte0}" in between["diff"]
        assert (await client.get("/diff?a=1&b=1"))["equal"]
        with pytest.raises(Refused, match="There is no generation 7"):
            await client.get("/diff?a=7")
        with pytest.raises(Refused, match="neither"):
            await client.get("/diff?a=yesterday")

    serve(tmp_path, story)


def test_without_a_text_the_file_is_meant(tmp_path: Path) -> None:
    async def story(client: Client, box: Box) -> None:
        box.file.write_text(AFTER)
        assert (await client.post("/apply"))["generation"] == 2
        box.file.unlink()
        with pytest.raises(Refused, match="file cannot be read"):
            await client.post("/apply")

    serve(tmp_path, story)


def test_pending_confirm_and_rollback(tmp_path: Path) -> None:
    async def story(client: Client, box: Box) -> None:
        assert (await client.post("/apply", text=AFTER, confirm_within_s=20))["pending_confirm_s"] == 20
        assert (await client.get(""))["pending_confirm_s"] == 20
        with pytest.raises(Refused, match="waits for its confirmation"):
            await client.post("/apply", text=BEFORE)
        assert (await client.post("/rollback", by="me"))["result"] == "rolled back"
        await client.post("/apply", text=AFTER, confirm_within_s=20)
        assert (await client.post("/confirm"))["result"] == "in force"
        assert (await client.post("/rollback", generation=1))["generation"] == 4

    serve(tmp_path, story)


def test_mistakes_come_back_with_their_lines(tmp_path: Path) -> None:
    wrong = BEFORE.replace("role: cpe", "role: toaster")

    async def story(client: Client, box: Box) -> None:
        for resource in ("/plan", "/apply"):
            with pytest.raises(ConfigError, match=r"mine\.yaml:2: role: 'toaster'"):
                await client.post(resource, text=wrong, filename="mine.yaml")
        checked = await client.post("/check", text=wrong, filename="mine.yaml")
        assert (checked["ok"], checked["issues"][0]["line"]) == (False, 2)
        assert (await client.post("/check", text=AFTER))["ok"]

    serve(tmp_path, story)


NOTED = BEFORE.replace("uplinks:", "uplinks:  # the copper comes first").replace("dsl0}", "dsl0, cost: 1}  # flat rate")


def test_one_value_is_set_as_a_transaction_and_everything_else_stays_as_it_was_written(tmp_path: Path) -> None:
    async def story(client: Client, box: Box) -> None:
        await client.post("/apply", text=NOTED)
        answer = await client.post("/set", path="uplinks.dsl.cost", value=20, by="me", note="dearer")
        assert (answer["schema"], answer["result"], answer["generation"]) == (1, "in force", 3)
        assert [line[0] for line in answer["lines"]] == ["-", "+"]
        assert box.file.read_text() == NOTED.replace("cost: 1}", "cost: 20}")
        assert (await client.get(""))["text"] == box.file.read_text()
        assert (await client.get("/history"))["generations"][-1]["note"] == "dearer"
        for path, value, written in (
            ("uplinks.lte.metered", True, "metered: true"),
            ("pool.size_min", 3, "size_min: 3"),
            ("bypass", ["198.18.0.0/15"], "198.18.0.0/15"),
        ):
            await client.post("/set", path=path, value=value)
            assert written in box.file.read_text()
        assert (await client.post("/set", path="uplinks.lte.metered", value=True))["result"] == "unchanged"
        await client.post("/set", path="uplinks.lte.metered", value=None)
        assert "metered" not in box.file.read_text()
        assert (await client.post("/set", path="pool.size_min", value=4, confirm_within_s=20))[
            "pending_confirm_s"
        ] == 20
        await client.post("/rollback")
        assert "size_min: 3" in box.file.read_text()

    serve(tmp_path, story)


@pytest.mark.parametrize(
    ("path", "value", "blamed"),
    [
        ("uplinks.lte.cost", "cheap", "uplinks[1].cost: a whole number is wanted, not cheap"),
        ("uplinks.lte.costs", 3, "uplinks[1].costs: unknown key; did you mean 'cost'?"),
        ("uplinks.mobile.cost", 3, "no entry is called 'mobile'"),
        ("uplinks.lte.interface", "dsl0", "another uplink has this interface"),
        ("pool.size_max", None, "pool"),
    ],
)
def test_a_bad_value_is_refused_in_the_words_of_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], path: str, value: Any, blamed: str
) -> None:
    async def story(client: Client, box: Box) -> None:
        before = box.writes()
        with pytest.raises(ConfigError) as refused:
            await client.post("/set", path=path, value=value)
        assert blamed in str(refused.value)
        assert str(refused.value).startswith(str(box.file))
        assert (box.writes(), box.file.read_text()) == (before, BEFORE)
        if value is not None:
            assert run(["set", "--file", str(box.file), path, str(value)]) == 2
            assert capsys.readouterr().err.strip().removeprefix("hagw: ") == str(refused.value)

    serve(tmp_path, story)


def test_a_value_is_not_set_beside_edits_that_were_never_applied(tmp_path: Path) -> None:
    async def story(client: Client, box: Box) -> None:
        box.file.write_text(AFTER)
        with pytest.raises(Refused, match="says something else than what is in force"):
            await client.post("/set", path="uplinks.lte.cost", value=3)
        assert box.file.read_text() == AFTER

    serve(tmp_path, story)


def test_what_would_cut_the_caller_off_is_refused(tmp_path: Path) -> None:
    async def story(client: Client, box: Box) -> None:
        caller = {"client": "203.0.113.9", "server": "192.0.2.2"}
        with pytest.raises(Refused, match="cut your own session"):
            await client.post("/apply", text=AFTER, caller=caller)
        assert (await client.post("/plan", text=AFTER, caller=caller))["obstacles"]

    serve(tmp_path, story)


@pytest.mark.parametrize("body", [{"txt": "x"}, {"confirm_within_s": 0}, {"text": 5}, {"caller": {"client": "x"}}])
def test_what_is_not_a_request_is_refused(tmp_path: Path, body: dict[str, Any]) -> None:
    async def story(client: Client, box: Box) -> None:
        before = box.writes()
        with pytest.raises(HagwError):
            await client.post("/apply", **body)
        assert box.writes() == before

    serve(tmp_path, story)


def test_a_caller_who_hangs_up_cuts_nothing_short(tmp_path: Path) -> None:
    async def story(client: Client, box: Box) -> None:
        _, writer = await asyncio.open_unix_connection(str(client.path))
        body = b'{"confirm_within_s": 60}'
        box.file.write_text(AFTER)
        head = b"POST /api/v1/config/apply HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "
        writer.write(head + str(len(body)).encode() + b"\r\n\r\n" + body)
        await writer.drain()
        writer.close()
        async with asyncio.timeout(20.0):
            while (await client.get(""))["pending_confirm_s"] is None:
                await asyncio.sleep(0.01)

    serve(tmp_path, story)


def test_rules_go_out_and_in_by_the_names_of_3gpp(tmp_path: Path) -> None:
    async def story(client: Client, box: Box) -> None:
        two = {"three_gpp": "lte", "non_three_gpp": "dsl"}
        rule = {"pccRuleId": "r", "precedence": 1, "flowInfos": [{"flowDescription": "permit out 6 from any to any"}]}
        mode = {"steerModeValue": "PRIORITY_BASED", "prioAcc": "NON_3GPP_ACCESS"}
        document = {
            "pccRules": {"r": {**rule, "refTcData": ["r"]}},
            "traffContDecs": {"r": {"tcId": "r", "steerFun": "MPTCP", "steerModeUl": mode, "steerModeDl": mode}},
        }
        assert (await client.post("/3gpp", document=document, **two))["result"] == "in force"
        assert "steering:\n      mode: priority-based\n      uplinks: [dsl, lte]" in box.file.read_text()
        out = await client.get("/3gpp?three_gpp=lte&non_three_gpp=dsl")
        assert out["document"]["traffContDecs"] == document["traffContDecs"]
        with pytest.raises(ConfigError, match="refTcData: the id of one"):
            await client.post("/3gpp", document={**document, "traffContDecs": {}}, **two)

    serve(tmp_path, story)
