"""Listen, speak TLS and HTTP: connections are bounded in number and in how long they may take to ask."""

import asyncio
import contextlib
import socket
import ssl
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from hagw.web.app import App
from hagw.web.settings import Settings

CONNECTIONS_MAX: Final = 512
CONNECTIONS_AN_ADDRESS_MAX: Final = 64
HANDSHAKE_S: Final = 10.0
HEADERS_S: Final = 10.0
KEEP_ALIVE_S: Final = 30
GRACE_S: Final = 0.5
BACKLOG: Final = 128

Place = tuple[str, str]  # address, and interface ("" = any)


class Protocol(H11Protocol):
    """uvicorn's HTTP/1.1 protocol with an end to its patience."""

    _address = ""
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Take a connection, unless there are too many."""
        super().connection_made(transport)
        self._address = str((transport.get_extra_info("peername") or [""])[0])
        counts = _counts(self.server_state)
        counts[self._address] += 1
        if counts.total() > CONNECTIONS_MAX or counts[self._address] > CONNECTIONS_AN_ADDRESS_MAX:
            transport.abort()
            return
        self._expect_a_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        super().connection_lost(exc)
        counts = _counts(self.server_state)
        counts[self._address] -= 1
        if not counts[self._address]:
            del counts[self._address]
        self._expect_nothing()

    def data_received(self, data: bytes) -> None:
        """Read on; a request that is begun has to be there in full soon."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._expect_nothing()
        elif self._deadline is None:
            self._expect_a_request()

    def _expect_a_request(self) -> None:
        self._deadline = self.loop.call_later(HEADERS_S, self._too_late)

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._deadline = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


class _State(ServerState):
    """What connections have in common."""

    def __init__(self) -> None:
        super().__init__()
        self.by_address: Counter[str] = Counter()


def _counts(state: ServerState) -> Counter[str]:
    assert isinstance(state, _State)
    return state.by_address


class Server:
    """Sockets and their connections."""

    def __init__(self, app: App, context: ssl.SSLContext) -> None:
        self._state = _State()
        self._app = app
        self._context = context
        self._config = Config(
            app,
            http=Protocol,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            h11_max_incomplete_event_size=32 << 10,
        )
        self._config.load()

    @contextlib.asynccontextmanager
    async def listening(self, sockets: list[socket.socket]) -> Any:
        """Serve while the block runs; then end connections, the busy ones after a moment."""
        loop = asyncio.get_running_loop()
        servers = [
            await loop.create_server(
                self._protocol,
                sock=sock,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_S,
                ssl_shutdown_timeout=GRACE_S,
                backlog=BACKLOG,
            )
            for sock in sockets
        ]
        try:
            yield
        finally:
            for server in servers:
                server.close()
            await self._end()

    def _protocol(self) -> Protocol:
        return Protocol(config=self._config, server_state=self._state, app_state={})

    async def _end(self) -> None:
        self._app.ending.set()
        for connection in list(self._state.connections):
            connection.shutdown()
        tasks = set(self._state.tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=GRACE_S)
        for task in tasks:
            task.cancel()
        for connection in list(self._state.connections):
            if not connection.transport.is_closing():
                connection.transport.abort()


def opened(settings: Settings) -> tuple[list[socket.socket], dict[Place, str]]:
    """Open a socket for each place to listen at; return them, and what could not be opened and why.

    One that is bound to an interface takes nothing that came in elsewhere, whatever address it was sent to.
    """
    sockets: list[socket.socket] = []
    failed: dict[Place, str] = {}
    for place in _places(settings):
        try:
            sockets.append(_open(place, settings.port))
        except OSError as why:
            failed[place] = f"{'%'.join(filter(None, place))}: {why.strerror}"
    return sockets, failed


def can_open(place: Place, port: int) -> bool:
    """Say whether a place that could not be opened can be now."""
    try:
        _open(place, port).close()
    except OSError:
        return False
    return True


def _places(settings: Settings) -> Iterator[Place]:
    yield from (("127.0.0.1", "lo"), ("::1", "lo"))
    if settings.addresses:
        yield from ((address, "") for address in settings.addresses)
        return
    for interface in settings.interfaces:
        yield from (("0.0.0.0", interface), ("::", interface))


def _open(place: Place, port: int) -> socket.socket:
    address, interface = place
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if interface:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
        sock.bind((address, port))
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
