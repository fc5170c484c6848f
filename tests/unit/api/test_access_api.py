"""Logging in, sessions, users, tokens and the audit log over the API, as an attacker and as an owner would use them."""

import asyncio
from pathlib import Path
from typing import Any

from hagw.api import guard
from hagw.api.roles import Route
from hagw.model.web import SESSION_HEADER, csrf_token
from tests.unit.access.desk_rig import PASSWORD
from tests.unit.api.web_rig import HOME, Web, play

NEW = "another horse battery"


class Daemon:
    """As much of a daemon as a session's document needs."""

    def status(self) -> dict[str, Any]:
        return {"schema": 1, "role": "cpe", "state": "bonded", "reason": ""}


def test_the_first_login_can_do_nothing_but_change_its_password(tmp_path: Path) -> None:
    async def story(web: Web) -> None:
        password = web.rig.first_password()
        secret = await web.log_in("admin", password)
        me = (await web.ask("GET", "/session", secret)).json()
        assert (me["user"], me["role"], me["must_change_password"], me["box_role"]) == ("admin", "admin", True, "cpe")
        refused = await web.ask("GET", "/status", secret)
        assert (refused.status_code, refused.json()["must_change_password"]) == (403, True)
        body = {"old_password": password, "password": NEW}
        short = await web.ask("POST", "/session/password", secret, json={**body, "password": "short"})
        assert (short.status_code, short.json()["errors"][0]["path"]) == (422, "password")
        wrong = await web.ask("POST", "/session/password", secret, json={**body, "old_password": "guess"})
        assert wrong.status_code == 403
        changed = await web.ask("POST", "/session/password", secret, json=body)
        assert changed.status_code == 200
        fresh = changed.headers[SESSION_HEADER]
        assert (await web.ask("GET", "/health", secret)).status_code == 401  # the session before is over
        assert (await web.ask("GET", "/health", fresh)).status_code == 200

    play(tmp_path, story, Daemon())


def test_a_login_is_never_given_a_session_that_was_there_before(tmp_path: Path) -> None:
    """Session fixation: whatever the browser brought along, the secret is a new one, and the old one is over."""

    async def story(web: Web) -> None:
        await web.rig.desk.add_user("eva", "viewer", PASSWORD)
        first = await web.log_in("eva")
        second = await web.log_in("eva", secret=first)
        third = await web.log_in("eva", secret="hagw_s_chosen-by-somebody-else")
        assert len({first, second, third}) == 3
        assert (await web.ask("GET", "/health", first)).status_code == 401
        assert (await web.ask("GET", "/health", "hagw_s_chosen-by-somebody-else")).status_code == 401
        assert (await web.ask("GET", "/health", second)).status_code == 200

    play(tmp_path, story, Daemon())


def test_a_session_says_its_secret_in_the_header_only_and_once(tmp_path: Path) -> None:
    async def story(web: Web) -> None:
        await web.rig.desk.add_user("eva", "viewer", PASSWORD)
        answer = await web.ask("POST", "/session", json={"user": "eva", "password": PASSWORD})
        secret = answer.headers[SESSION_HEADER]
        assert secret not in answer.text
        assert answer.json()["csrf_token"] == csrf_token(secret)
        me = await web.ask("GET", "/session", secret)
        assert SESSION_HEADER not in me.headers
        assert secret not in me.text
        assert me.headers["cache-control"] == "no-store"
        over = await web.ask("DELETE", "/session", secret)
        assert over.headers[SESSION_HEADER] == ""
        assert (await web.ask("GET", "/session", secret)).status_code == 401

    play(tmp_path, story, Daemon())


def test_guessing_ends_in_429_and_an_unknown_user_answers_as_a_known_one(tmp_path: Path) -> None:
    async def story(web: Web) -> None:
        answers = [
            await web.ask("POST", "/session", json={"user": user, "password": "guess"})
            for user in ("admin", "nobody") * 6
        ]
        assert [each.status_code for each in answers] == [401] * 10 + [429] * 2
        assert len({each.text for each in answers[:10]}) == 1
        assert 0 < int(answers[-1].headers["retry-after"]) <= 60
        assert answers[-1].json()["retry_after_s"] == int(answers[-1].headers["retry-after"])
        noted = web.rig.desk.audit_log.newest(100)
        assert [deed.status for deed in noted] == [401] * 10  # who goes on does not fill the log
        assert noted[0].detail == "user 'nobody'"
        web.rig.passes(60)
        answer = await web.ask("POST", "/session", json={"user": "admin", "password": web.rig.first_password()})
        assert answer.status_code == 200

    play(tmp_path, story, Daemon())


def test_a_guesser_elsewhere_does_not_lock_out_the_owner_on_the_machine(tmp_path: Path) -> None:
    async def story(web: Web) -> None:
        for number in range(60):
            body = {"user": "admin", "password": "guess"}
            await web.ask("POST", "/session", json=body, address=f"203.0.113.{number}")
        assert (await web.here("GET", "/health")).status_code == 200
        made = (await web.here("PATCH", "/users/admin", json={"reset_password": True})).json()["password"]
        assert (await web.ask("POST", "/session", json={"user": "admin", "password": made})).status_code == 200

    play(tmp_path, story, Daemon())


def test_revoking_counts_with_the_next_request(tmp_path: Path) -> None:
    async def story(web: Web) -> None:
        secrets = await web.everybody()
        listed = (await web.ask("GET", "/sessions", secrets["admin"])).json()["sessions"]
        assert {each["user"] for each in listed} == {"eva-viewer", "eva-operator", "eva-admin"}
        own = (await web.ask("GET", "/sessions", secrets["viewer"])).json()["sessions"]
        assert [(each["user"], each["current"]) for each in own] == [("eva-viewer", True)]
        others = next(each["id"] for each in listed if each["user"] == "eva-operator")
        assert (await web.ask("DELETE", f"/sessions/{others}", secrets["viewer"])).status_code == 404
        assert (await web.ask("DELETE", f"/sessions/{others}", secrets["admin"])).status_code == 200
        assert (await web.ask("GET", "/health", secrets["operator"])).status_code == 401
        assert (await web.ask("PATCH", "/users/eva-viewer", secrets["admin"], json={"role": "operator"})).is_success
        assert (await web.ask("GET", "/session", secrets["viewer"])).json()["role"] == "operator"
        assert (await web.ask("DELETE", "/users/eva-viewer", secrets["admin"])).is_success
        assert (await web.ask("GET", "/health", secrets["viewer"])).status_code == 401

    play(tmp_path, story, Daemon())


def test_tokens_are_told_once_and_worth_what_they_say(tmp_path: Path) -> None:
    async def story(web: Web) -> None:
        admin = (await web.everybody())["admin"]
        body = {"name": "prometheus", "scopes": ["metrics", "read"], "expires_in_days": 30}
        made = await web.ask("POST", "/tokens", admin, json=body)
        assert made.status_code == 201
        secret = made.json()["secret"]
        listed = await web.ask("GET", "/tokens", admin)
        assert secret not in listed.text
        assert listed.json()["tokens"][0]["scopes"] == ["metrics", "read"]
        assert (await web.ask("GET", "/health", secret)).status_code == 200
        assert (await web.ask("POST", "/tokens", secret, json=body)).status_code == 403
        assert (await web.ask("POST", "/config/confirm", secret)).status_code == 403
        again = await web.ask("POST", "/tokens", admin, json=body)
        assert (again.status_code, again.json()["errors"][0]["path"]) == (422, "name")
        everything = await web.ask("POST", "/tokens", admin, json={**body, "name": "all", "scopes": ["access"]})
        assert everything.status_code == 422
        assert (await web.ask("DELETE", f"/tokens/{made.json()['id']}", admin)).is_success
        assert (await web.ask("GET", "/health", secret)).status_code == 401

    play(tmp_path, story, Daemon())


def test_the_audit_log_tells_who_did_what_and_no_secret(tmp_path: Path) -> None:
    async def story(web: Web) -> None:
        secrets = await web.everybody()
        await web.ask("POST", "/users", secrets["admin"], json={"name": "max", "role": "viewer", "password": NEW})
        await web.ask("POST", "/users", secrets["viewer"], json={"name": "mallory", "role": "admin"})
        await web.here("PATCH", "/users/max", json={"role": "operator"})
        answer = await web.ask("GET", "/audit?limit=3", secrets["admin"])
        told = [(each["user"], each["via"], each["action"], each["status"]) for each in answer.json()["audit"]]
        assert told == [
            ("uid 0", "local", "PATCH /users/{name}", 200),
            ("eva-viewer", "session", "POST /users", 403),
            ("eva-admin", "session", "POST /users", 201),
        ]
        assert answer.json()["audit"][2]["detail"] == "user max, role viewer"
        assert answer.json()["audit"][2]["address"] == HOME
        text = (tmp_path / "audit.log").read_text()
        assert not any(hidden in text for hidden in (NEW, PASSWORD, *secrets.values()))

    play(tmp_path, story, Daemon())


def test_a_password_in_a_refused_request_is_not_repeated(tmp_path: Path) -> None:
    async def story(web: Web) -> None:
        admin = (await web.everybody())["admin"]
        body = {"name": "max", "role": "viewer", "password": [NEW], "extra": NEW}
        answer = await web.ask("POST", "/users", admin, json=body)
        assert answer.status_code == 422
        assert NEW not in answer.text

    play(tmp_path, story, Daemon())


def test_an_answer_without_an_end_ends_with_its_session(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(guard, "LOOK_S", 0.01)
    monkeypatch.setattr(guard, "route_of", lambda method, path: Route("GET", "/stream", "viewer", "read", lasts=True))

    async def story(web: Web) -> None:
        secret = (await web.everybody())["viewer"]
        begun = asyncio.Event()
        sent: list[dict[str, Any]] = []

        async def endless(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            begun.set()
            await asyncio.sleep(3600)

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "GET",
            "path": "/api/v1/stream",
            "client": ("web", 65534),
            "headers": [(b"authorization", f"Bearer {secret}".encode())],
        }
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            answering = group.create_task(guard.Guard(endless, web.rig.desk, frozenset())(scope, None, send))
            await begun.wait()
            await asyncio.sleep(0.05)
            assert not answering.done()
            login = web.rig.desk.who(secret, "")
            assert login is not None
            await web.rig.desk.log_out(login.mark)
        assert sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}

    play(tmp_path, story)


def test_headers_from_the_network_cannot_say_who_asks(tmp_path: Path) -> None:
    async def story(web: Web) -> None:
        for headers in (
            {"x-forwarded-for": "127.0.0.1"},
            {"x-hagw-user": "admin"},
            {"authorization": "Basic YWRtaW46YWRtaW4="},
            {"authorization": "Bearer "},
            {"authorization": f"Bearer {'a' * 5000}"},
            {"authorization": "Bearer hagw_s_ä".encode("latin-1")},
        ):
            assert (await web.ask("GET", "/health", headers=headers)).status_code == 401, headers

    play(tmp_path, story, Daemon())
