"""The API's resources below /config: check, plan, apply, set, confirm, rollback, history, diff."""

import asyncio
import difflib
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Annotated, Any, Final, Protocol, assert_never

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from hagw.api.access import login_of
from hagw.api.callers import CallerBody, caller_of
from hagw.api.config_documents import (
    CheckDocument,
    ConfigDocument,
    DiffDocument,
    GenerationsDocument,
    OutcomeDocument,
    PlanDocument,
    SetDocument,
)
from hagw.api.operators import is_admin, shown, whole
from hagw.config.load import load
from hagw.config.secrets import masked
from hagw.config.share import OPERATORS_PATHS, NotYours, meant, meant_again
from hagw.config.tree import Plain, parse
from hagw.config.write import remove_value, set_value
from hagw.control.generations import Generation
from hagw.control.standing import Standing
from hagw.control.wish import Outcome, Planned, Wish
from hagw.errors import ConfigError, Refused
from hagw.plan.caller import Caller

SCHEMA: Final = 1
TEXT_MAX: Final = 1 << 20
CONFIRM_MAX_S: Final = 86_400.0
PATH_MAX: Final = 1024
FILE: Final = "file"  # a side of a diff that is no generation


class Changed(Protocol):
    """What the API asks of the daemon's transactions."""

    async def plan(self, wish: Wish) -> Planned: ...

    async def apply(self, wish: Wish) -> Outcome: ...

    async def change(self, edit: Callable[[str, str], str], wish: Wish) -> tuple[str, str, Outcome]: ...

    async def confirm(self) -> Outcome: ...

    async def rollback(self, generation: int | None, by: str, caller: Caller | None) -> Outcome: ...

    async def rollback_share(
        self, generation: int | None, share: Callable[[str, str, str], str], by: str, caller: Caller | None
    ) -> Outcome: ...

    def standing(self) -> Standing: ...

    def text(self, generation: int | None) -> str: ...

    def file_text(self) -> str | None: ...

    def history(self) -> tuple[Generation, ...]: ...


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TextBody(_Body):
    """A configuration; `filename` is for messages. `text` null = the configuration file as it is now."""

    text: Annotated[str, Field(max_length=TEXT_MAX)] | None = None
    filename: Annotated[str, Field(max_length=4096)] = "configuration"
    caller: CallerBody | None = None


Confirm = Annotated[float, Field(gt=0, le=CONFIRM_MAX_S)] | None
By = Annotated[str, Field(max_length=64)]
Base = Annotated[int, Field(ge=0)] | None
Note = Annotated[str, Field(max_length=256)]


class ApplyBody(TextBody):
    """`write_file`: the text is not the configuration file's, which shall get it once it is committed.

    `base_generation` is what the text was made of: where another one is in force by now, nothing is changed.
    """

    confirm_within_s: Confirm = None
    by: By = ""
    note: Note = ""
    write_file: bool = True
    base_generation: Base = None


class SetBody(_Body):
    """`path` as `hagw set` takes it. `value` null = take the key out, so that its default holds."""

    path: Annotated[str, Field(min_length=1, max_length=PATH_MAX)]
    value: JsonValue
    confirm_within_s: Confirm = None
    by: By = ""
    note: Note = ""
    caller: CallerBody | None = None
    base_generation: Base = None


class RollbackBody(_Body):
    """`generation` null = what waits for its confirmation, else the one in force before."""

    generation: Annotated[int, Field(gt=0)] | None = None
    by: Annotated[str, Field(max_length=64)] = ""
    caller: CallerBody | None = None


def resources(daemon: Changed) -> APIRouter:
    """Return the resources; who may ask is the application's business."""
    router = APIRouter()

    @router.get("", responses={200: {"model": ConfigDocument}})
    async def config(request: Request) -> Response:
        return _answer({**_standing(daemon.standing()), "text": shown(request, daemon)})

    @router.post("/check", responses={200: {"model": CheckDocument}})
    async def check(body: TextBody, request: Request) -> Response:
        try:
            text = await asyncio.to_thread(whole, request, daemon, _text(daemon, body), body.filename)
            await asyncio.to_thread(load, text, body.filename)
        except ConfigError as why:
            return _answer({"ok": False, "issues": [asdict(issue) for issue in why.issues]})
        return _answer({"ok": True, "issues": []})

    @router.post("/plan", responses={200: {"model": PlanDocument}})
    async def plan(body: TextBody, request: Request) -> Response:
        text = await asyncio.to_thread(whole, request, daemon, _text(daemon, body), body.filename)
        planned = await daemon.plan(Wish(text, body.filename, caller=caller_of(request, body.caller)))
        return _answer(
            {
                "changes": list(planned.changes),
                "steps": list(planned.steps),
                "obstacles": list(planned.obstacles),
            }
        )

    @router.post("/apply", responses={200: {"model": OutcomeDocument}})
    async def apply(body: ApplyBody, request: Request) -> Response:
        wish = _wish(body, request)
        if is_admin(request):
            return _answer(_outcome(await daemon.apply(replace(wish, text=_text(daemon, body)))))
        if body.text is None:
            raise HTTPException(422, "Send a text: to apply the file as it is takes the role admin.")
        theirs = body.text
        await asyncio.to_thread(parse, theirs, body.filename)  # what is no text at all need not wait for its turn
        _, _, outcome = await daemon.change(lambda text, file: meant(text, theirs, file), wish)
        return _answer(_outcome(outcome))

    @router.post("/set", responses={200: {"model": SetDocument}})
    async def set_(body: SetBody, request: Request) -> Response:
        request.state.detail = f"{body.path}{'' if body.note == '' else f': {body.note}'}"
        if not is_admin(request) and not OPERATORS_PATHS.fullmatch(body.path):
            raise NotYours(body.path)
        wish = Wish(
            "",
            "",
            _by(request, body.by),
            body.note,
            body.confirm_within_s,
            caller=caller_of(request, body.caller),
            base_generation=body.base_generation,
        )
        before, after, outcome = await daemon.change(_edit(body), wish)
        return _answer({**_outcome(outcome), "lines": _changed_lines(before, after)})

    @router.post("/confirm", responses={200: {"model": OutcomeDocument}})
    async def confirm() -> Response:
        return _answer(_outcome(await daemon.confirm()))

    @router.post("/rollback", responses={200: {"model": OutcomeDocument}})
    async def rollback(body: RollbackBody, request: Request) -> Response:
        by, caller = _by(request, body.by) or "somebody", caller_of(request, body.caller)
        if is_admin(request):
            return _answer(_outcome(await daemon.rollback(body.generation, by, caller)))
        return _answer(_outcome(await daemon.rollback_share(body.generation, meant_again, by, caller)))

    @router.get("/history", responses={200: {"model": GenerationsDocument}})
    async def history() -> Response:
        known = await asyncio.to_thread(daemon.history)
        return _answer({**_standing(daemon.standing()), "generations": [_generation(each) for each in known]})

    @router.get("/diff", responses={200: {"model": DiffDocument}})
    async def diff(a: Annotated[str, Query()] = "", b: Annotated[str, Query()] = FILE) -> Response:
        (name_a, text_a), (name_b, text_b) = _side(daemon, a), _side(daemon, b)
        shown_a, shown_b = masked(text_a).splitlines(), masked(text_b).splitlines()
        lines = difflib.unified_diff(shown_a, shown_b, name_a, name_b, lineterm="")
        text = "\n".join(lines)
        return _answer({"a": name_a, "b": name_b, "equal": text_a == text_b, "diff": text + "\n" if text else ""})

    return router


def _answer(values: dict[str, Any]) -> JSONResponse:
    return JSONResponse({"schema": SCHEMA, **values})


def _by(request: Request, said: str) -> str:
    """Return who wants a change: who has logged in, or whom the caller on this machine names."""
    login = login_of(request)
    return said if login.via == "local" else login.user


def _wish(body: ApplyBody, request: Request) -> Wish:
    """Return everything about a wish but its text."""
    return Wish(
        "",
        body.filename,
        by=_by(request, body.by),
        note=body.note,
        confirm_within_s=body.confirm_within_s,
        write_file=body.write_file and body.text is not None,
        caller=caller_of(request, body.caller),
        base_generation=body.base_generation,
    )


def _edit(body: SetBody) -> Callable[[str, str], str]:
    if body.value is None:
        return lambda text, file: remove_value(text, body.path, file)
    value = plain(body.value)
    return lambda text, file: set_value(text, body.path, value, file)


def plain(value: JsonValue) -> Plain:
    """Return a value as it is written in YAML: what JSON has types for are words there."""
    match value:
        case None | str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case list():
            return [plain(each) for each in value]
        case dict():
            return {key: plain(each) for key, each in value.items()}
        case _:
            assert_never(value)


def _changed_lines(before: str, after: str) -> list[str]:
    """Return the lines that went and came, as `hagw set` prints them."""
    compared = difflib.ndiff(masked(before).splitlines(), masked(after).splitlines())
    return [line for line in compared if line[:2] in ("- ", "+ ")]


def _text(daemon: Changed, body: TextBody) -> str:
    text = daemon.file_text() if body.text is None else body.text
    if text is None:
        raise Refused("The configuration file cannot be read.")
    return text


def _side(daemon: Changed, which: str) -> tuple[str, str]:
    """Return name and text of a diff's side: a generation's number, the file, or (empty) what is in force."""
    if which == FILE:
        return "the file", daemon.file_text() or ""
    if which and not which.isdecimal():
        raise Refused(f"{which!r} is neither a generation's number nor `{FILE}`.")
    number = int(which) if which else daemon.standing().generation
    return f"generation {number}", daemon.text(number)


def _standing(standing: Standing) -> dict[str, Any]:
    return {
        "generation": standing.generation,
        "pending_confirm_s": standing.pending_confirm_s,
        "file_differs": standing.file_differs,
        "notice": standing.notice,
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {**asdict(outcome), "changes": list(outcome.changes)}


def _generation(generation: Generation) -> dict[str, Any]:
    return {**asdict(generation), "slots": dict(generation.slots)}


# What other resources that change the configuration share with these.
author = _by
outcome_document = _outcome
