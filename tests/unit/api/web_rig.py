"""The application behind its guard, asked in-process as the web process asks it, with one login a role."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx

from hagw.access.model import Role
from hagw.api.app import build_app
from hagw.api.guard import Guard
from hagw.api.hub import Hub
from hagw.api.peers import PEER, WEB
from hagw.errors import HagwError
from hagw.history.keeper import Keeper, Tap
from hagw.model.web import CLIENT_HEADER, SESSION_HEADER
from tests.unit.access.desk_rig import PASSWORD, Rig

HOME = "192.168.77.11"
ROLES: tuple[Role, ...] = ("viewer", "operator", "admin")


class Silent:
    """A daemon and its transactions that are there, and fail whatever they are asked for."""


class Web:
    """What the web process can ask, and what root can."""

    def __init__(self, rig: Rig, daemon: Any = None, changes: Any = None, keeper: Keeper | None = None) -> None:
        self.rig = rig
        self.hub = Hub(_silent, _silent, _silent)
        keeper = keeper or Keeper(rig.directory, Tap())
        app = build_app(daemon or Silent(), changes or Silent(), rig.desk, keeper, self.hub)
        self.app = app
        guard = Guard(app, rig.desk, frozenset({0}))
        self._web = _client(guard, (WEB, 65534))
        self._here = _client(guard, (PEER, 0))

    async def ask(
        self, method: str, path: str, secret: str | None = None, address: str = HOME, **options: Any
    ) -> httpx.Response:
        """Ask over the web process' socket, with a session's or token's secret."""
        headers = {CLIENT_HEADER: address, **options.pop("headers", {})}
        if secret is not None:
            headers["authorization"] = f"Bearer {secret}"
        return await self._web.request(method, f"/api/v1{path}", headers=headers, **options)

    async def here(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Ask as root, over the daemon's own socket."""
        return await self._here.request(method, f"/api/v1{path}", **options)

    async def log_in(self, user: str, password: str = PASSWORD, secret: str | None = None) -> str:
        """Return the secret of a fresh session."""
        answer = await self.ask("POST", "/session", secret, json={"user": user, "password": password})
        assert answer.status_code == 200, answer.text
        return answer.headers[SESSION_HEADER]

    async def everybody(self) -> dict[str, str]:
        """Return a session's secret by role; the users are called eva-ROLE."""
        for role in ROLES:
            await self.rig.desk.add_user(f"eva-{role}", role, PASSWORD)
        opened = {role: await self.rig.desk.log_in(f"eva-{role}", PASSWORD, HOME, "") for role in ROLES}
        return {role: each.secret for role, each in opened.items()}


def play(tmp_path: Path, story: Callable[[Web], Awaitable[None]], daemon: Any = None, changes: Any = None) -> None:
    """Tell a story of one machine."""

    async def scenario() -> None:
        await story(Web(Rig(tmp_path), daemon, changes))

    asyncio.run(scenario())


def _silent() -> Any:
    raise HagwError("nobody is asked")


def _client(app: Any, client: tuple[str, int]) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, client=client, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://hagw")
