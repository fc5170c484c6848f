"""What the web process is told: where the LAN is, never where an uplink is, and no secret."""

import asyncio
import json
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

from hagw.control.web_front import front, keep_web_told
from hagw.model.intent import Intent, WebIntent
from hagw.web.settings import Settings, load_settings
from tests.fakes import CPE, HAG


def test_a_cpe_listens_on_its_lan_and_a_hag_nowhere_unless_told() -> None:
    assert (front(CPE)["interfaces"], front(CPE)["addresses"]) == (["lan0"], [])
    assert (front(HAG)["interfaces"], front(HAG)["addresses"]) == ([], [])
    told = WebIntent(addresses=(ip_address("10.0.0.5"),))
    assert (front(replace(CPE, web=told))["interfaces"], front(replace(CPE, web=told))["addresses"]) == (
        [],
        ["10.0.0.5"],
    )


def test_the_file_follows_the_configuration_in_force(tmp_path: Path) -> None:
    intents: list[Intent] = [CPE]

    async def scenario() -> None:
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            telling = group.create_task(keep_web_told(lambda: intents[-1], tmp_path))
            while (first := load_settings(tmp_path / "web.json")) is None:
                await asyncio.sleep(0.01)
            assert first == Settings(interfaces=("lan0",))
            intents.append(replace(CPE, web=WebIntent(enabled=False, port=9443, names=("a.example",))))
            while (second := load_settings(tmp_path / "web.json")) == first:
                await asyncio.sleep(0.05)
            assert second == Settings(False, 9443, ("lan0",), (), ("a.example",))
            telling.cancel()

    asyncio.run(scenario())
    assert bytes(32).hex() not in (tmp_path / "web.json").read_text()
    assert json.loads((tmp_path / "web.json").read_text())["schema"] == 1
