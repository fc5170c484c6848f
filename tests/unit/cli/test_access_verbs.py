"""`hagw user`, `hagw token` and `hagw web-password`, against the real API."""

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hagw.api import server
from hagw.cli.app import run
from hagw.control.door import answers
from hagw.history.keeper import Keeper, Tap
from tests.unit.access.desk_rig import PASSWORD, Rig
from tests.unit.web.site_rig import Daemon, Silent

HOME = "192.168.77.11"
Ask = Callable[..., Awaitable[str]]


def play(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    story: Callable[[Rig, Ask], Awaitable[None]],
) -> None:
    monkeypatch.setenv("HAGW_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("HAGW_STATE_DIR", str(tmp_path / "state"))

    async def ask(*argv: str, code: int = 0, stdin: str = "") -> str:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        assert await asyncio.to_thread(run, list(argv)) == code, capsys.readouterr()
        said = capsys.readouterr()
        return said.out if code == 0 else said.err

    async def scenario() -> None:
        rig = Rig(tmp_path / "state")
        path = tmp_path / "hagw.sock"
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            keeper = Keeper(tmp_path / "kept", Tap())
            parts: Any = (Daemon(), Silent(), rig.desk, keeper, path, tmp_path / "web.sock")
            serving = group.create_task(server.serve(*parts))
            while not await answers(path):
                await asyncio.sleep(0.01)
            capsys.readouterr()
            await story(rig, ask)
            serving.cancel()

    asyncio.run(scenario())


def test_an_owner_lets_somebody_in_and_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story(rig: Rig, ask: Ask) -> None:
        first = json.loads(await ask("web-password", "--json"))
        assert (first["user"], first["password"]) == ("admin", rig.first_password())
        made = (await ask("user", "add", "eva", "operator")).removeprefix("password: ").strip()
        opened = await rig.desk.log_in("eva", made, HOME, "")
        assert (opened.login.role, opened.login.must_change) == ("operator", True)
        assert "eva    operator" in await ask("user", "list")
        await ask("user", "role", "eva", "viewer")
        await ask("user", "passwd", "eva", "--password-stdin", stdin=f"{PASSWORD}\n")
        again = await rig.desk.log_in("eva", PASSWORD, HOME, "")
        assert (again.login.role, again.login.must_change) == ("viewer", False)
        await ask("user", "remove", "eva")
        assert rig.desk.who(again.secret, HOME) is None
        assert "only admin" in await ask("user", "remove", "admin", code=1)
        assert "There is no user" in await ask("user", "role", "nobody", "viewer", code=1)
        await ask("user", "passwd", "admin")
        assert "no first password" in await ask("web-password", code=1)

    play(tmp_path, monkeypatch, capsys, story)


def test_who_is_logged_in_is_listed_and_logged_out_and_what_was_done_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story(rig: Rig, ask: Ask) -> None:
        await ask("user", "passwd", "admin", "--password-stdin", stdin=f"{PASSWORD}\n")
        opened = await rig.desk.log_in("admin", PASSWORD, HOME, "")
        (session,) = json.loads(await ask("user", "sessions", "--json"))["sessions"]
        assert f"{session['id']}  admin  {HOME}" in await ask("user", "sessions")
        await ask("user", "log-out", session["id"])
        assert rig.desk.who(opened.secret, HOME) is None
        assert "There is no session" in await ask("user", "log-out", session["id"], code=1)
        (newest, before, *_) = json.loads(await ask("audit", "--last", "2", "--json"))["audit"]
        assert (newest["status"], before["status"], before["detail"]) == (404, 200, f"session {session['id']} of admin")
        assert len((await ask("audit", "--last", "1")).splitlines()) == 2

    play(tmp_path, monkeypatch, capsys, story)


def test_a_token_is_printed_once_and_revoked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story(rig: Rig, ask: Ask) -> None:
        await ask("user", "passwd", "admin", "--password-stdin", stdin=f"{PASSWORD}\n")
        secret = (await ask("token", "add", "admin", "prometheus", "--scope", "metrics", "--days", "1")).strip()
        login = rig.desk.who(secret, HOME)
        assert login is not None
        assert (login.role, login.scopes) == ("viewer", ("metrics",))
        listed = await ask("token", "list")
        assert "prometheus" in listed
        assert secret not in listed
        await ask("token", "remove", json.loads(await ask("token", "list", "--json"))["tokens"][0]["id"])
        assert rig.desk.who(secret, HOME) is None

    play(tmp_path, monkeypatch, capsys, story)
