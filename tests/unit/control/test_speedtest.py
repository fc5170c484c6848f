"""Speed tests: one at a time, within what a line may cost, cancelled at once; over a real socket too."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from hagw.control.speedtest import METERED_BYTES_MAX, Moved, Speedtests
from hagw.errors import Refused
from hagw.model.intent import SpeedtestIntent
from hagw.model.snapshot import CpeSnapshot, UplinkView
from hagw.probe.speed import NotMoved, move
from tests.fakes import CPE, HAG

DSL = UplinkView(1, "dsl", "lo", 1, "127.0.0.1", None, "up")
LTE = replace(DSL, slot=2, name="lte", metered=True)
DEAD = replace(DSL, slot=3, name="sat", state="down")
TESTABLE = replace(CPE, speedtest=SpeedtestIntent("http://speed.example.net/", "http://speed.example.net/"))


@dataclass
class World:
    """What a test needs, with a mover that does as it is told."""

    pace: int = 1_000_000
    caps: list[Any] = field(default_factory=list)
    intent: Any = TESTABLE
    told: list[dict[str, Any]] = field(default_factory=list)
    failure: Exception | None = None
    moved: int = 0

    def tests(self) -> Speedtests:
        snapshot = CpeSnapshot(1, (DSL, LTE, DEAD), (), (), CPE.pool, CPE.limits, "cubic")
        made = Speedtests(lambda: self.intent, lambda: snapshot, lambda: self.caps, self._move)
        made.on_change = self.told.append
        return made

    async def _move(self, uplink: UplinkView, url: str, direction: str, limit_bytes: int, moved: Moved) -> None:
        if self.failure is not None:
            raise self.failure
        left = limit_bytes
        while left > 0:
            await asyncio.sleep(0.01)
            moved(min(left, self.pace))
            self.moved += min(left, self.pace)
            left -= self.pace


def play(world: World, story: Callable[[Speedtests], Awaitable[None]]) -> None:
    async def scenario() -> None:
        tests = world.tests()
        running = asyncio.get_running_loop().create_task(tests.run())
        await story(tests)
        running.cancel()

    asyncio.run(scenario())


async def ended(tests: Speedtests, test_id: str) -> dict[str, Any]:
    while (found := tests.get(test_id)) is not None and found["state"] == "running":
        await asyncio.sleep(0.01)
    assert found is not None
    return found


def test_a_line_is_tested_with_progress_and_a_rate() -> None:
    world = World()

    async def story(tests: Speedtests) -> None:
        begun = tests.start("lte", "down")
        found = await ended(tests, begun["id"])
        assert (found["state"], found["bytes"], found["progress"]) == ("done", METERED_BYTES_MAX, 1.0)
        assert found["rate_bps"] > 0
        assert tests.all() == [found]

    play(world, story)
    assert [told["state"] for told in world.told][-1] == "done"


def test_a_metered_or_capped_line_costs_little() -> None:
    cap = {"uplinks": ["dsl"], "volume_bytes": 50_000_000, "used_bytes": 10_000_000}
    none = {"volume_down_bytes": None, "used_down_bytes": 0, "volume_up_bytes": None, "used_up_bytes": 0}
    world = World(caps=[{**cap, **none}])

    async def story(tests: Speedtests) -> None:
        assert tests.start("dsl", "up")["limit_bytes"] == 400_000
        await ended(tests, "s1")
        world.caps[0]["used_bytes"] = 49_999_999
        with pytest.raises(Refused, match="too little"):
            tests.start("dsl", "up")
        assert tests.start("lte", "up", 200_000)["limit_bytes"] == 200_000

    play(world, story)


def test_one_at_a_time_and_cancelled_at_once() -> None:
    world = World(pace=1_000)

    async def story(tests: Speedtests) -> None:
        begun = tests.start("dsl", "down")
        with pytest.raises(Refused, match="running already"):
            tests.start("lte", "down")
        while not world.moved:
            await asyncio.sleep(0.01)
        cancelled = tests.cancel(begun["id"])
        assert cancelled is not None
        assert cancelled["state"] == "cancelled"
        assert tests.cancel("s9") is None
        again = tests.start("lte", "down", 100_000)
        assert (await ended(tests, again["id"]))["state"] == "done"
        found = tests.get(begun["id"])
        assert found is not None
        assert found["state"] == "cancelled"
        assert 0 < found["bytes"] < 100_000

    play(world, story)


def test_what_cannot_be_tested_is_refused_and_what_fails_says_why() -> None:
    world = World(failure=NotMoved("The server says 'HTTP/1.1 404'."))

    async def story(tests: Speedtests) -> None:
        for line in ("sat", "none"):
            with pytest.raises(Refused):
                tests.start(line, "down")
        failed = await ended(tests, tests.start("dsl", "down")["id"])
        assert (failed["state"], failed["reason"]) == ("failed", "The server says 'HTTP/1.1 404'.")
        world.intent = CPE
        with pytest.raises(Refused, match=r"speedtest\.down"):
            tests.start("dsl", "down")
        world.intent = HAG
        with pytest.raises(Refused, match="HAG"):
            tests.start("dsl", "down")

    play(world, story)


@dataclass
class Server:
    """An HTTP server that sends and takes bytes."""

    status: bytes = b"200 OK"
    received: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"GET"):
                writer.write(b"HTTP/1.1 " + self.status + b"\r\nContent-Length: 9000000\r\n\r\n" + bytes(3_000_000))
                await writer.drain()
            while data := await reader.read(1 << 16):
                self.received += len(data)
        except ConnectionError:
            pass  # a test ends when it has seen enough
        finally:
            writer.transport.abort()


def test_bytes_are_moved_over_a_real_connection_and_no_more_than_allowed() -> None:
    async def scenario() -> None:
        here = Server()
        server = await asyncio.start_server(here.serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/bytes?n=1"
        async with server:
            pieces: list[int] = []
            await move(DSL, url, "down", 1_000_000, pieces.append)
            assert sum(pieces) == 1_000_000
            pieces.clear()
            await move(DSL, url, "up", 500_000, pieces.append)
            assert sum(pieces) == 500_000
            here.status = b"404 Not Found"
            with pytest.raises(NotMoved, match="404"):
                await move(DSL, url, "down", 1_000_000, pieces.append)
            for odd in ("http://127.0.0.1:99999/", "http://[::1/", f"http://{'a' * 70}.example/"):
                with pytest.raises(NotMoved, match="cannot be asked"):
                    await move(DSL, odd, "down", 1_000_000, pieces.append)
            with pytest.raises(NotMoved, match="no address"):
                await move(replace(DSL, address4=None), url, "down", 1_000_000, pieces.append)

    asyncio.run(scenario())
