"""Serve the API on its Unix socket, as one task of the daemon."""

import asyncio
import contextlib
import grp
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import Server as UvicornServer

from hagw.access.desk import Desk
from hagw.api.app import Observed, build_app
from hagw.api.config import Changed
from hagw.api.flows import Recent, shown_busiest
from hagw.api.guard import Guard
from hagw.api.hub import FLOWS_MAX, Hub
from hagw.api.peers import PeerProtocol, WebProtocol
from hagw.api.records import event_entry
from hagw.history.events import Event
from hagw.history.keeper import Keeper
from hagw.model.web import NOGROUP, WEB_GROUP

GRACE_S = 2
SCHEMA = 1
SOCKET_MODE = 0o600
WEB_SOCKET_MODE = 0o660
WEB_DIRECTORY_MODE = 0o710  # the group passes through, and sees nothing else


class Server(UvicornServer):
    """uvicorn inside somebody else's loop: signals are the daemon's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signal handlers alone."""
        yield


async def serve(daemon: Observed, changes: Changed, desk: Desk, keeper: Keeper, path: Path, web_path: Path) -> None:
    """Serve until cancelled: `path` to who may do everything, `web_path` to the web process.

    The caller holds the runtime directory: sockets left there are nobody's.
    """
    hub = Hub(daemon.status, lambda: shown_busiest(daemon, FLOWS_MAX), changes.standing)
    follow(daemon, keeper, hub)
    recent = Recent(daemon)
    app = Guard(build_app(daemon, changes, desk, keeper, hub, recent), desk, frozenset({0, os.geteuid()}))
    with contextlib.closing(_bind(path)) as sock, contextlib.closing(_bind_for_web(web_path)) as web_sock:
        async with asyncio.TaskGroup() as group:
            group.create_task(_serve(app, PeerProtocol, sock))
            group.create_task(_serve(app, WebProtocol, web_sock))
            group.create_task(hub.run())
            group.create_task(recent.run())


def follow(daemon: Observed, keeper: Keeper, hub: Hub) -> None:
    """Have streams hear what history hears, and how speed tests go."""

    def on_event(event: Event) -> None:
        hub.tell("events", {"schema": SCHEMA, **event_entry(event)})
        if event.kind == "change":
            hub.look_for_changes()

    keeper.events.on_event = on_event
    if daemon.speedtests is not None:
        daemon.speedtests.on_change = lambda document: hub.tell("speedtests", document)
    keeper.on_sample = lambda at, told: hub.tell("history", {"schema": SCHEMA, "at_unix_s": at, "values": told})


async def _serve(app: Guard, protocol: type[H11Protocol], sock: socket.socket) -> None:
    config = Config(
        app,
        http=protocol,
        lifespan="off",
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    server = Server(config)
    try:
        await server.serve(sockets=[sock])
    finally:  # cancelled, it would leave all of them open
        for listening in server.servers:
            listening.close()
        for connection in list(server.server_state.connections):
            connection.transport.abort()


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


def _bind_for_web(path: Path) -> socket.socket:
    """Return a socket that the web process' group can connect to, and lead it there."""
    sock = _bind(path)
    with contextlib.suppress(PermissionError):  # not root, or one without rights: then whoever we are may connect
        group = _web_group()
        os.chown(path, -1, group)
        path.chmod(WEB_SOCKET_MODE)
        os.chown(path.parent, -1, group)
        path.parent.chmod(WEB_DIRECTORY_MODE)
    return sock


def _web_group() -> int:
    try:
        return grp.getgrnam(WEB_GROUP).gr_gid
    except KeyError:
        return NOGROUP
