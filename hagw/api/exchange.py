"""The API's resource `/config/3gpp`: the rules in force in the words of TS 29.512, and rules given so put in force."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from hagw.api.callers import CallerBody, caller_of
from hagw.api.config import By, Changed, Confirm, Note, author, outcome_document
from hagw.api.config_documents import OutcomeDocument, ThreeGppDocument
from hagw.config.exchange import exported, with_imported
from hagw.control.wish import Wish

SCHEMA = 1
LineName = Annotated[str | None, Query(max_length=32)]


class ImportBody(BaseModel):
    """Rules to put in the place of all that are; the lines are found by their kind where they are not given."""

    model_config = ConfigDict(extra="forbid")

    document: dict[str, Any]
    three_gpp: Annotated[str, Field(max_length=32)] | None = None
    non_three_gpp: Annotated[str, Field(max_length=32)] | None = None
    confirm_within_s: Confirm = None
    by: By = ""
    note: Note = ""
    caller: CallerBody | None = None


def exchange_resources(daemon: Changed) -> APIRouter:
    """Return the routes."""
    router = APIRouter()

    @router.get("/3gpp", responses={200: {"model": ThreeGppDocument}})
    async def export(three_gpp: LineName = None, non_three_gpp: LineName = None) -> Response:
        document, two = exported(daemon.text(None), "configuration", three_gpp, non_three_gpp)
        lines = {"three_gpp": two.three_gpp, "non_three_gpp": two.non_three_gpp}
        return JSONResponse({"schema": SCHEMA, **lines, "document": document})

    @router.post("/3gpp", responses={200: {"model": OutcomeDocument}})
    async def import_(body: ImportBody, request: Request) -> Response:
        caller = caller_of(request, body.caller)
        wish = Wish("", "", author(request, body.by), body.note, body.confirm_within_s, caller=caller)
        given = (body.document, "document", body.three_gpp, body.non_three_gpp)
        _, _, outcome = await daemon.change(lambda text, file: with_imported(text, file, *given), wish)
        return JSONResponse({"schema": SCHEMA, **outcome_document(outcome)})

    return router
