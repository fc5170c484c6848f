"""The API's resource `/doctor`: what `hagw doctor` finds, which takes seconds; one examination at a time for all."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Final, Protocol

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from hagw.api.documents import DoctorDocument
from hagw.model.finding import Finding

SCHEMA: Final = 1
FRESH_S: Final = 10.0


class Examined(Protocol):
    """What this resource asks of the daemon."""

    examine: Callable[[], Awaitable[tuple[Finding, ...]]]


def doctor_resources(daemon: Examined) -> APIRouter:
    """Return the route."""
    router = APIRouter()
    examining = asyncio.Lock()
    last: list[tuple[float, tuple[Finding, ...]]] = []

    @router.get("/doctor", responses={200: {"model": DoctorDocument}})
    async def doctor() -> Response:
        loop = asyncio.get_running_loop()
        async with examining:
            if not last or loop.time() - last[0][0] > FRESH_S:
                last[:] = [(loop.time(), await daemon.examine())]
        return JSONResponse({"schema": SCHEMA, "findings": [asdict(finding) for finding in last[0][1]]})

    return router
