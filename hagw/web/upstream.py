"""The daemon behind its socket: requests go there one to one, answers come back as they arrive."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from hagw.model.web import CLIENT_HEADER, FINGERPRINT_HEADER, SERVER_HEADER, SESSION_HEADER

CONNECTIONS_MAX: Final = 256
CONNECT_S: Final = 2.0
SILENT_S: Final = 90.0  # applying takes up to 60 s, streams have a heartbeat each 15 s
# Only these go on: what else a browser sends is none of the daemon's business.
PASSED_ON: Final = ("accept", "content-type", "user-agent", "last-event-id")
PASSED_BACK: Final = ("content-type", "content-length", "content-disposition", "retry-after", "cache-control")


class DaemonAway(Exception):
    """Nobody answers on the daemon's socket, or not to the end."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request as it goes on; `target` is path and query as they came, `secret` "" without a login.

    `server` is the address and port that it came to, `fingerprint` that of the certificate it was shown.
    """

    method: str
    target: bytes
    headers: Mapping[str, str]
    body: bytes
    secret: str
    address: str
    server: str = ""
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `session` is the secret of a session that began, "" of one that ended, None otherwise."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    session: str | None
    chunks: AsyncIterator[bytes]


class Upstream:
    """Connections to the daemon, made as needed: it may come and go."""

    def __init__(self, socket_file: Path) -> None:
        limits = httpx.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=16, keepalive_expiry=2.0)
        self._client = httpx.AsyncHTTPTransport(uds=str(socket_file), limits=limits, retries=0)

    @asynccontextmanager
    async def ask(self, question: Question) -> AsyncIterator[Answer]:
        """Ask the daemon. Raises DaemonAway, also while the answer is read."""
        request = _request(question)
        try:
            response = await self._client.handle_async_request(request)
        except (httpx.TransportError, OSError) as why:
            raise DaemonAway(str(why)) from why
        try:
            headers = tuple(
                (name.encode(), response.headers[name].encode("latin-1"))
                for name in PASSED_BACK
                if name in response.headers
            )
            yield Answer(response.status_code, headers, response.headers.get(SESSION_HEADER), _chunks(response))
        finally:
            await response.aclose()

    async def close(self) -> None:
        """Close what is open."""
        await self._client.aclose()


def _request(question: Question) -> httpx.Request:
    headers = {name: question.headers[name] for name in PASSED_ON if name in question.headers}
    headers[CLIENT_HEADER] = question.address
    headers[SERVER_HEADER] = question.server
    headers[FINGERPRINT_HEADER] = question.fingerprint
    if question.secret:
        headers["authorization"] = f"Bearer {question.secret}"
    timeout = {"connect": CONNECT_S, "read": SILENT_S, "write": CONNECT_S, "pool": CONNECT_S}
    return httpx.Request(
        question.method,
        httpx.URL(scheme="http", host="hagw", raw_path=question.target),
        headers=headers,
        content=question.body or None,
        extensions={"timeout": timeout},
    )


async def _chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.aiter_raw():
            yield chunk
    except (httpx.TransportError, OSError) as why:
        raise DaemonAway(str(why)) from why
