"""What attackers try on the page: from other pages, from the network, with what they make a browser send."""

import re
from pathlib import Path

import pytest

from tests.unit.access.desk_rig import PASSWORD
from tests.unit.web.site_rig import Site, play

NEW_USER = {"name": "mallory", "role": "admin"}


def test_the_cookie_is_the_browsers_alone(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        async with site.logged_in() as page:
            cookie = page.login.headers["set-cookie"]
            assert re.fullmatch(r"__Host-hagw=hagw_s_[\w-]{43}; Path=/; Secure; HttpOnly; SameSite=Strict", cookie)
            assert "x-hagw-session" not in page.login.headers
            assert page.browser.cookies["__Host-hagw"] not in page.login.text
            over = await page.ask("DELETE", "/session")
            assert over.headers["set-cookie"] == ("__Host-hagw=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0")

    play(tmp_path, story)


def test_every_answer_carries_the_headers(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        async with site.client() as browser:
            for path in ("/", "/icon.png", "/nothing.txt", "/api/v1/health", "/api/v1/session", "/api/nothing"):
                headers = (await browser.get(path)).headers
                assert headers["content-security-policy"].startswith("default-src 'self'; ")
                assert "unsafe" not in headers["content-security-policy"]
                assert headers["x-content-type-options"] == "nosniff"
                assert headers["x-frame-options"] == "DENY"
                assert headers["referrer-policy"] == "no-referrer"
                assert headers["cross-origin-opener-policy"] == "same-origin"
                assert "server" not in headers
                if path.startswith("/api"):
                    assert headers["cache-control"] == "no-store"

    play(tmp_path, story)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-csrf-token": ""},
        {"x-csrf-token": "0" * 64},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
    ],
    ids=str,
)
def test_another_page_cannot_change_anything_in_our_name(tmp_path: Path, headers: dict[str, str]) -> None:
    async def story(site: Site) -> None:
        async with site.logged_in() as page:
            answer = await page.ask("POST", "/users", json=NEW_USER, headers=headers)
            assert answer.status_code == 403, answer.text
            assert all(user.name != "mallory" for user in site.rig.desk.users())

    play(tmp_path, story)


def test_what_a_form_can_send_is_refused(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        async with site.logged_in() as page, site.client() as browser:
            for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x"):
                body = b'{"user": "eva-admin", "password": "%s"}' % PASSWORD.encode()
                forced = await browser.post("/api/v1/session", content=body, headers={"content-type": kind})
                assert forced.status_code == 415  # a login that the victim does not notice
                answer = await page.ask("POST", "/users", content=b"{}", headers={"content-type": kind})
                assert answer.status_code == 415
            foreign = {"origin": "https://evil.example"}
            body_ok = {"user": "eva-admin", "password": PASSWORD}
            assert (await browser.post("/api/v1/session", json=body_ok, headers=foreign)).status_code == 403

    play(tmp_path, story)


def test_another_page_cannot_look_either_but_may_link_here(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        async with site.logged_in() as page:
            assert (await page.ask("GET", "/health", headers={"sec-fetch-site": "cross-site"})).status_code == 403
            image = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
            assert (await page.browser.get("/icon.png", headers=image)).status_code == 403
            link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
            assert (await page.browser.get("/", headers=link)).status_code == 200
            frame = {**link, "sec-fetch-dest": "iframe"}
            assert (await page.browser.get("/", headers=frame)).status_code == 403

    play(tmp_path, story)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:8443", 200),
        ("[::1]:8443", 200),
        ("localhost", 200),
        ("HAGW.example:443", 200),
        ("hagw.example.", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("hagw.example@evil.example", 421),
        ("[::1", 421),
        ("", 421),
    ],
)
def test_a_strangers_name_for_our_address_is_refused(tmp_path: Path, host: str, status: int) -> None:
    async def story(site: Site) -> None:
        answer = await site.raw(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        assert answer.split(b" ", 2)[1] == str(status).encode()

    play(tmp_path, story)


def test_no_path_leads_out_of_the_pages_files(tmp_path: Path) -> None:
    paths = (
        "/../secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/assets/../../secret.txt",
        "/assets/..%5c..%5csecret.txt",
        "/static/../../state/access.json",
        "//etc/passwd",
        "/etc/passwd",
        "/.hidden",
        "/link.txt",
        "/index.html%00.png",
        "/api/v1/../../secret.txt",
        "/api/v1/%2e%2e/%2e%2e/secret.txt",
        "/api/v1//health",
        "/api/v1/health/../users",
        "/%61pi/v1/users",
    )

    async def story(site: Site) -> None:
        async with site.logged_in("viewer") as page:
            cookie = f"__Host-hagw={page.browser.cookies['__Host-hagw']}"
        for path in paths:
            head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
            answer = await site.raw(head.encode())
            status = int(answer.split(b" ", 2)[1])
            is_page = b"<!doctype html>" in answer and status == 200  # a place within the page
            assert is_page or status in (400, 403, 404), (path, answer)
            for hidden in (b"root:", b"secret", b"hidden", b"argon2", b'"users"'):
                assert hidden not in answer.lower().partition(b"\r\n\r\n")[2], (path, answer)

    play(tmp_path, story)


def test_bytes_beyond_ascii_in_a_header_are_passed_on(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        async with site.logged_in("viewer") as page:
            cookie = f"Cookie: __Host-hagw={page.browser.cookies['__Host-hagw']}".encode()
        for header, status in (
            (b"User-Agent: caf\xe9\r\n" + cookie, b"200"),
            (b"User-Agent: caf\xc3\xa9\r\n" + cookie, b"200"),
            (b"Authorization: Bearer hagw_t_\xe9", b"401"),
            (b"Cookie: __Host-hagw=\xe9", b"401"),
        ):
            asked = b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + header + b"\r\n\r\n"
            assert (await site.raw(asked)).split(b" ", 2)[1] == status, header

    play(tmp_path, story)


def test_nothing_gets_into_the_headers_of_an_answer_or_of_the_daemons_request(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        for target in ("/a%0d%0aSet-Cookie:%20x=1", "/api/v1/health%0d%0aX-Hagw-Client:%201.2.3.4", "/\u2028"):
            request = f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            head = (await site.raw(request.encode())).partition(b"\r\n\r\n")[0].lower()
            assert b"set-cookie" not in head
            assert b"x-hagw-client" not in head
        async with site.logged_in("viewer") as page:
            secret = page.browser.cookies["__Host-hagw"]
        # What says who asks is ours alone to say.
        async with site.client() as browser:
            for headers in (
                {"authorization": f"Bearer {secret}"},  # a session's secret counts as a cookie only
                {"x-hagw-session": secret},
                {"cookie": f'__Host-hagw="{secret}\\015\\012x: y"'},
                {"cookie": f"__Host-hagw={secret}; __Host-hagw=hagw_s_planted"},
                {"cookie": f"hagw={secret}"},
                {"x-hagw-client": "127.0.0.1"},
            ):
                assert (await browser.get("/api/v1/health", headers=headers)).status_code == 401, headers
            for number in range(12):
                forged = {"x-hagw-client": f"203.0.113.{number}", "x-forwarded-for": f"203.0.113.{number}"}
                body = {"user": "admin", "password": "guess"}
                last = await browser.post("/api/v1/session", json=body, headers=forged)
            assert last.status_code == 429  # counted by where it came from, whatever it says

    play(tmp_path, story)


def test_a_cookie_planted_before_the_login_is_not_the_session(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        await site.rig.desk.add_user("eva-viewer", "viewer", PASSWORD)
        planted = "hagw_s_" + "a" * 43
        async with site.client() as browser:
            answer = await browser.post(
                "/api/v1/session",
                json={"user": "eva-viewer", "password": PASSWORD},
                headers={"cookie": f"__Host-hagw={planted}"},
            )
            assert answer.status_code == 200
            assert planted not in answer.headers["set-cookie"]
        async with site.client() as attacker:
            found = await attacker.get("/api/v1/health", headers={"cookie": f"__Host-hagw={planted}"})
            assert found.status_code == 401

    play(tmp_path, story)


def test_large_and_odd_bodies_are_refused(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        big = b'{"user": "' + b"a" * 20_000 + b'"}'
        async with site.logged_in() as page, site.client() as stranger:
            json_type = {"content-type": "application/json"}
            assert (await stranger.post("/api/v1/session", content=big, headers=json_type)).status_code == 413
            assert (await page.ask("POST", "/users", content=big, headers=json_type)).status_code == 422
            huge = b" " * (4 << 20) + b"{}"
            assert (await page.ask("POST", "/users", content=huge, headers=json_type)).status_code == 413
            assert (await page.ask("PUT", "/")).status_code == 404
        chunked = b"POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert b" 411 " in (await site.raw(chunked + b"0\r\n\r\nGET / HTTP/1.1\r\nConnection: close\r\n\r\n"))[:20]
        both = b"POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"
        assert b" 400 " in (await site.raw(both))[:20]
        trace = b"TRACE / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        assert b" 405 " in (await site.raw(trace))[:20]

    play(tmp_path, story)


def test_revoking_a_session_counts_with_its_next_request(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        async with site.logged_in("admin") as admin, site.logged_in("viewer") as viewer:
            assert (await viewer.ask("GET", "/health")).status_code == 200
            listed = (await admin.ask("GET", "/sessions")).json()["sessions"]
            mark = next(each["id"] for each in listed if each["user"] == "eva-viewer")
            assert (await admin.ask("DELETE", f"/sessions/{mark}")).status_code == 200
            assert (await viewer.ask("GET", "/health")).status_code == 401

    play(tmp_path, story)
