"""The API's resources that say what was: `/history` and `/events`."""

import asyncio
from dataclasses import asdict
from typing import Annotated, Final

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from pydantic_core import to_json

from hagw.api.documents import EventsDocument, HistoryDocument
from hagw.history.events import KEPT_MAX, Event
from hagw.history.keeper import Keeper
from hagw.history.series import Range

SCHEMA: Final = 1
EVENTS: Final = 100
HOLDS_S: Final[dict[Range, int]] = {"1h": 1, "24h": 10, "30d": 60, "1y": 60}
KEPT_ANSWERS_MAX: Final = 16  # of up to a megabyte

Question = tuple[Range, tuple[str, ...], int | None, int | None]


class Encoded:
    """Answers of history as they go out: many pages ask for the same. Each holds until something new may be in it."""

    def __init__(self) -> None:
        self._kept: dict[Question, tuple[int, bytes]] = {}

    def find(self, question: Question, now: int) -> bytes | None:
        """Return the answer to a question, None where there is none or it is of another moment."""
        moment, text = self._kept.get(question, (0, b""))
        return text if text and moment == now // HOLDS_S[question[0]] else None

    def keep(self, question: Question, now: int, text: bytes) -> None:
        """Keep an answer that was asked for at `now`."""
        if len(self._kept) >= KEPT_ANSWERS_MAX:
            self._kept.clear()
        self._kept[question] = (now // HOLDS_S[question[0]], text)


def record_resources(keeper: Keeper) -> APIRouter:
    """Return the routes."""
    router = APIRouter()
    encoded = Encoded()

    def answer(question: Question) -> bytes:
        wanted, patterns, step_s, until = question
        told = keeper.series.tell(wanted, patterns, step_s, until)
        head = {"schema": SCHEMA, "range": wanted, "step_s": told.step_s, "begin_unix_s": told.begin_unix_s}
        return to_json({**head, "series": told.series})

    @router.get("/history", responses={200: {"model": HistoryDocument}})
    async def history(
        range: Annotated[Range, Query()] = "1h",  # noqa: A002  # as the question calls it
        series: Annotated[str, Query(max_length=2000)] = "",
        step_s: Annotated[int | None, Query(ge=1, le=31_536_000)] = None,
        until_unix_s: Annotated[int | None, Query(ge=0, le=1 << 40)] = None,
    ) -> Response:
        patterns = tuple(pattern for pattern in series.split(",") if pattern)
        question = (range, patterns, step_s, until_unix_s)
        now = int(keeper.series.now())
        text = encoded.find(question, now)
        if text is None:
            text = await asyncio.to_thread(answer, question)  # files, and some ten thousand numbers
            encoded.keep(question, now, text)
        return Response(text, media_type="application/json")

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
