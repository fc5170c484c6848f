"""Every route says who may use it, and nobody else can."""

import json
import re
from pathlib import Path

import pytest

from hagw.access.model import RANKS
from hagw.api.roles import PREFIX, ROUTES, Route, refusal, route_of
from tests.unit.access.desk_rig import PASSWORD
from tests.unit.api.web_rig import ROLES, Web, play

each_route = pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")


def sample(route: Route) -> str:
    """Return a path of this route."""
    return re.sub(r"\{[a-z_]+\}", "0", route.path)


def test_every_route_declares_its_role_and_no_other_is_declared(tmp_path: Path) -> None:
    async def story(web: Web) -> None:
        paths = web.app.openapi()["paths"]
        there = {(method.upper(), path.removeprefix(PREFIX)) for path, methods in paths.items() for method in methods}
        assert {(route.method, route.path) for route in ROUTES} == there | {("GET", "/openapi.json")}

    play(tmp_path, story)


@each_route
def test_a_path_is_judged_by_its_own_route(route: Route) -> None:
    assert route_of(route.method, sample(route)) == route


def test_what_changes_something_is_written_down_and_takes_more_than_looking() -> None:
    for route in ROUTES:
        if route.method == "GET":
            assert not route.audited, route
        elif route.audited and route.scope != "access":
            assert route.role is not None, route
            assert RANKS[route.role] >= RANKS["operator"], route


def test_the_matrix_of_routes_and_roles(tmp_path: Path) -> None:
    """Who has the role gets past the guard, to whatever the resource says to nothing; others get 401 or 403."""

    async def story(web: Web) -> None:
        for role, secret in {"nobody": None, **await web.everybody()}.items():
            for route in ROUTES:
                if (route.method, route.path) == ("DELETE", "/session"):
                    continue  # it would end the session we ask by
                path = sample(route) + ("?topics=none" if route.lasts else "")  # no answer without an end
                answer = await web.ask(route.method, path, secret, json={})
                allowed = route.role is None or (role != "nobody" and RANKS[role] >= RANKS[route.role])
                refused = answer.status_code in (401, 403)
                assert refused != allowed, (role, route, answer.text)
                if not allowed:
                    assert answer.status_code == (401 if role == "nobody" else 403)
                    assert answer.headers["content-type"] == "application/problem+json"

    play(tmp_path, story)


@pytest.mark.parametrize("scope", ["read", "metrics", "change", "customers"])
def test_a_token_reaches_its_scope_only(tmp_path: Path, scope: str) -> None:
    async def story(web: Web) -> None:
        await web.rig.desk.add_user("eva", "admin", PASSWORD)
        _, secret = await web.rig.desk.add_token("eva", "script", "admin", (scope,), 1)
        login = web.rig.desk.who(secret, "")
        assert login is not None
        for route in ROUTES:
            if route.role is not None:
                assert (refusal(route, login) is None) == (route.scope == scope), route
        answer = await web.ask("GET", "/users", secret)  # never, whatever its scopes are
        assert answer.status_code == 403

    play(tmp_path, story)


def test_what_is_not_listed_is_not_there_over_the_web(tmp_path: Path) -> None:
    async def story(web: Web) -> None:
        secrets = await web.everybody()
        for method, path in (("GET", "/nothing"), ("HEAD", "/status"), ("PUT", "/status"), ("OPTIONS", "/config")):
            assert (await web.ask(method, path)).status_code == 401
            assert (await web.ask(method, path, secrets["admin"])).status_code == 404
        assert (await web._web.get("/docs", headers={"authorization": f"Bearer {secrets['admin']}"})).status_code == 404

    play(tmp_path, story)


def test_the_description_of_the_api_is_whole(tmp_path: Path) -> None:
    async def story(web: Web) -> None:
        secrets = await web.everybody()
        answer = await web.ask("GET", "/openapi.json", secrets["viewer"])
        assert f"{PREFIX}/session" in json.loads(answer.text)["paths"]

    play(tmp_path, story)


def test_every_role_has_something_of_its_own() -> None:
    assert {route.role for route in ROUTES} == {None, *ROLES}
