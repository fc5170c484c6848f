"""The API's resources for monitoring: `/metrics` in Prometheus' text format, and `/alerts`."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from hagw.api.access_documents import AlertsDocument
from hagw.metrics.listener import import_text

_TEXT: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}


def metrics_resources(document: Callable[[], Mapping[str, Any]]) -> APIRouter:
    """Return the route; `document` is the status with `mib`."""
    router = APIRouter()

    @router.get(
        "/metrics",
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
        response_class=Response,
    )
    async def metrics() -> Response:
        media_type, text = await asyncio.to_thread(import_text)
        return Response(text(document()), headers={"Content-Type": media_type})

    return router


def alert_resources(document: Callable[[], Mapping[str, Any]]) -> APIRouter:
    """Return the route."""
    router = APIRouter()

    @router.get("/alerts", responses={200: {"model": AlertsDocument}})
    async def alerts() -> Response:
        return JSONResponse(document())

    return router
