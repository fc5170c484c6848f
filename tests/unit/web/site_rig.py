"""`hagw web` as browsers meet it: real TLS, the daemon's real API behind its real socket."""

import asyncio
import datetime
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from hagw.api import server as api_server
from hagw.control.door import answers
from hagw.control.standing import Standing
from hagw.history.keeper import Keeper, Tap
from hagw.web.app import App
from hagw.web.certificate import CERTIFICATE_FILE, Certificates, context_for, fingerprint
from hagw.web.serve import Server
from hagw.web.settings import Settings
from hagw.web.static import Files
from hagw.web.upstream import Upstream
from tests.unit.access.desk_rig import PASSWORD, Rig

NOW = datetime.datetime.now(datetime.UTC)
SCRIPT = "/assets/app-1a2b3c4d.js"


class Daemon:
    """As much of a daemon as these tests ask for."""

    speedtests = None

    def status(self) -> dict[str, Any]:
        return {"schema": 1, "role": "cpe", "state": "bonded", "reason": ""}


class Silent:
    """Transactions that nobody asks for but how they stand."""

    def standing(self) -> Standing:
        return Standing()


def page(directory: Path) -> Path:
    """Make a page of a few files, and one beside it that is not the page's."""
    static = directory / "static"
    (static / "assets").mkdir(parents=True)
    (static / "index.html").write_text("<!doctype html><title>hagw</title>" + " " * 600)
    (static / SCRIPT[1:]).write_text("export const a = 1;\n" * 100)
    (static / f"{SCRIPT[1:]}.br").write_bytes(b"brotli")
    (static / "icon.png").write_bytes(b"\x89PNG" + bytes(1000))
    (static / ".hidden").write_text("hidden")
    (directory / "secret.txt").write_text("secret")
    (static / "link.txt").symlink_to(directory / "secret.txt")
    return static


class Site:
    """A machine with both processes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.rig = Rig(directory / "state")
        self.pair = Certificates(directory / "web").pair(Settings(), NOW)
        self.port = 0
        self.server: Server | None = None
        self.web_socket = directory / "web.sock"
        self._daemon: asyncio.Task[None] | None = None

    async def start_daemon(self, group: asyncio.TaskGroup) -> None:
        path = self.directory / "hagw.sock"
        keeper = Keeper(self.directory / "kept", Tap())
        serving = api_server.serve(Daemon(), Silent(), self.rig.desk, keeper, path, self.web_socket)
        self._daemon = group.create_task(serving)
        while not await answers(path):
            await asyncio.sleep(0.01)

    async def stop_daemon(self) -> None:
        assert self._daemon is not None
        self._daemon.cancel()
        await asyncio.wait({self._daemon})

    def client(self) -> httpx.AsyncClient:
        """Return a browser without cookies."""
        context = ssl.create_default_context(cafile=self.directory / "web" / CERTIFICATE_FILE)
        return httpx.AsyncClient(base_url=f"https://127.0.0.1:{self.port}", verify=context, timeout=10)

    @asynccontextmanager
    async def logged_in(self, role: str = "admin") -> AsyncIterator["Page"]:
        """Yield our page, with a session."""
        if all(user.name != f"eva-{role}" for user in self.rig.desk.users()):
            await self.rig.desk.add_user(f"eva-{role}", role, PASSWORD)
        async with self.client() as browser:
            body = {"user": f"eva-{role}", "password": PASSWORD}
            answer = await browser.post("/api/v1/session", json=body)
            assert answer.status_code == 200, answer.text
            yield Page(browser, answer)

    def connections(self) -> int:
        """Return how many connections the web process has."""
        assert self.server is not None
        return len(self.server._state.connections)

    async def raw(self, request: bytes) -> bytes:
        """Send bytes over TLS; return what comes until the end."""
        context = ssl.create_default_context(cafile=self.directory / "web" / CERTIFICATE_FILE)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context, server_hostname="127.0.0.1")
        writer.write(request)
        try:
            return await reader.read()
        finally:
            writer.close()


class Page:
    """A browser on our page: the cookie is the browser's, the token the page's."""

    def __init__(self, browser: httpx.AsyncClient, login: httpx.Response) -> None:
        self.browser = browser
        self.login = login
        self.token: str = login.json()["csrf_token"]

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {
            "origin": str(self.browser.base_url).rstrip("/"),
            "sec-fetch-site": "same-origin",
            "x-csrf-token": self.token,
            **options.pop("headers", {}),
        }
        return await self.browser.request(method, f"/api/v1{path}", headers=headers, **options)


def play(tmp_path: Path, story: Callable[[Site], Awaitable[None]]) -> None:
    """Tell a story with both processes."""

    async def scenario() -> None:
        site = Site(tmp_path)
        upstream = Upstream(site.web_socket)
        app = App(Files(page(tmp_path)), upstream, ("hagw.example",), is_owned=False)
        app.fingerprint = fingerprint(site.pair.certificate)
        sock = socket.create_server(("127.0.0.1", 0))
        site.port = sock.getsockname()[1]
        async with asyncio.TaskGroup() as group:
            await site.start_daemon(group)
            site.server = Server(app, context_for(site.pair))
            async with site.server.listening([sock]):
                await story(site)
            await site.stop_daemon()
        await upstream.close()

    async def bounded() -> None:
        async with asyncio.timeout(60):
            await scenario()

    asyncio.run(bounded())
