"""The API's resource `/stream`: everything that changes, as server-sent events."""

from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, HTTPException, Query, Response
from fastapi.responses import StreamingResponse

from hagw.api.hub import STREAMS_MAX, TOPICS, Hub, Listener

HEARTBEAT_S: Final = 15.0
_BEGIN: Final = b"retry: 1000\n\n"
_HEARTBEAT: Final = b"event: heartbeat\ndata: {}\n\n"
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_TEXT: Final = {"text/event-stream": {"schema": {"type": "string"}}}


def stream_resources(hub: Hub) -> APIRouter:
    """Return the route."""
    router = APIRouter()

    @router.get(
        "/stream",
        response_class=StreamingResponse,
        responses={200: {"description": "Events, one topic each", "content": _TEXT}},
    )
    async def stream(topics: Annotated[str, Query(max_length=200)] = "status,events,changes") -> Response:
        wanted = frozenset(topics.split(","))
        if unknown := sorted(wanted - set(TOPICS)):
            raise HTTPException(422, f"There is no topic {unknown[0]!r}; there are {', '.join(TOPICS)}.")
        listener = hub.join(wanted)
        if listener is None:
            raise HTTPException(429, f"There are {STREAMS_MAX} streams already.")
        return StreamingResponse(_pieces(hub, listener), media_type="text/event-stream", headers=_HEADERS)

    return router


async def _pieces(hub: Hub, listener: Listener) -> AsyncIterator[bytes]:
    try:
        yield _BEGIN
        while not listener.overrun:
            yield await listener.take(HEARTBEAT_S) or _HEARTBEAT
    finally:
        hub.leave(listener)
