"""Asks for a web page over one line, to find out whether a captive portal answers in the server's place.

Meaning and timing are `hagw.health.portal`'s. An answer that is not the right one counts only if the gateway's
converter cannot be reached over the line: a network that lets us through to it is no portal, whatever answers on port
80.
"""

import asyncio
import socket
from typing import Final
from urllib.parse import urlsplit

from hagw.health.portal import ANSWER_MAX_BYTES, PortalAnswer, judge, request
from hagw.model.intent import PortalIntent
from hagw.probe.path import Endpoints

TIMEOUT_S: Final = 4.0
PAGE_BYTES: Final = 1000  # what one look costs, about; a bigger page is a portal's
_HTTP: Final = 80


async def look_for_portal(ends: Endpoints, page: PortalIntent) -> PortalAnswer:
    """Return what asking over the line `ends` belongs to came to; takes 8 s at most."""
    url = page.url or f"http://{_host(str(ends.destination))}/"
    try:
        async with asyncio.timeout(TIMEOUT_S):
            answer = await _fetch(ends, url)
    except ConnectionRefusedError:
        return PortalAnswer("clean")  # nobody answers in the server's place
    except (OSError, ValueError):  # TimeoutError is an OSError; ValueError: the URL's host has no usable address
        return PortalAnswer("unclear")
    found = judge(answer, page, url)
    if found.verdict == "portal" and await _converter_answers(ends):
        return PortalAnswer("clean")
    return found


async def _fetch(ends: Endpoints, url: str) -> bytes:
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    family = socket.AF_INET if ends.source.version == 4 else socket.AF_INET6
    port = parts.port or _HTTP
    found = await loop.getaddrinfo(parts.hostname or "", port, family=family, type=socket.SOCK_STREAM)
    answer = b""
    with _bound(ends) as sock:
        await loop.sock_connect(sock, found[0][4])
        await loop.sock_sendall(sock, request(url))
        while len(answer) < ANSWER_MAX_BYTES and (data := await loop.sock_recv(sock, ANSWER_MAX_BYTES)):
            answer += data
    return answer


async def _converter_answers(ends: Endpoints) -> bool:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            with _bound(ends) as sock:
                await asyncio.get_running_loop().sock_connect(sock, (str(ends.destination), ends.convert_port))
    except OSError:
        return False
    return True


def _bound(ends: Endpoints) -> socket.socket:
    family = socket.AF_INET if ends.source.version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, ends.interface.encode())
        sock.bind((str(ends.source), 0))
    except OSError:
        sock.close()
        raise
    return sock


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
