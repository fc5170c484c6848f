"""The API's resources that say what was: `/history` and `/events`."""

import asyncio
from dataclasses import asdict
from typing import Annotated, Final

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse

from hagw.api.documents import EventsDocument, HistoryDocument
from hagw.history.events import KEPT_MAX, Event
from hagw.history.keeper import Keeper
from hagw.history.series import Range

SCHEMA: Final = 1
EVENTS: Final = 100


def record_resources(keeper: Keeper) -> APIRouter:
    """Return the routes."""
    router = APIRouter()

    @router.get("/history", responses={200: {"model": HistoryDocument}})
    async def history(
        range: Annotated[Range, Query()] = "1h",  # noqa: A002  # as the question calls it
        series: Annotated[str, Query(max_length=2000)] = "",
    ) -> Response:
        patterns = [pattern for pattern in series.split(",") if pattern]

        def answer() -> Response:
            told = keeper.series.tell(range, patterns)
            return JSONResponse(
                {
                    "schema": SCHEMA,
                    "range": range,
                    "step_s": told.step_s,
                    "begin_unix_s": told.begin_unix_s,
                    "series": told.series,
                }
            )

        return await asyncio.to_thread(answer)  # files, and some ten thousand numbers

    @router.get("/events", responses={200: {"model": EventsDocument}})
    async def events(
        since_id: Annotated[int, Query(ge=0, le=1 << 60)] = 0,
        kind: Annotated[str, Query(max_length=200)] = "",
        limit: Annotated[int, Query(ge=1, le=KEPT_MAX)] = EVENTS,
    ) -> Response:
        kinds = frozenset(each for each in kind.split(",") if each)
        found = keeper.events.select(since_id, kinds, limit)
        return JSONResponse({"schema": SCHEMA, "events": [event_entry(event) for event in found]})

    return router


def event_entry(event: Event) -> dict[str, object]:
    """Return an event as it is told."""
    return asdict(event)
