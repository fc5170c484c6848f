"""The API's resources of speed tests."""

from collections.abc import Callable
from typing import Annotated, Any, Final, Protocol

from fastapi import APIRouter, HTTPException, Path, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from hagw.api.documents import SpeedtestDocument, SpeedtestsDocument
from hagw.control.speedtest import BYTES_MAX, BYTES_MIN
from hagw.model.snapshot import Direction

SCHEMA: Final = 1
TestId = Annotated[str, Path(max_length=32)]


class SpeedtestsPort(Protocol):
    """The daemon's tests."""

    on_change: Callable[[dict[str, Any]], None]

    def start(self, uplink: str, direction: Direction, max_bytes: int | None = None) -> dict[str, Any]: ...

    def get(self, test_id: str) -> dict[str, Any] | None: ...

    def all(self) -> list[dict[str, Any]]: ...

    def cancel(self, test_id: str) -> dict[str, Any] | None: ...


class Tested(Protocol):
    """What these resources ask of the daemon."""

    @property
    def speedtests(self) -> SpeedtestsPort | None: ...


class TestBody(BaseModel):
    """Which line, in which direction, and how many bytes at most; a metered line costs less in any case."""

    model_config = ConfigDict(extra="forbid")

    uplink: Annotated[str, Field(max_length=64)]
    direction: Direction = "down"
    max_bytes: Annotated[int, Field(ge=BYTES_MIN, le=BYTES_MAX)] | None = None


def speedtest_resources(daemon: Tested) -> APIRouter:
    """Return the routes."""
    router = APIRouter()

    def tests() -> SpeedtestsPort:
        if daemon.speedtests is None:
            raise HTTPException(409, "Lines are tested on the CPE; this is a HAG.")
        return daemon.speedtests

    @router.get("/speedtests", responses={200: {"model": SpeedtestsDocument}})
    async def every() -> Response:
        return JSONResponse({"schema": SCHEMA, "speedtests": tests().all()})

    @router.post("/speedtests", status_code=201, responses={201: {"model": SpeedtestDocument}})
    async def start(body: TestBody) -> Response:
        return JSONResponse(tests().start(body.uplink, body.direction, body.max_bytes), status_code=201)

    @router.get("/speedtests/{test_id}", responses={200: {"model": SpeedtestDocument}})
    async def one(test_id: TestId) -> Response:
        return _found(tests().get(test_id), test_id)

    @router.delete("/speedtests/{test_id}", responses={200: {"model": SpeedtestDocument}})
    async def cancel(test_id: TestId) -> Response:
        return _found(tests().cancel(test_id), test_id)

    return router


def _found(document: dict[str, Any] | None, test_id: str) -> Response:
    if document is None:
        raise HTTPException(404, f"There is no speed test {test_id!r}.")
    return JSONResponse(document)
