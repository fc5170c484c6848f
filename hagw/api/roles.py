"""Who may use which route over `web.sock`: a list that every route is in, or it does not exist there.

On `hagw.sock`, which only root and the daemon's own user reach, everything is allowed.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from hagw.access.model import Login, Role, Scope

PREFIX: Final = "/api/v1"


@dataclass(frozen=True, slots=True)
class Route:
    """A route and what it takes. `audited`: what was asked and what became of it is written down.

    `open_to_new` is for who still has to change the password, `lasts` for answers without an end.
    """

    method: str
    path: str
    role: Role | None  # None = anybody, also without a login
    scope: Scope
    audited: bool = False
    open_to_new: bool = False
    lasts: bool = False
    pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Make the pattern of paths it stands for."""
        object.__setattr__(self, "pattern", re.compile(re.sub(r"\\?\{[a-z_]+\\?\}", "[^/]+", re.escape(self.path))))


def _reads(path: str, role: Role = "viewer", scope: Scope = "read") -> Route:
    return Route("GET", path, role, scope)


def _asks(path: str, role: Role = "operator") -> Route:
    """Return a POST that changes nothing."""
    return Route("POST", path, role, "read")


def _changes(method: str, path: str, role: Role, scope: Scope = "change") -> Route:
    return Route(method, path, role, scope, audited=True)


ROUTES: Final = (
    Route("POST", "/session", None, "access", audited=True),
    Route("GET", "/session", "viewer", "read", open_to_new=True),
    Route("DELETE", "/session", "viewer", "access", audited=True, open_to_new=True),
    Route("POST", "/session/password", "viewer", "access", audited=True, open_to_new=True),
    _reads("/sessions", scope="access"),
    _changes("DELETE", "/sessions/{mark}", "viewer", "access"),
    _reads("/users", "admin", "access"),
    _changes("POST", "/users", "admin", "access"),
    _changes("PATCH", "/users/{name}", "admin", "access"),
    _changes("DELETE", "/users/{name}", "admin", "access"),
    _reads("/tokens", "admin", "access"),
    _changes("POST", "/tokens", "admin", "access"),
    _changes("DELETE", "/tokens/{mark}", "admin", "access"),
    _reads("/audit", "admin", "access"),
    _reads("/openapi.json"),
    _reads("/metrics", scope="metrics"),
    _reads("/alerts"),
    _reads("/status"),
    _reads("/health"),
    _reads("/flows"),
    _reads("/flows/{flow_id}"),
    _reads("/uplinks"),
    _reads("/uplinks/{name}"),
    _reads("/gateways"),
    _reads("/rules"),
    _reads("/history"),
    _reads("/events"),
    _reads("/doctor"),
    _reads("/speedtests"),
    _changes("POST", "/speedtests", "operator"),
    _reads("/speedtests/{test_id}"),
    _changes("DELETE", "/speedtests/{test_id}", "operator"),
    _reads("/customers", scope="customers"),
    _changes("POST", "/customers", "admin", "customers"),
    _reads("/customers/{name}", scope="customers"),
    _changes("PATCH", "/customers/{name}", "admin", "customers"),
    _changes("DELETE", "/customers/{name}", "admin", "customers"),
    _changes("POST", "/customers/{name}/invite", "admin", "customers"),
    _changes("POST", "/customers/{name}/rotate", "admin", "customers"),
    Route("GET", "/stream", "viewer", "read", lasts=True),
    _reads("/explain"),
    _asks("/explain"),
    _reads("/usage"),
    _changes("POST", "/usage", "operator"),
    _changes("POST", "/workers/renew", "admin"),
    _reads("/drain"),
    _changes("POST", "/drain", "operator"),
    _reads("/config"),
    _asks("/config/check"),
    _asks("/config/plan"),
    _asks("/config/edit"),
    _changes("POST", "/config/apply", "operator"),  # what is not their share is admins' only
    _changes("POST", "/config/set", "operator"),  # some paths are admins' only
    _changes("POST", "/config/confirm", "operator"),
    _changes("POST", "/config/rollback", "operator"),
    _reads("/config/schema"),
    _reads("/config/3gpp"),
    _changes("POST", "/config/3gpp", "operator"),
    _reads("/config/history"),
    _reads("/config/diff"),
)


def route_of(method: str, path: str) -> Route | None:
    """Return the route of a request, `path` being without the prefix. Names come before placeholders."""
    found = [route for route in ROUTES if route.method == method and route.pattern.fullmatch(path)]
    return min(found, key=lambda route: route.path.count("{"), default=None)


def refusal(route: Route, login: Login) -> str | None:
    """Return why a login may not use a route, as one sentence; None if it may."""
    if login.must_change and not route.open_to_new:
        return "Change the password first."
    if route.scope not in login.scopes:
        return f"This token's scopes do not include {route.scope!r}."
    if route.role is not None and not login.reaches(route.role):
        return f"This takes the role {route.role}; {login.user} is {login.role}."
    return None
