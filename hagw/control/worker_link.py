"""The daemon's end of one worker's control socket: JSON lines, and who sits at the other end."""

import asyncio
import json
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hagw.control.worker_process import WorkerProcess

LINE_MAX_BYTES = 32 << 20  # a flows answer of `flows_max` flows is about half of it

OnMessage = Callable[[dict[str, Any]], None]


class WorkerLost(Exception):
    """A worker ended, fell silent or talks nonsense; the message says which."""


class WorkerLink(asyncio.Protocol):
    """One connection to a worker, with a hold on the process that listens there.

    A protocol with callbacks, not streams: a loop's turn handles what arrived, and there is no task to supervise.
    """

    def __init__(self, process: WorkerProcess, on_message: OnMessage) -> None:
        self.process = process
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._on_message = on_message
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()

    @classmethod
    async def connect(cls, path: Path, on_message: OnMessage) -> "WorkerLink":
        """Connect to the worker listening at `path`. Raise OSError when nobody does."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.connect(str(path))  # at once or not at all on a Unix socket
            process = WorkerProcess.existing(_peer_pid(sock))
        except OSError:
            sock.close()
            raise
        if _is_closed(sock):  # the number may already have been somebody else's when we took hold of it
            process.close()
            sock.close()
            raise ConnectionResetError("the worker ended while we connected")
        link = cls(process, on_message)
        await asyncio.get_running_loop().create_unix_connection(lambda: link, sock=sock)
        return link

    def send(self, line: bytes) -> None:
        """Queue one encoded line; a worker that does not read is found by its silence."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(line)

    def is_congested(self) -> bool:
        """Say whether earlier lines still wait: what is only nice to know is better left out then."""
        return self._transport is not None and self._transport.get_write_buffer_size() > 0

    async def finish(self) -> WorkerProcess:
        """Hang up once everything queued was sent, or after a second; hand over the hold on the process."""
        if self._transport is not None:
            self._transport.close()
            await asyncio.wait({self.lost}, timeout=1.0)
            self._transport.abort()
        return self.process

    def close(self) -> None:
        """Hang up and let go of the process; it keeps running."""
        if self._transport is not None:
            self._transport.abort()
        self.process.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take note of the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Hand on the complete lines."""
        seen = len(self._buffer)
        self._buffer += data
        begin = 0
        while not self.lost.done() and (end := self._buffer.find(b"\n", max(begin, seen))) >= 0:
            self._take_line(bytes(self._buffer[begin:end]))
            begin = end + 1
        del self._buffer[:begin]
        if len(self._buffer) > LINE_MAX_BYTES:
            self._lose("sent an endless line")

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the end of the conversation."""
        self._lose("closed its control connection")

    def _take_line(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            return self._lose("sent a line that is not JSON")
        if not isinstance(message, dict):
            return self._lose("sent a line that is not a JSON object")
        return self._on_message(message)

    def _lose(self, reason: str) -> None:
        if not self.lost.done():
            self.lost.set_result(reason)


def encode(message: dict[str, Any]) -> bytes:
    """Return the message as one line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def _peer_pid(sock: socket.socket) -> int:
    pid, _, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(pid)


def _is_closed(sock: socket.socket) -> bool:
    try:
        return sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
