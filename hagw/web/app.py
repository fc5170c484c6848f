"""The application: checks where a request comes from, serves the page's files, and passes the rest on to the daemon."""

import asyncio
import json
from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus
from typing import Any, Final

from hagw.log import log_of
from hagw.model.web import TOKEN_PREFIX
from hagw.web.checks import SAFE, is_for_us, is_json, why_foreign, why_forged
from hagw.web.headers import SECURITY, cookie_with, secret_in
from hagw.web.static import Files, matches
from hagw.web.upstream import Answer, DaemonAway, Question, Upstream

Scope = Mapping[str, Any]
Headers = Mapping[str, str]

API: Final = "/api/v1/"
LOGIN: Final = "/api/v1/session"
BODY_MAX: Final = 4 << 20
STRANGERS_BODY_MAX: Final = 16 << 10  # nobody has logged in yet
BODY_S: Final = 30.0
BIG_BODIES_MAX: Final = 4  # at a time; together they are what this process can be made to hold
AGAIN_S: Final = 2
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
AWAY: Final = (
    "The hagw daemon does not answer. Connections go on as they are, or directly; this page tries again by itself."
)

log = log_of("hagw.web")


class Problem(Exception):
    """A request that is refused here, with what to answer."""

    def __init__(self, status: int, detail: str) -> None:
        self.status, self.detail = status, detail
        super().__init__(detail)


class App:
    """ASGI. `names` are what this machine may be called besides its addresses.

    `fingerprint` is that of the certificate that browsers are shown now.
    """

    def __init__(self, files: Files, upstream: Upstream, names: Collection[str], is_owned: bool) -> None:
        self._files = files
        self._upstream = upstream
        self._names = {"localhost", *(name.lower() for name in names)}
        self._big = asyncio.Semaphore(BIG_BODIES_MAX)
        self.fingerprint = ""
        self.ending = asyncio.Event()  # streams end by themselves, so that nobody has to cut them off
        # Browsers keep this in mind for names only, and only once they trust the certificate.
        self._extra = ((b"strict-transport-security", b"max-age=31536000"),) if is_owned else ()

    async def __call__(self, scope: Scope, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        answering = _Answering(send, (*SECURITY, *self._extra), scope["method"] == "HEAD")
        try:
            await self._answer(scope, receive, answering)
        except Problem as why:
            await answering.problem(why.status, why.detail)
        except DaemonAway:
            await answering.problem(503, AWAY, ((b"retry-after", str(AGAIN_S).encode()),))

    async def _answer(self, scope: Scope, receive: Callable[[], Any], answering: "_Answering") -> None:
        headers, method = _headers(scope), scope["method"]
        if not is_for_us(headers.get("host", ""), self._names):
            raise Problem(421, "This machine is not called that; its name can be added to `web.names`.")
        if method not in METHODS:
            raise Problem(405, f"{method[:16]} is not for this.")
        if (why := why_foreign(method, headers)) is not None:
            raise Problem(403, why)
        if scope["path"].startswith(API) and scope["raw_path"].startswith(API.encode()):
            await self._pass_on(scope, headers, receive, answering)
        elif scope["path"].startswith("/api"):
            raise Problem(404, "There is no such resource.")
        elif method in SAFE:
            await self._file(scope["path"], headers, answering)
        else:
            raise Problem(405, "Files are only read.")

    async def _file(self, path: str, headers: Headers, answering: "_Answering") -> None:
        file = self._files.find(path)
        if file is None:
            raise Problem(404, "There is no such file.")
        encoding = file.encoding(headers.get("accept-encoding", ""))
        tag = file.tag(encoding)
        shown = [(b"etag", tag.encode()), (b"cache-control", file.cache.encode()), (b"vary", b"accept-encoding")]
        if matches(headers.get("if-none-match", ""), tag):
            await answering.whole(304, shown, b"")
            return
        shown.append((b"content-type", file.media_type.encode()))
        if encoding != "identity":
            shown.append((b"content-encoding", encoding.encode()))
        await answering.whole(200, shown, file.bodies[encoding])

    async def _pass_on(
        self, scope: Scope, headers: Headers, receive: Callable[[], Any], answering: "_Answering"
    ) -> None:
        method, secret, by_cookie = scope["method"], _token(headers), False
        if not secret:
            secret = secret_in(headers.get("cookie", ""))
            by_cookie = bool(secret)
        is_login = method == "POST" and scope["path"] == LOGIN
        if by_cookie and not is_login and (why := why_forged(method, headers, secret)) is not None:
            raise Problem(403, why)
        size = _size(headers)
        if size > (BODY_MAX if secret else STRANGERS_BODY_MAX):
            raise Problem(413, "The request is too large.")
        if (size or is_login) and not is_json(headers):
            raise Problem(415, "Bodies are application/json.")
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        if size > STRANGERS_BODY_MAX:
            async with self._big:
                body = await _body(receive, size)
        else:
            body = await _body(receive, size)
        question = Question(method, target, headers, body, secret, _address(scope), _server(scope), self.fingerprint)
        async with self._upstream.ask(question) as answer:
            await self._hand_back(answer, receive, answering)

    async def _hand_back(self, answer: Answer, receive: Callable[[], Any], answering: "_Answering") -> None:
        """Send an answer on as it comes; stop when the browser has gone, a stream also when we end."""
        headers = [*answer.headers]
        if not any(name == b"cache-control" for name, _ in headers):
            headers.append((b"cache-control", b"no-store"))
        if answer.session is not None:
            headers.append((b"set-cookie", cookie_with(answer.session)))
        await answering.begin(answer.status, headers)
        is_stream = not any(name == b"content-length" for name, _ in headers)
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(_send(answer, answering))  # cut short by the daemon's end, it has no end itself
            gone = group.create_task(_gone(receive))
            ending = group.create_task(self.ending.wait())
            watched = {sending, gone, ending} if is_stream else {sending, gone}
            done, _ = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            for task in (sending, gone, ending):
                task.cancel()
        if done == {ending}:
            await answering.end()


class _Answering:
    """One answer, with the headers that all have."""

    def __init__(self, send: Callable[[Any], Any], headers: tuple[tuple[bytes, bytes], ...], is_head: bool) -> None:
        self._send, self._headers, self._is_head = send, headers, is_head

    async def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        await self._send({"type": "http.response.start", "status": status, "headers": [*self._headers, *headers]})

    async def more(self, body: bytes) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def end(self, body: bytes = b"") -> None:
        await self._send({"type": "http.response.body", "body": b"" if self._is_head else body})

    async def whole(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        length = [] if status == 304 else [(b"content-length", str(len(body)).encode())]
        await self.begin(status, [*headers, *length])
        await self.end(body)

    async def problem(self, status: int, detail: str, more: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        title = HTTPStatus(status).phrase
        document = {"type": "about:blank", "title": title, "status": status, "detail": detail}
        headers = [(b"content-type", b"application/problem+json"), (b"cache-control", b"no-store"), *more]
        await self.whole(status, headers, json.dumps(document).encode())


async def _send(answer: Answer, answering: _Answering) -> None:
    try:
        async for chunk in answer.chunks:
            await answering.more(chunk)
    except DaemonAway as why:
        log.warning("answer broken off", reason=str(why))  # the connection ends: half must not pass for the whole
        return
    await answering.end()


async def _gone(receive: Callable[[], Any]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _body(receive: Callable[[], Any], size: int) -> bytes:
    """Return a request's body, which is no longer than it said."""
    found = bytearray()
    if size == 0:
        return b""
    try:
        async with asyncio.timeout(BODY_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Problem(400, "The request broke off.")
                found += message.get("body", b"")
                if not message.get("more_body"):
                    return bytes(found)
    except TimeoutError:
        raise Problem(408, "The request takes too long.") from None


def _size(headers: Headers) -> int:
    """Return how long a body says it is; one of unknown length is refused."""
    if "transfer-encoding" in headers:
        raise Problem(411, "Say how long the request is.")
    text = headers.get("content-length", "0")
    return int(text) if text.isdecimal() and len(text) < 12 else BODY_MAX + 1


def _token(headers: Headers) -> str:
    """Return an API token that a script sent, "" without one. A session's secret counts as a cookie only."""
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    secret = secret.strip()
    return secret if scheme.lower() == "bearer" and secret.startswith(TOKEN_PREFIX) else ""


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return _plain(str(client[0])) if client else ""


def _plain(address: str) -> str:
    """Return an address without its zone, and of a mapped one the address that it stands for."""
    address = address.partition("%")[0]
    return address.removeprefix("::ffff:") if "." in address else address


def _server(scope: Scope) -> str:
    """Return our own address and port that a request came to, as it is told to the daemon."""
    server = scope.get("server")
    if not server or not server[1]:
        return ""
    return f"{_plain(str(server[0]))} {server[1]}"


def _headers(scope: Scope) -> dict[str, str]:
    """Return the headers by lower-case name; one that is given twice with different words counts as its first."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return found
