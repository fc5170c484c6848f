"""The API's resource that has a HAG take no new flows, and again take them."""

from typing import Any, Protocol

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict


class Drains(Protocol):
    """What this resource asks of the daemon."""

    def drain(self, wanted: bool | None) -> dict[str, Any]:
        """Take no new flows, or take them again (None = as it is); return how it stands. Raise Refused on a CPE."""


class Wish(BaseModel):
    """What is wanted."""

    model_config = ConfigDict(extra="forbid")

    draining: bool


def drain_resources(daemon: Drains) -> APIRouter:
    """Return the routes."""
    router = APIRouter()

    @router.get("/drain")
    async def look() -> Response:
        return JSONResponse(daemon.drain(None))

    @router.post("/drain")
    async def change(wish: Wish) -> Response:
        return JSONResponse(daemon.drain(wish.draining))

    return router
