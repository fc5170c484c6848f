"""The page and its API over TLS."""

import asyncio
import time
from pathlib import Path

import pytest

from hagw.web import serve
from hagw.web.certificate import fingerprint
from tests.unit.web.site_rig import SCRIPT, Site, play


def test_the_page_is_served_compressed_and_kept(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        async with site.client() as browser:
            first = await browser.get("/", headers={"accept-encoding": "gzip"})
            assert (first.status_code, first.headers["content-encoding"]) == (200, "gzip")
            assert first.text.startswith("<!doctype html>")
            assert (first.headers["cache-control"], first.headers["vary"]) == ("no-cache", "accept-encoding")
            again = await browser.get("/", headers={"accept-encoding": "gzip", "if-none-match": first.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
            plain = await browser.get("/", headers={"accept-encoding": "identity"})
            assert "content-encoding" not in plain.headers
            assert plain.headers["etag"] != first.headers["etag"]
            script = await browser.get(SCRIPT, headers={"accept-encoding": "br;q=0, gzip"})
            assert script.headers["content-encoding"] == "gzip"
            assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
            assert script.headers["content-type"] == "text/javascript; charset=utf-8"
            assert (await browser.head("/")).content == b""
            assert (await browser.get("/uplinks/dsl")).text.startswith("<!doctype html>")  # a place within the page
            assert (await browser.get("/icon.png")).headers["content-type"] == "image/png"
            assert (await browser.get("/assets/gone-1.js")).status_code == 404
        raw = await site.raw(
            f"GET {SCRIPT} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode()
            + b"Accept-Encoding: gzip, br\r\nConnection: close\r\n\r\n"
        )
        assert raw.endswith(b"\r\n\r\nbrotli")

    play(tmp_path, story)


def test_login_look_change_and_logout(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        async with site.logged_in() as page:
            assert (await page.ask("GET", "/session")).json()["user"] == "eva-admin"
            assert (await page.ask("GET", "/health")).json()["state"] == "bonded"
            made = await page.ask("POST", "/users", json={"name": "max", "role": "viewer"})
            assert made.status_code == 201
            assert "max" in (await page.ask("GET", "/users")).text
            assert (await page.ask("DELETE", "/session")).status_code == 200
            assert not page.browser.cookies
            assert (await page.ask("GET", "/health")).status_code == 401

    play(tmp_path, story)


def test_the_daemon_is_told_who_asks_where_and_which_certificate_was_shown(tmp_path: Path) -> None:
    """It tells the page the fingerprint, and keeps the browser's own session from being cut off by a change."""

    async def story(site: Site) -> None:
        shown = fingerprint(site.pair.certificate)
        async with site.logged_in() as page:
            assert page.login.json()["certificate_sha256"] == shown
            assert (await page.ask("GET", "/session")).json()["certificate_sha256"] == shown
            await site.stop_daemon()
            heads: list[bytes] = []

            async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                heads.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
                writer.close()

            site.web_socket.unlink(missing_ok=True)
            async with await asyncio.start_unix_server(listen, site.web_socket):
                assert (await page.ask("GET", "/status", headers={"x-hagw-server": "10.9.9.9 1"})).status_code == 200
            head = heads[0].decode().lower()
            told = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
            assert (told["x-hagw-client"], told["x-hagw-server"]) == ("127.0.0.1", f"127.0.0.1 {site.port}")
            assert told["x-hagw-fingerprint"] == shown.lower()

    play(tmp_path, story)


def test_another_password_gives_the_browser_another_session(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        async with site.client() as browser:
            password = site.rig.first_password()
            login = await browser.post("/api/v1/session", json={"user": "admin", "password": password})
            before = browser.cookies["__Host-hagw"]
            body = {"old_password": password, "password": "another horse battery"}
            headers = {"x-csrf-token": login.json()["csrf_token"]}
            changed = await browser.post("/api/v1/session/password", json=body, headers=headers)
            assert changed.status_code == 200, changed.text
            assert browser.cookies["__Host-hagw"] != before
            assert (await browser.get("/api/v1/health")).status_code == 200

    play(tmp_path, story)


def test_a_script_uses_its_token_without_a_cookie(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        async with site.logged_in() as page:
            made = await page.ask("POST", "/tokens", json={"name": "s", "role": "operator", "scopes": ["read"]})
            headers = {"authorization": f"Bearer {made.json()['secret']}"}
        async with site.client() as script:
            assert (await script.get("/api/v1/health", headers=headers)).status_code == 200
            assert (await script.post("/api/v1/config/confirm", headers=headers)).status_code == 403

    play(tmp_path, story)


def test_a_stream_comes_as_it_is_told_and_ends_with_its_session(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        async with site.logged_in("viewer") as viewer, site.logged_in("admin") as admin:
            async with viewer.browser.stream("GET", "/api/v1/stream?topics=status") as stream:
                assert stream.headers["content-type"].startswith("text/event-stream")
                heard = ""
                async for piece in stream.aiter_text():
                    heard += piece
                    if heard.count("event: status") == 2:
                        listed = (await admin.ask("GET", "/sessions")).json()["sessions"]
                        mark = next(each["id"] for each in listed if each["user"] == "eva-viewer")
                        assert (await admin.ask("DELETE", f"/sessions/{mark}")).status_code == 200
                        revoked = time.monotonic()
            assert time.monotonic() - revoked < 5

    play(tmp_path, story)


def test_ending_is_prompt_while_a_stream_is_open(tmp_path: Path) -> None:
    ended: list[float] = []

    async def story(site: Site) -> None:
        async with site.logged_in("viewer") as viewer:
            request = viewer.browser.build_request("GET", "/api/v1/stream?topics=status")
            answer = await viewer.browser.send(request, stream=True)
            await anext(answer.aiter_raw())
            ended.append(time.monotonic())
            await answer.aclose()

    play(tmp_path, story)
    assert time.monotonic() - ended[0] < 5


def test_without_a_daemon_the_page_says_so_and_recovers(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        async with site.logged_in() as page, asyncio.TaskGroup() as group:
            await site.stop_daemon()
            away = await page.ask("GET", "/health")
            assert (away.status_code, away.headers["content-type"]) == (503, "application/problem+json")
            assert away.headers["retry-after"] == "2"
            assert "tries again" in away.json()["detail"]
            assert (await page.browser.get("/")).status_code == 200
            await site.start_daemon(group)
            assert (await page.ask("GET", "/health")).status_code == 200
            await site.stop_daemon()

    play(tmp_path, story)


def test_ending_is_prompt_while_somebody_is_connected(tmp_path: Path) -> None:
    ended: list[float] = []

    async def story(site: Site) -> None:
        async with site.client() as browser:
            await browser.get("/")
            context_reader = await asyncio.open_connection("127.0.0.1", site.port)  # in the middle of its handshake
            ended.append(time.monotonic())
            context_reader[1].close()

    play(tmp_path, story)
    assert time.monotonic() - ended[0] < 5


def test_who_does_not_ask_is_hung_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "HEADERS_S", 0.3)

    async def story(site: Site) -> None:
        async with asyncio.timeout(20):
            assert await site.raw(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ") == b""

    play(tmp_path, story)


def test_one_address_has_so_many_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "CONNECTIONS_AN_ADDRESS_MAX", 3)
    request = b"GET /icon.png HTTP/1.1\r\nHost: 127.0.0.1\r\n"

    async def story(site: Site) -> None:
        async with asyncio.TaskGroup() as group:
            held = [group.create_task(site.raw(request)) for _ in range(3)]
            while site.connections() < 3:
                await asyncio.sleep(0.01)
            try:
                refused = await site.raw(request + b"\r\n")
            except OSError:
                refused = b""
            assert refused == b""
            for each in held:
                each.cancel()

    play(tmp_path, story)
