"""The API over its real Unix socket."""

import asyncio
import json
import socket
import stat
import time
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hagw.access.desk import Desk
from hagw.api import flows as module
from hagw.api import server
from hagw.api.flows import KNOWN_MAX, Recent
from hagw.api.guard import Guard
from hagw.cli.client import get
from hagw.control.durable import Disk
from hagw.control.standing import Standing
from hagw.control.status import flows_document, status_document
from hagw.control.status_documents import FlowsDocument, StatusDocument
from hagw.errors import HagwError, Refused
from hagw.history.keeper import Keeper, Tap
from hagw.model.flow import FlowKey
from tests.attentive import attentive
from tests.fakes import CPE, FLOW, STATUS_INPUTS


class Daemon:
    """What the API asks of the daemon, with as many flows as the test wants."""

    intent = CPE
    speedtests = None
    customers = None

    def __init__(self, flows: int = 3) -> None:
        self._flows = [{**FLOW, "id": str(number), "started_s": float(number)} for number in range(flows)]
        self.asked_s: list[float] = []

    def status(self) -> StatusDocument:
        return status_document(STATUS_INPUTS)

    async def flows(self, recent_s: float) -> FlowsDocument:
        self.asked_s.append(recent_s)
        return flows_document(self._flows, ())

    async def busiest(self, most: int) -> dict[str, Any]:
        return {"schema": 1, "flows": self._flows[:most], "total": len(self._flows), "incomplete": []}

    async def flow(self, flow_id: str) -> dict[str, Any] | None:
        found = [flow for flow in self._flows if flow["id"] == flow_id]
        return {**found[0], "timeline": []} if found else None

    def explain(self, flow: FlowKey) -> dict[str, Any]:
        return {
            "schema": 1,
            "text": ["flow", f"judged as from {flow.client}"],
            "asked": [flow.client, flow.server, flow.server_port, flow.protocol, flow.domain, flow.mac],
        }


class Document(dict[str, Any]):
    """A document of which one can say whether it is still kept."""


class Unchanged:
    """Transactions that nobody asks for."""

    def standing(self) -> Standing:
        return Standing()


@asynccontextmanager
async def serving(path: Path, daemon: Daemon) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(
            server.serve(
                daemon,
                Unchanged(),
                Desk(path.parent, Disk()),
                Keeper(path.parent, Tap()),
                path,
                path.with_name("web.sock"),
            )
        )
        while not path.exists() or not _answers(path):
            await asyncio.sleep(0.01)
        yield
        task.cancel()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


async def _get(path: Path, resource: str) -> dict[str, Any]:
    return await asyncio.to_thread(get, path, resource)


def _raw(path: Path, request: str) -> tuple[str, dict[str, Any]]:
    """Send a request as text; return the head and the body."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        sock.sendall(f"{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        with sock.makefile("rb") as answer:
            head, _, body = answer.read().partition(b"\r\n\r\n")
    return head.decode(), json.loads(body)


def test_status_flows_and_health_are_served(tmp_path: Path) -> None:
    async def scenario() -> None:
        path, daemon = tmp_path / "hagw.sock", Daemon()
        async with serving(path, daemon):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert await _get(path, "/status") == status_document(STATUS_INPUTS)
            flows = await _get(path, "/flows?recent=5")
            assert [flow["id"] for flow in flows["flows"]] == ["2", "1", "0"]
            assert (flows["schema"], flows["incomplete"], daemon.asked_s) == (1, [], [5.0])
            assert (await _get(path, "/health"))["state"] == "bonded"

    asyncio.run(scenario())


def test_a_flow_is_explained_whether_it_exists_or_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "hagw.sock"
        async with serving(path, Daemon()):
            asked = "client=fd77::11&server=2001:db8::1&port=443&protocol=17&domain=WWW.Example.org."
            found = await _get(path, f"/explain?{asked}")
            assert found["asked"] == ["fd77::11", "2001:db8::1", 443, 17, "www.example.org", None]
            told = (await _get(path, "/flows/1"))["text"]
            assert told[0].startswith("Flow 1: ")
            assert told[-2:] == [
                "Judged now, by the rules and lines of this moment:", f"judged as from {FLOW['client']}"
            ]  # fmt: skip
            for request, status in (
                ("GET /api/v1/flows/9", 404),
                ("GET /api/v1/explain?client=192.0.2.1&server=2001:db8::1", 422),
                ("GET /api/v1/explain?client=192.0.2.1&server=192.0.2.2&domain=-", 422),
                ("GET /api/v1/explain?client=192.0.2.1&server=192.0.2.2&port=65536", 422),
                ("GET /api/v1/explain?client=192.0.2.1&server=192.0.2.2&unknown=1", 422),
            ):
                _, body = await asyncio.to_thread(_raw, path, request)
                assert body["status"] == status, request

    asyncio.run(scenario())


def test_pages_of_flows_keep_few_documents_and_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALE_S", 0.2)

    async def scenario() -> None:
        made: list[weakref.ref[Document]] = []

        class Counting(Daemon):
            async def flows(self, recent_s: float) -> Any:
                document = Document(await super().flows(recent_s))
                made.append(weakref.ref(document))
                return document

        daemon = Counting()
        recent = Recent(daemon)
        asked = [float(each) for each in range(KNOWN_MAX + 2)]
        for recent_s in asked:
            await recent.ask(recent_s)
        assert [ref() is not None for ref in made] == [False, False, *[True] * KNOWN_MAX]
        await recent.ask(asked[-1])
        assert daemon.asked_s == asked, "the newest is known"
        async with asyncio.timeout(10):
            while any(ref() is not None for ref in made):
                await asyncio.sleep(0.02)

    asyncio.run(scenario())


def test_where_names_are_not_wanted_a_flow_is_not_judged_by_them(tmp_path: Path) -> None:
    async def scenario() -> None:
        path, daemon = tmp_path / "hagw.sock", Daemon()
        daemon.intent = replace(CPE, history=replace(CPE.history, domains=False))
        async with serving(path, daemon):
            told = await _get(path, "/flows/1")
            assert told["flow"]["domain"] is None
            assert not any("udged" in line for line in told["text"])

    asyncio.run(scenario())


def test_errors_are_problem_documents(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "hagw.sock"
        async with serving(path, Daemon()):
            for request, status in (
                ("GET /api/v1/nothing", 404),
                ("POST /api/v1/status", 405),
                ("GET /api/v1/flows?recent=soon", 422),
                ("GET /api/v1/flows?recent=-1", 422),
            ):
                head, body = await asyncio.to_thread(_raw, path, request)
                assert "content-type: application/problem+json" in head
                assert (body["status"], set(body) - {"errors"}) == (status, {"type", "title", "status", "detail"})
            with pytest.raises(HagwError, match=r"query\.recent"):
                await _get(path, "/flows?recent=soon")

    asyncio.run(scenario())


def test_other_users_are_refused(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(server, "Guard", lambda app, desk, uids: Guard(app, desk, frozenset({64000})))

    async def scenario() -> None:
        path = tmp_path / "hagw.sock"
        async with serving(path, Daemon()):
            with pytest.raises(Refused, match="Only root"):
                await _get(path, "/status")

    asyncio.run(scenario())


def test_a_thousand_flows_do_not_stall_the_loop(tmp_path: Path) -> None:
    """By the processor's time between two turns of the loop: by the clock, a busy machine would be what is measured."""

    async def scenario() -> float:
        path, worst_s = tmp_path / "hagw.sock", 0.0
        async with serving(path, Daemon(1000)):
            asked = asyncio.create_subprocess_exec(
                "curl", "-s", "--unix-socket", str(path), "http://x/api/v1/flows", stdout=asyncio.subprocess.PIPE
            )
            process = await asked
            async with asyncio.TaskGroup() as group:
                answer = group.create_task(process.communicate())
                while not answer.done():
                    began = time.thread_time()
                    await asyncio.sleep(0)
                    worst_s = max(worst_s, time.thread_time() - began)
            assert len(json.loads(answer.result()[0])["flows"]) == 1000
        return worst_s

    assert min(asyncio.run(scenario()) for _ in range(3)) < 0.02


def test_the_api_ends_at_once_with_an_idle_client_connected(tmp_path: Path) -> None:
    async def scenario() -> float:
        path = tmp_path / "hagw.sock"
        with socket.socket(socket.AF_UNIX) as idle:
            async with attentive() as passed_s:
                async with serving(path, Daemon()):
                    idle.connect(str(path))
                    await asyncio.sleep(0.05)
                    began_s = passed_s()
                return passed_s() - began_s

    assert asyncio.run(scenario()) < 0.5


def test_a_socket_left_by_a_dead_daemon_is_replaced(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "hagw.sock"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        async with serving(path, Daemon()):
            assert (await _get(path, "/status"))["role"] == "cpe"

    asyncio.run(scenario())
