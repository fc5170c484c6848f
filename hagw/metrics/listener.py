"""Metrics for a scraper without a login, where the configuration says so: one resource, one request a connection."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

from hagw.log import log_of
from hagw.metrics.table import Document

REQUEST_MAX: Final = 8192
REQUEST_S: Final = 5.0
CONNECTIONS_MAX: Final = 16
LOOK_S: Final = 1.0
RETRY_S: Final = 30.0

Where = tuple[Sequence[str], int]
log = log_of("hagw.metrics")


class MetricsListener:
    """Serves `/metrics` at the addresses that `where` tells, anew when it tells others."""

    def __init__(self, document: Callable[[], Document], where: Callable[[], Where]) -> None:
        self._document = document
        self._where = where
        self._connections = 0

    async def run(self) -> None:
        """Serve for ever."""
        while True:
            where = self._where()
            servers = await self._listen(*where)
            complete = len(servers) == len(where[0])
            waited = 0.0
            try:
                while self._where() == where and (complete or waited < RETRY_S):
                    await asyncio.sleep(LOOK_S)
                    waited += LOOK_S
            finally:
                for server in servers:
                    server.close()

    async def _listen(self, addresses: Sequence[str], port: int) -> list[asyncio.Server]:
        servers = []
        for address in addresses:
            try:
                servers.append(await asyncio.start_server(self._serve, address, port, limit=REQUEST_MAX))
            except OSError as why:
                log.warning("metrics not served", address=address, port=port, reason=str(why))
        return servers

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= CONNECTIONS_MAX:
                async with asyncio.timeout(REQUEST_S):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(await self._answer(head))
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a scraper that went away, or somebody who is none
        finally:
            self._connections -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, head: bytes) -> bytes:
        request = head.partition(b"\r\n")[0].split(b" ")
        if len(request) != 3 or request[0] not in (b"GET", b"HEAD"):
            return _message("405 Method Not Allowed", "text/plain", b"")
        if request[1].partition(b"?")[0] != b"/metrics":
            return _message("404 Not Found", "text/plain", b"see /metrics\n")
        media_type, text = await asyncio.to_thread(import_text)
        body = text(self._document())
        return _message("200 OK", media_type, b"" if request[0] == b"HEAD" else body)


def import_text() -> tuple[str, Callable[[Document], bytes]]:
    """Import what makes the text; the daemon does without until somebody asks."""
    from hagw.metrics.text import MEDIA_TYPE, text

    return MEDIA_TYPE, text


def _message(status: str, media_type: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
