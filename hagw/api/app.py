"""The API's resources: what `hagw status` and `hagw flows` read; the configuration's are in `config`."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, FastAPI, Query, Response
from fastapi.responses import JSONResponse, StreamingResponse

from hagw.access.desk import Desk
from hagw.api.access import access_resources
from hagw.api.config import Changed
from hagw.api.config import resources as config_resources
from hagw.api.draft import draft_resources
from hagw.api.drain import Drains, Renews, drain_resources
from hagw.api.explain import Explains, explain_resources
from hagw.api.problems import add_handlers
from hagw.api.roles import PREFIX
from hagw.api.usage import Metered, usage_resources
from hagw.control.status import FlowsDocument, StatusDocument

FLOWS_A_CHUNK = 100  # about 1 ms of encoding between two looks at everything else the loop has to do
RECENT_MAX_S = 3600.0


class Observed(Explains, Drains, Renews, Metered, Protocol):
    """What the API asks of the daemon."""

    def status(self) -> StatusDocument:
        """Return the status document."""

    async def flows(self, recent_s: float) -> FlowsDocument:
        """Return the flows document, with flows closed up to `recent_s` ago."""


def build_app(daemon: Observed, changes: Changed, desk: Desk) -> FastAPI:
    """Return the application; who may ask it for what is the guard's business, and each route is in its list."""
    app = FastAPI(title="hagw", openapi_url=f"{PREFIX}/openapi.json", docs_url=None, redoc_url=None)
    add_handlers(app)

    app.include_router(_resources(daemon), prefix=PREFIX)
    app.include_router(explain_resources(daemon), prefix=PREFIX)
    app.include_router(usage_resources(daemon), prefix=PREFIX)
    app.include_router(drain_resources(daemon), prefix=PREFIX)
    app.include_router(config_resources(changes), prefix=f"{PREFIX}/config")
    app.include_router(draft_resources(changes), prefix=f"{PREFIX}/config")
    app.include_router(access_resources(desk, lambda: daemon.status()["role"]), prefix=PREFIX)
    return app


def _resources(daemon: Observed) -> APIRouter:
    router = APIRouter()

    # Plain values all the way out: the documents are built by us, validating them again is only time on the loop.
    @router.get("/status", responses={200: {"model": StatusDocument}})
    async def status() -> Response:
        return JSONResponse(daemon.status())

    @router.get("/flows", responses={200: {"model": FlowsDocument}})
    async def flows(recent: Annotated[float, Query(ge=0, le=RECENT_MAX_S)] = 60.0) -> Response:
        return StreamingResponse(_encode(await daemon.flows(recent)), media_type="application/json")

    @router.get("/health")
    async def health() -> Response:
        document = daemon.status()
        return JSONResponse({"schema": document["schema"], "state": document["state"], "reason": document["reason"]})

    return router


async def _encode(document: FlowsDocument) -> AsyncIterator[bytes]:
    """Yield the document's JSON in chunks, letting the loop turn in between."""
    head: dict[str, Any] = {key: value for key, value in document.items() if key != "flows"}
    yield json.dumps(head)[:-1].encode() + b', "flows": ['
    flows = document["flows"]
    for begin in range(0, len(flows), FLOWS_A_CHUNK):
        text = json.dumps(flows[begin : begin + FLOWS_A_CHUNK], separators=(",", ":"))
        yield (b"," if begin else b"") + text[1:-1].encode()
        await asyncio.sleep(0)
    yield b"]}"
