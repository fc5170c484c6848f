"""History over the API: other steps and times, and one answer for all who ask for the same."""

import asyncio
from pathlib import Path

import httpx

from hagw.api.records import HOLDS_S, KEPT_ANSWERS_MAX, Encoded
from hagw.history.keeper import Keeper, Tap
from hagw.history.series import Sample
from tests.unit.access.desk_rig import Rig
from tests.unit.api.web_rig import Web

NOW = 1_790_000_000


def test_answers_are_kept_until_something_new_may_be_in_them() -> None:
    encoded = Encoded()
    question = ("24h", ("uplink.*",), None, None)
    assert encoded.find(question, NOW) is None
    encoded.keep(question, NOW, b"{}")
    assert encoded.find(question, NOW) == b"{}"
    assert encoded.find(("24h", (), None, None), NOW) is None
    assert encoded.find(question, NOW + HOLDS_S["24h"]) is None
    for number in range(5 * KEPT_ANSWERS_MAX):
        encoded.keep(("1h", (str(number),), None, None), NOW, b"x" * 1000)
    assert len(encoded._kept) <= KEPT_ANSWERS_MAX


def test_steps_and_times_are_taken_and_what_is_neither_is_refused(tmp_path: Path) -> None:
    async def ask(web: Web, question: str) -> httpx.Response:
        return await web.here("GET", f"/history?series=uplink.dsl.down_bps&{question}")

    async def story() -> None:
        keeper = Keeper(tmp_path, Tap())
        keeper.series._clock = lambda: float(NOW)
        keeper.series.begin()
        keeper.series.add({"dsl": Sample(1e6, 2e6, 20.0, 0.0, "up")})
        web = Web(Rig(tmp_path / "desk"), keeper=keeper)
        usual = (await ask(web, "range=1h")).json()
        assert (usual["range"], usual["step_s"], usual["begin_unix_s"]) == ("1h", 1, NOW + 1 - 3600)
        assert usual["series"]["uplink.dsl.down_bps"][-1] == 1_000_000
        assert (await ask(web, "range=1h")).json() == usual
        assert (await ask(web, "range=1h&step_s=600")).json()["step_s"] == 600
        assert (await ask(web, f"range=24h&until_unix_s={NOW - 10**6}")).json()["begin_unix_s"] < NOW - 10**6 - 86_000
        for wrong in ("range=2h", "step_s=0", "step_s=x", "until_unix_s=-1"):
            assert (await ask(web, wrong)).status_code == 422, wrong

    asyncio.run(story())
