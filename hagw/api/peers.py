"""Who is calling on the Unix socket, by the kernel's word: the HTTP protocol with the peer's uid as client address."""

import asyncio
import socket
import struct
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

PEER = "uid"  # the host part of the scope's client; the port part is the uid
WEB = "web"  # likewise, of connections to the web process' socket, where no uid has rights
NOBODY = 65534


class PeerProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 protocol, which knows no client address on Unix sockets."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Note the uid that connected (SO_PEERCRED)."""
        super().connection_made(transport)
        self.client = (PEER, _peer_uid(transport.get_extra_info("socket")))


class WebProtocol(H11Protocol):
    """The same for the web process' socket: who connects there is nobody but by the login it carries."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Mark the connection."""
        super().connection_made(transport)
        self.client = (WEB, NOBODY)


def peer_uid(scope: Any) -> int:
    """Return the uid behind a request's scope; nobody's where it is not known."""
    client = scope.get("client")
    return int(client[1]) if client is not None and client[0] == PEER else NOBODY


def _peer_uid(sock: socket.socket) -> int:
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(uid)
