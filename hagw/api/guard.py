"""The guard before every request: on `hagw.sock` the peer's uid decides, on `web.sock` the login that it carries.

It decides by the list in `roles`, before a body is read or a route is looked up: what is not in the list is not there.
"""

import asyncio
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hagw.access.desk import Desk
from hagw.access.model import Login
from hagw.api.peers import WEB, peer_uid
from hagw.api.problems import problem
from hagw.api.roles import PREFIX, Route, refusal, route_of
from hagw.model.web import CLIENT_HEADER

LOOK_S: Final = 1.0  # how soon an answer without an end stops after its login does
BEARER: Final = "bearer "
UNAUTHORISED: Final = "Log in first: this takes a session or an API token."


class Guard:
    """ASGI: hands requests on that may be made, with their login in the request's state."""

    def __init__(self, app: ASGIApp, desk: Desk, allowed_uids: frozenset[int]) -> None:
        self._app = app
        self._desk = desk
        self._allowed_uids = allowed_uids

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["client"] is not None and scope["client"][0] == WEB:
            await self._from_web(scope, receive, send)
        else:
            await self._from_here(scope, receive, send)

    async def _from_here(self, scope: Scope, receive: Receive, send: Send) -> None:
        uid = peer_uid(scope)
        if uid not in self._allowed_uids:
            await problem(403, "Only root and the daemon's own user may ask.")(scope, receive, send)
            return
        login = Login(f"uid {uid}", "admin", "local")
        await self._pass_on(route_of(scope["method"], _path(scope)), login, scope, receive, send)

    async def _from_web(self, scope: Scope, receive: Receive, send: Send) -> None:
        address = _header(scope, CLIENT_HEADER)
        secret = _header(scope, "authorization")
        login = None
        if secret[: len(BEARER)].lower() == BEARER:
            login = self._desk.who(secret[len(BEARER) :].strip(), address)
        route = route_of(scope["method"], _path(scope))
        if login is None and (route is None or route.role is not None):
            await problem(401, UNAUTHORISED)(scope, receive, send)
            return
        if route is None:
            await problem(404, "There is no such resource.")(scope, receive, send)
            return
        why = None if login is None or route.role is None else refusal(route, login)
        if why is not None:
            if route.audited:
                await self._desk.note(login, _action(route), f"{scope['path']}: {why}", 403)
            more = {"must_change_password": True} if login is not None and login.must_change else {}
            await problem(403, why, **more)(scope, receive, send)
            return
        if login is not None:
            await self._desk.seen(login)
        await self._pass_on(route, login or Login("", "viewer", "session", (), address=address), scope, receive, send)

    async def _pass_on(self, route: Route | None, login: Login, scope: Scope, receive: Receive, send: Send) -> None:
        state: dict[str, Any] = scope.setdefault("state", {})
        state["login"] = login
        if route is not None and route.lasts and login.via != "local":
            await self._until_it_ends(login, scope, receive, send)
            return
        if route is None or not route.audited:
            await self._app(scope, receive, send)
            return
        status = _Status(send)
        try:
            await self._app(scope, receive, status.send)
        finally:
            if status.code != 429:  # whoever tries and tries shall not fill the log
                detail = state.get("detail") or scope["path"].removeprefix(PREFIX)
                await self._desk.note(state.get("login", login), _action(route), detail, status.code or 500)

    async def _until_it_ends(self, login: Login, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer for as long as the login is worth what it was."""
        status = _Status(send)
        async with asyncio.TaskGroup() as group:
            answering = group.create_task(self._answer(scope, receive, status.send))
            while not answering.done() and self._desk.still(login):
                await asyncio.wait({answering}, timeout=LOOK_S)
            answering.cancel()
        if answering.cancelled() and status.code:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


class _Status:
    """Notes the status of an answer as it passes."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.code = 0  # nothing answered yet

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.code = message["status"]
        await self._send(message)


def _action(route: Route) -> str:
    return f"{route.method} {route.path}"


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(PREFIX) if path.startswith(f"{PREFIX}/") else ""


def _header(scope: Scope, name: str) -> str:
    wanted = name.encode()
    values = [value for key, value in scope["headers"] if key == wanted]
    return values[0].decode("latin-1") if len(values) == 1 else ""
