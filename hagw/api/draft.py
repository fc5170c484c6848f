"""The API's resource `/config/edit`: values changed in a configuration's text that nobody has applied yet.

What `hagw set` does to the file, done to a text: forms and the text beside them stay the same thing.
"""

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any, Final, Protocol

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from hagw.api.config import PATH_MAX, SCHEMA, TEXT_MAX, plain
from hagw.api.config_documents import EditDocument
from hagw.api.operators import shown, whole
from hagw.config.load import load
from hagw.config.share import NotYours
from hagw.config.tree import Plain, parse
from hagw.config.write import remove_value, set_value
from hagw.errors import ConfigError, ConfigIssue

EDITS_MAX: Final = 512
FILENAME: Final = "configuration"


class Drafted(Protocol):
    """What this resource asks of the daemon."""

    def text(self, generation: int | None) -> str: ...


class Edit(BaseModel):
    """`path` as `hagw set` takes it. `value` null = take it out."""

    model_config = ConfigDict(extra="forbid")

    path: Annotated[str, Field(min_length=1, max_length=PATH_MAX)]
    value: JsonValue


class EditBody(BaseModel):
    """`text` null = what is in force."""

    model_config = ConfigDict(extra="forbid")

    text: Annotated[str, Field(max_length=TEXT_MAX)] | None = None
    edits: Annotated[list[Edit], Field(max_length=EDITS_MAX)] = []


def draft_resources(daemon: Drafted) -> APIRouter:
    """Return the route."""
    router = APIRouter()

    @router.post("/edit", responses={200: {"model": EditDocument}})
    async def edit(body: EditBody, request: Request) -> Response:
        text = shown(request, daemon) if body.text is None else body.text

        def judge(made: str) -> None:
            load(whole(request, daemon, made, FILENAME), FILENAME)

        return JSONResponse({"schema": SCHEMA, **await asyncio.to_thread(edited, text, body.edits, judge)})

    return router


def edited(text: str, edits: list[Edit], judge: Callable[[str], object]) -> dict[str, Any]:
    """Return the text with `edits` made, what it says as a tree, and every mistake in it, as `judge` raises them.

    A text that is not YAML has no tree; an edit to a place that is not there raises ConfigError.
    """
    for each in edits:
        text = _with(text, each)
    tree: dict[str, Plain] | None = None
    issues: tuple[ConfigIssue, ...] = ()
    try:
        tree = parse(text, FILENAME).root
        judge(text)
    except ConfigError as why:
        issues = why.issues
    except NotYours as why:
        issues = (ConfigIssue(FILENAME, None, why.path, str(why)),)
    return {"text": text, "tree": tree, "issues": [asdict(issue) for issue in issues]}


def _with(text: str, edit: Edit) -> str:
    if edit.value is None:
        return remove_value(text, edit.path, FILENAME)
    return set_value(text, edit.path, plain(edit.value), FILENAME)
