"""The API's resource `/usage`: how data caps stand, and the operator's own figures for them."""

from typing import Annotated, Protocol, Self

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator

from hagw.api.documents import UsageDocument
from hagw.control.usage import CapsPort

SCHEMA = 1
_BYTES_MAX = 10**15
Bytes = Annotated[int, Field(ge=0, le=_BYTES_MAX)]


class Metered(Protocol):
    """What this resource asks of the daemon."""

    caps: CapsPort


class Correction(BaseModel):
    """What the operator's own count says of the present period; at least one figure."""

    model_config = ConfigDict(extra="forbid")

    cap: Annotated[str, Field(max_length=32)]
    used_bytes: Bytes | None = None
    used_down_bytes: Bytes | None = None
    used_up_bytes: Bytes | None = None

    @model_validator(mode="after")
    def _has_a_figure(self) -> Self:
        if self.used_bytes is None and self.used_down_bytes is None and self.used_up_bytes is None:
            raise ValueError("name at least one figure")
        return self


def usage_resources(daemon: Metered) -> APIRouter:
    """Return the routes."""
    router = APIRouter()

    @router.get("/usage", responses={200: {"model": UsageDocument}})
    async def usage() -> Response:
        return _answer(daemon)

    @router.post("/usage", responses={200: {"model": UsageDocument}})
    async def correct(correction: Correction) -> Response:
        figures = (correction.used_bytes, correction.used_down_bytes, correction.used_up_bytes)
        await daemon.caps.correct(correction.cap, *figures)
        return _answer(daemon)

    return router


def _answer(daemon: Metered) -> Response:
    return JSONResponse({"schema": SCHEMA, "data_caps": daemon.caps.documents()})
