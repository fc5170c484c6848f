"""Listening sockets that pass from a worker to its successor, so that none is ever closed while somebody connects.

Both hold the same sockets meanwhile and both accept. The old one lets go when the new one says that it listens; when
the new one goes away before that, nothing has happened.
"""

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

ASK_TIMEOUT_S: Final = 3.0
SOCKETS_MAX: Final = 128
_LINE_MAX: Final = 65536


class Inheritance:
    """What the predecessor handed over; it waits for `taken`."""

    def __init__(self, line: socket.socket, sockets: dict[str, socket.socket]) -> None:
        self._line = line
        self.sockets = sockets  # whoever listens takes them out by name

    def taken(self) -> None:
        """Let the predecessor go; what was not wanted is closed."""
        for sock in self.sockets.values():
            sock.close()
        self.sockets.clear()
        self._line.sendall(b'{"op":"taken"}\n')
        self._line.close()


def ask(path: Path) -> Inheritance:
    """Ask the worker at `path` for its sockets. Raise OSError or ValueError when it does not hand them over."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        line.settimeout(ASK_TIMEOUT_S)
        line.connect(str(path))
        line.sendall(b'{"op":"handover"}\n')
        return Inheritance(line, _received(line))
    except BaseException:
        line.close()
        raise


def send(line: socket.socket, sockets: Mapping[str, socket.socket]) -> None:
    """Hand sockets over. Raise OSError."""
    answer = json.dumps({"op": "handover", "sockets": list(sockets)}).encode() + b"\n"
    socket.send_fds(line, [answer], [sock.fileno() for sock in sockets.values()])


def _received(line: socket.socket) -> dict[str, socket.socket]:
    """Read lines until the one with the sockets: events of the worker may come before it."""
    buffer, found = b"", list[int]()
    while True:
        data, descriptors, _, _ = socket.recv_fds(line, _LINE_MAX, SOCKETS_MAX)
        found += descriptors
        if not data:
            raise ConnectionResetError("the worker hung up")
        buffer += data
        *whole, buffer = buffer.split(b"\n")
        for text in whole:
            message: dict[str, Any] = json.loads(text)
            if message.get("op") == "handover":
                return _named(message["sockets"], found)
            if message.get("op") == "error":
                raise ValueError(message.get("message"))


def _named(names: list[str], descriptors: list[int]) -> dict[str, socket.socket]:
    sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    for sock in sockets:
        sock.setblocking(False)
    return dict(zip(names, sockets, strict=True))
