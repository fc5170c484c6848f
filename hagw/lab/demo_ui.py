"""`lab demo --ui`: the admin page of the lab's CPE for a browser outside the lab.

A browser connects to 127.0.0.1 here; each connection goes on from a socket opened in the namespace of the CPE. Routes
and interfaces of the machine itself stay as they are.
"""

import asyncio
import contextlib
import json
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from hagw.errors import HagwError
from hagw.lab import gateway
from hagw.lab.lab import Lab, LabError

NODE: Final = "cpe"
HOST: Final = "127.0.0.1"
PORT: Final = 8443
_INSIDE: Final = 8443  # the page's own port, unless the lab's configuration says otherwise
_READY_S: Final = 20.0
_POLL_S: Final = 0.1
_CHUNK: Final = 64 << 10


def show(lab: Lab, preset: str | None, port: int, say: Callable[[str], None]) -> None:
    """Serve the page until SIGINT or SIGTERM, with the lab brought up for it if it was not up.

    Prints where it is and how to log in as one JSON document. Raise HagwError.
    """
    listening = _listen(port)
    brought_up = False
    try:
        brought_up = lab.up(preset=preset or "demo", say=say)
        say("starting the admin page")
        document = _page(lab, listening.getsockname()[1])
        print(json.dumps(document), flush=True)
        say("Ctrl-C ends it")
        asyncio.run(_serve(lab, listening))
    finally:
        listening.close()
        if brought_up:
            lab.down()


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port), backlog=64)
    except OSError as why:
        raise LabError(f"port {port} of {HOST} cannot be used: {why.strerror}") from why


def _page(lab: Lab, port: int) -> dict[str, Any]:
    """Start the CPE's `hagw web` if it does not run; return what a person needs to know."""
    if not lab.pids(NODE, "web"):
        lab.spawn(NODE, "web", [sys.executable, "-P", "-m", "hagw", "web"])
    deadline = time.monotonic() + _READY_S
    while not _answers(lab):
        if time.monotonic() > deadline:
            log = gateway.node_directory(lab.directory, NODE) / "web.log"
            said = log.read_text(encoding="utf-8", errors="replace")[-2000:] if log.exists() else ""
            raise LabError(f"the admin page does not answer within {_READY_S:g} s: {said}")
        time.sleep(_POLL_S)
    user, password = _login(lab)
    return {
        "schema": 1,
        "url": f"https://{HOST}:{port}/",
        "user": user,
        "password": password,
        "fingerprint": _hagw(lab, "web", "--fingerprint").strip(),
    }


def _login(lab: Lab) -> tuple[str, str]:
    """Return a login that works: the first one, or a password made anew where that was changed."""
    from hagw.access.store import first_password

    state = Path(lab.node_env(NODE)["HAGW_STATE_DIR"])
    found = first_password(state)
    if found is not None:
        return found
    made = json.loads(_hagw(lab, "user", "passwd", "admin", "--json"))
    return "admin", made["password"]


def _hagw(lab: Lab, *arguments: str) -> str:
    done = lab.run(NODE, ["hagw", *arguments], capture_output=True, text=True, timeout=30)
    if done.returncode != 0:
        raise HagwError(f"`hagw {' '.join(arguments)}` failed: {done.stderr.strip()}")
    return str(done.stdout)


def _answers(lab: Lab) -> bool:
    try:
        _connect(lab).close()
    except OSError:
        return False
    return True


def _connect(lab: Lab) -> socket.socket:
    """Return a socket connected to the page, opened where the page is."""
    with lab.in_namespace(NODE):
        return socket.create_connection((HOST, _INSIDE), timeout=5)


async def _serve(lab: Lab, listening: socket.socket) -> None:
    """Relay connections until told to end."""
    told_to_end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told_to_end.set)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            inside = await asyncio.to_thread(_connect, lab)
            inside.setblocking(False)
            far_reader, far_writer = await asyncio.open_connection(sock=inside)
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, far_writer))
                group.create_task(_pump(far_reader, writer))
        writer.close()

    server = await asyncio.start_server(relay, sock=listening)
    try:
        await told_to_end.wait()
    finally:
        server.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one direction to its end, and close behind it."""
    with contextlib.suppress(OSError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    writer.close()
