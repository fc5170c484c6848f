"""Moves bytes to or from a URL over one line, for speed tests: plain HTTP, as fast as TCP lets us."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Final
from urllib.parse import SplitResult, urlsplit

from hagw.errors import HagwError
from hagw.model.snapshot import Direction, UplinkView

PIECE_BYTES: Final = 1 << 16
HEAD_MAX_BYTES: Final = 1 << 14
CONNECT_S: Final = 4.0


Moved = Callable[[int], None]


class NotMoved(HagwError):
    """The server does not do what a test needs; the message says what it said."""


async def move(uplink: UplinkView, url: str, direction: Direction, limit_bytes: int, moved: Moved) -> None:
    """Move up to `limit_bytes`, telling each piece. Raise OSError or NotMoved."""
    try:
        parts = urlsplit(url)
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await _connected(uplink, parts)
    except ValueError as why:  # a port beyond 65535, a name with a part of more than 63 letters
        raise NotMoved(f"{url} cannot be asked: {why}.") from why
    try:
        if direction == "down":
            await _download(reader, writer, parts, limit_bytes, moved)
        else:
            await _upload(writer, parts, limit_bytes, moved)
    finally:
        writer.transport.abort()  # whatever is on its way is not wanted any more


async def _connected(uplink: UplinkView, parts: SplitResult) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    secure = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    loop = asyncio.get_running_loop()
    for family, source in ((socket.AF_INET, uplink.address4), (socket.AF_INET6, uplink.address6)):
        if source is None:
            continue
        try:
            found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        except OSError:
            continue
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, uplink.interface.encode())
            sock.bind((source, 0))
            await loop.sock_connect(sock, found[0][4])
            context = ssl.create_default_context() if secure else None
            return await asyncio.open_connection(sock=sock, ssl=context, server_hostname=host if secure else None)
        except OSError:
            sock.close()
            raise
    raise NotMoved(f"{host} has no address that line {uplink.name} has a way to.")


async def _download(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, parts: SplitResult, limit: int, moved: Moved
) -> None:
    writer.write(_head("GET", parts, "Accept: */*\r\n"))
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as why:
        raise NotMoved("The server's answer is not HTTP.") from why
    status = head.split(b"\r\n", 1)[0].decode("latin-1")
    if " 200 " not in f"{status} ":
        raise NotMoved(f"The server says {status[:80]!r}.")
    left = limit
    while left > 0 and (piece := await reader.read(min(PIECE_BYTES, left))):
        moved(len(piece))
        left -= len(piece)


async def _upload(writer: asyncio.StreamWriter, parts: SplitResult, limit: int, moved: Moved) -> None:
    writer.transport.set_write_buffer_limits(high=PIECE_BYTES)
    writer.write(_head("POST", parts, f"Content-Type: application/octet-stream\r\nContent-Length: {limit}\r\n"))
    piece = bytes(PIECE_BYTES)
    left = limit
    while left > 0:
        size = min(PIECE_BYTES, left)
        writer.write(piece[:size])
        await writer.drain()
        moved(size)
        left -= size


def _head(method: str, parts: SplitResult, more: str) -> bytes:
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = parts.netloc.rpartition("@")[2]
    return f"{method} {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n".encode("latin-1")
