"""The daemon behind its socket: requests go there one to one, answers come back as they arrive."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import h11

from hagw.model.web import CLIENT_HEADER, FINGERPRINT_HEADER, SERVER_HEADER, SESSION_HEADER

CONNECTIONS_MAX: Final = 256
CONNECT_S: Final = 2.0
SILENT_S: Final = 90.0  # applying takes up to 60 s, streams have a heartbeat each 15 s
# Only these go on: what else a browser sends is none of the daemon's business.
PASSED_ON: Final = ("accept", "content-type", "user-agent", "last-event-id")
PASSED_BACK: Final = (b"content-type", b"content-length", b"content-disposition", b"retry-after", b"cache-control")
IDLE_MAX: Final = 16
IDLE_S: Final = 2.0  # the daemon ends those that are idle for five
READ_BYTES: Final = 1 << 16


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
        self._file = socket_file
        self._free = asyncio.Semaphore(CONNECTIONS_MAX)
        self._idle: deque[_Connection] = deque()

    @asynccontextmanager
    async def ask(self, question: Question) -> AsyncIterator[Answer]:
        """Ask the daemon. Raises DaemonAway, also while the answer is read."""
        with _daemon_may_be_away():
            async with asyncio.timeout(CONNECT_S):
                await self._free.acquire()
        connection = None
        try:
            with _daemon_may_be_away():
                connection = self._kept() or await _connected(self._file)
                response = await connection.ask(question)
            told = dict(reversed(response.headers))  # the first of several counts
            headers = tuple((name, told[name]) for name in PASSED_BACK if name in told)
            session = told.get(SESSION_HEADER.lower().encode())
            yield Answer(
                response.status_code, headers, None if session is None else session.decode(), connection.chunks()
            )
        finally:
            self._free.release()
            if connection is not None:
                self._put_away(connection)

    async def close(self) -> None:
        """Close what is open."""
        while self._idle:
            self._idle.pop().close()

    def _kept(self) -> "_Connection | None":
        """Return a connection that the daemon will not end just now."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_fresh():
                return connection
            connection.close()
        return None

    def _put_away(self, connection: "_Connection") -> None:
        if not connection.is_reusable() or len(self._idle) >= IDLE_MAX:
            connection.close()
            return
        self._idle.append(connection)


class _Connection:
    """One HTTP/1.1 connection to the daemon."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._http = h11.Connection(h11.CLIENT)
        self._since = 0.0

    async def ask(self, question: Question) -> h11.Response:
        """Send a request; return the head of the answer."""
        async with asyncio.timeout(CONNECT_S):
            self._send(_request(question))
            if question.body:
                self._send(h11.Data(question.body))
            self._send(h11.EndOfMessage())
            await self._writer.drain()
        while not isinstance(event := await self._event(), h11.Response):
            pass  # what only says that more will come
        return event

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes. Raises DaemonAway."""
        with _daemon_may_be_away():
            while isinstance(event := await self._event(), h11.Data):
                yield bytes(event.data)

    def is_reusable(self) -> bool:
        """Say whether the answer was read to its end and another request may follow; then it stands for a moment."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        self._since = asyncio.get_running_loop().time()
        return True

    def is_fresh(self) -> bool:
        """Say whether it is not so old that the daemon is about to end it, and did not."""
        return not self._reader.at_eof() and asyncio.get_running_loop().time() - self._since < IDLE_S

    def close(self) -> None:
        """End it at once."""
        self._writer.transport.abort()

    def _send(self, event: h11.Event) -> None:
        self._writer.write(self._http.send(event) or b"")

    async def _event(self) -> h11.Event:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            async with asyncio.timeout(SILENT_S):
                self._http.receive_data(await self._reader.read(READ_BYTES))
        if not isinstance(event, h11.Event):
            raise h11.RemoteProtocolError("no answer")
        return event


@contextmanager
def _daemon_may_be_away() -> Iterator[None]:
    try:
        yield
    except (OSError, h11.ProtocolError) as why:  # too late is an OSError, too
        raise DaemonAway(str(why)) from why


async def _connected(socket_file: Path) -> _Connection:
    async with asyncio.timeout(CONNECT_S):
        return _Connection(*await asyncio.open_unix_connection(socket_file))


def _request(question: Question) -> h11.Request:
    headers = [("host", "hagw")]
    headers += [(name, question.headers[name]) for name in PASSED_ON if name in question.headers]
    headers.append((CLIENT_HEADER, question.address))
    headers += [(SERVER_HEADER, question.server), (FINGERPRINT_HEADER, question.fingerprint)]
    if question.secret:
        headers.append(("authorization", f"Bearer {question.secret}"))
    if question.body or question.method not in ("GET", "HEAD"):
        headers.append(("content-length", str(len(question.body))))
    encoded = [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers]  # as they came
    return h11.Request(method=question.method, target=question.target, headers=encoded)
