"""The API's resources that have a HAG take no new flows, and workers replaced while they work."""

from typing import Any, Protocol

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from hagw.api.documents import DrainDocument, RenewDocument


class Drains(Protocol):
    """What this resource asks of the daemon."""

    async def drain(self, wanted: bool | None) -> dict[str, Any]:
        """Take no new flows, or take them again (None = as it is); return how it stands. Raise Refused on a CPE."""


class Renews(Protocol):
    """What this resource asks of the daemon."""

    async def renew_workers(self) -> dict[str, Any]:
        """Replace every worker by a new process; the old ones finish their flows. Raise HagwError."""


class Wish(BaseModel):
    """What is wanted."""

    model_config = ConfigDict(extra="forbid")

    draining: bool


class Daemon(Drains, Renews, Protocol):
    """Both."""


def drain_resources(daemon: Daemon) -> APIRouter:
    """Return the routes."""
    router = APIRouter()

    @router.post("/workers/renew", responses={200: {"model": RenewDocument}})
    async def renew() -> Response:
        return JSONResponse(await daemon.renew_workers())

    @router.get("/drain", responses={200: {"model": DrainDocument}})
    async def look() -> Response:
        return JSONResponse(await daemon.drain(None))

    @router.post("/drain", responses={200: {"model": DrainDocument}})
    async def change(wish: Wish) -> Response:
        return JSONResponse(await daemon.drain(wish.draining))

    return router
