"""Serve the API on its Unix socket, as one task of the daemon."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from hagw.api.app import Observed, build_app
from hagw.api.config import Changed
from hagw.api.peers import PeerProtocol

GRACE_S = 2
SOCKET_MODE = 0o600


class Server(uvicorn.Server):
    """uvicorn inside somebody else's loop: signals are the daemon's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signal handlers alone."""
        yield


async def serve(daemon: Observed, changes: Changed, path: Path) -> None:
    """Serve until cancelled. The caller holds the runtime directory: a socket left at `path` is nobody's."""
    app = build_app(daemon, changes, frozenset({0, os.geteuid()}))
    config = uvicorn.Config(
        app,
        http=PeerProtocol,
        lifespan="off",
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    with contextlib.closing(_bind(path)) as sock:
        await Server(config).serve(sockets=[sock])


def _bind(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(path))
        path.chmod(SOCKET_MODE)  # before listen(): nobody can have connected yet
    except OSError:
        sock.close()
        raise
    return sock
