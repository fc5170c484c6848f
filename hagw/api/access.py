"""The API's resources of access: the session, users, tokens, sessions and the audit log."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from hagw.access.desk import TOKEN_DAYS_MAX, Desk, Opened
from hagw.access.faults import Denied
from hagw.access.model import TOKEN_SCOPES, Login, Role, Session, Token, User
from hagw.api.access_documents import (
    AuditDocument,
    ChangedUserDocument,
    EndedDocument,
    MadeTokenDocument,
    MadeUserDocument,
    RemovedDocument,
    SessionDocument,
    SessionsDocument,
    TokensDocument,
    UsersDocument,
)
from hagw.model.web import FINGERPRINT_HEADER, SESSION_HEADER, csrf_token

SCHEMA: Final = 1
AUDIT_MAX: Final = 1000
FINGERPRINT_MAX: Final = 128
TEXT_MAX: Final = 256  # of a password; longer ones are refused before they are hashed

UserName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,31}$")]
TokenName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$")]
Secret = Annotated[str, Field(max_length=TEXT_MAX)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class LoginBody(_Body):
    """Who logs in."""

    user: Annotated[str, Field(max_length=64)]
    password: Annotated[str, Field(max_length=4096)]


class PasswordBody(_Body):
    """Another password for oneself."""

    old_password: Annotated[str, Field(max_length=4096)]
    password: Annotated[str, Field(max_length=4096)]


class UserBody(_Body):
    """A new user. Without a password one is made up, told once, and has to be changed."""

    name: UserName
    role: Role
    password: Secret | None = None


class UserChange(_Body):
    """What becomes different about a user; `reset_password`: one is made up, as with a new user."""

    role: Role | None = None
    password: Secret | None = None
    reset_password: bool = False


class TokenBody(_Body):
    """A new token; `user` null = of whoever asks."""

    name: TokenName
    role: Role = "viewer"
    scopes: Annotated[tuple[Literal["read", "metrics", "change", "customers"], ...], Field(min_length=1, max_length=4)]
    expires_in_days: Annotated[float, Field(gt=0, le=TOKEN_DAYS_MAX)] = 90.0
    user: UserName | None = None


def login_of(request: Request) -> Login:
    """Return who a request is from, as the guard found it."""
    login = request.state.login
    assert isinstance(login, Login)
    return login


def access_resources(desk: Desk, box_role: Callable[[], str]) -> APIRouter:
    """Return the routes; `box_role` tells what this machine is, cpe or hag."""
    router = APIRouter()
    router.include_router(_session_resources(desk, box_role))
    router.include_router(_user_resources(desk))
    router.include_router(_token_resources(desk))

    @router.get("/sessions", responses={200: {"model": SessionsDocument}})
    async def sessions(request: Request) -> Response:
        login = login_of(request)
        found = [each for each in desk.sessions() if login.role == "admin" or each.user == login.user]
        return _answer({"sessions": [_session(each, login) for each in found]})

    @router.delete("/sessions/{mark}", responses={200: {"model": EndedDocument}})
    async def end_session(mark: str, request: Request) -> Response:
        login = login_of(request)
        own = any(each.mark == mark and each.user == login.user for each in desk.sessions())
        if login.role != "admin" and not own:
            raise HTTPException(404, f"There is no session {mark[:32]}.")
        ended = await desk.log_out(mark)
        request.state.detail = f"session {mark} of {ended.user}"
        return _answer({"ended": mark}, session="" if mark == login.mark else None)

    @router.get("/audit", responses={200: {"model": AuditDocument}})
    async def audit(limit: Annotated[int, Query(ge=1, le=AUDIT_MAX)] = 100) -> Response:
        found = await asyncio.to_thread(desk.audit_log.newest, limit)
        return _answer({"audit": [asdict(deed) for deed in found]})

    return router


def _session_resources(desk: Desk, box_role: Callable[[], str]) -> APIRouter:
    router = APIRouter()

    def document(login: Login, secret: str | None, request: Request) -> dict[str, Any]:
        fingerprint = "" if login.via == "local" else request.headers.get(FINGERPRINT_HEADER, "")
        return {
            "user": login.user,
            "role": login.role,
            "via": login.via,
            "must_change_password": login.must_change,
            "expires_unix_s": login.expires_s,
            "box_role": box_role(),
            "csrf_token": None if secret is None else csrf_token(secret),
            "certificate_sha256": fingerprint[:FINGERPRINT_MAX] or None,
        }

    def opened(found: Opened, request: Request) -> Response:
        return _answer(document(found.login, found.secret, request), session=found.secret)

    @router.post("/session", responses={200: {"model": SessionDocument}})
    async def log_in(body: LoginBody, request: Request) -> Response:
        request.state.detail = f"user {body.user!r}"
        before, address = _bearer(request), login_of(request).address
        found = await desk.log_in(body.user, body.password, address, request.headers.get("user-agent", ""))
        request.state.login = found.login
        old = desk.who(before, address)
        if old is not None and old.via == "session" and old.user == found.login.user:
            await desk.log_out(old.mark)  # the one that this browser had
        return opened(found, request)

    @router.get("/session", responses={200: {"model": SessionDocument}})
    async def me(request: Request) -> Response:
        login = login_of(request)
        return _answer(document(login, _bearer(request) if login.via == "session" else None, request))

    @router.delete("/session", responses={200: {"model": EndedDocument}})
    async def log_out(request: Request) -> Response:
        login = login_of(request)
        if login.via == "session":
            await desk.log_out(login.mark)
        return _answer({"ended": login.mark}, session="")

    @router.post("/session/password", responses={200: {"model": SessionDocument}})
    async def password(body: PasswordBody, request: Request) -> Response:
        login = login_of(request)
        if login.via != "session":
            raise HTTPException(403, "One changes one's password where one is logged in with it.")
        agent = request.headers.get("user-agent", "")
        try:
            found = await desk.change_password(login, body.old_password, body.password, agent)
        except Denied as why:
            raise HTTPException(403, str(why)) from why  # 401 would say that the session is over
        return opened(found, request)

    return router


def _user_resources(desk: Desk) -> APIRouter:
    router = APIRouter()

    @router.get("/users", responses={200: {"model": UsersDocument}})
    async def users() -> Response:
        return _answer({"users": [_user(each) for each in desk.users()]})

    @router.post("/users", status_code=201, responses={201: {"model": MadeUserDocument}})
    async def add(body: UserBody, request: Request) -> Response:
        request.state.detail = f"user {body.name}, role {body.role}"
        made = await desk.add_user(body.name, body.role, body.password)
        return _answer({"user": body.name, "role": body.role, "password": made}, status=201)

    @router.patch("/users/{name}", responses={200: {"model": ChangedUserDocument}})
    async def change(name: str, body: UserChange, request: Request) -> Response:
        made = None
        wanted = [f"role {body.role}"] if body.role is not None else []
        wanted += ["password"] if body.password is not None or body.reset_password else []
        request.state.detail = f"user {name}: {', '.join(wanted) or 'nothing'}"
        if body.role is not None:
            await desk.set_role(name, body.role)
        if body.password is not None or body.reset_password:
            made = await desk.set_password(name, body.password)
        return _answer({"user": name, "password": made})

    @router.delete("/users/{name}", responses={200: {"model": RemovedDocument}})
    async def remove(name: str, request: Request) -> Response:
        request.state.detail = f"user {name}"
        await desk.remove_user(name)
        return _answer({"removed": name})

    return router


def _token_resources(desk: Desk) -> APIRouter:
    router = APIRouter()

    @router.get("/tokens", responses={200: {"model": TokensDocument}})
    async def tokens() -> Response:
        return _answer({"tokens": [_token(each) for each in desk.tokens()], "scopes": list(TOKEN_SCOPES)})

    @router.post("/tokens", status_code=201, responses={201: {"model": MadeTokenDocument}})
    async def add(body: TokenBody, request: Request) -> Response:
        user = body.user or login_of(request).user
        request.state.detail = f"token {body.name} of {user}, role {body.role}, scopes {' '.join(body.scopes)}"
        made, secret = await desk.add_token(user, body.name, body.role, body.scopes, body.expires_in_days)
        return _answer({**_token(made), "secret": secret}, status=201)

    @router.delete("/tokens/{mark}", responses={200: {"model": RemovedDocument}})
    async def remove(mark: str, request: Request) -> Response:
        ended = await desk.remove_token(mark)
        request.state.detail = f"token {ended.name} of {ended.user}"
        return _answer({"removed": mark})

    return router


def _answer(values: dict[str, Any], status: int = 200, session: str | None = None) -> JSONResponse:
    """Return a document; a `session` goes to the web process in a header, which makes it the cookie."""
    headers = {"Cache-Control": "no-store", **({} if session is None else {SESSION_HEADER: session})}
    return JSONResponse({"schema": SCHEMA, **values}, status, headers)


def _bearer(request: Request) -> str:
    return request.headers.get("authorization", "").partition(" ")[2].strip()


def _user(user: User) -> dict[str, Any]:
    return {
        "name": user.name,
        "role": user.role,
        "must_change_password": user.must_change,
        "created_unix_s": user.created_s,
        "password_changed_unix_s": user.changed_s,
        "last_login_unix_s": user.last_login_s,
    }


def _session(session: Session, login: Login) -> dict[str, Any]:
    return {
        "id": session.mark,
        "user": session.user,
        "created_unix_s": session.created_s,
        "seen_unix_s": session.seen_s,
        "address": session.address,
        "agent": session.agent,
        "current": session.mark == login.mark,
    }


def _token(token: Token) -> dict[str, Any]:
    return {
        "id": token.mark,
        "name": token.name,
        "user": token.user,
        "role": token.role,
        "scopes": list(token.scopes),
        "created_unix_s": token.created_s,
        "expires_unix_s": token.expires_s,
        "used_unix_s": token.used_s,
    }
