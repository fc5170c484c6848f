"""Errors as application/problem+json (RFC 9457)."""

import math
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from hagw.access.faults import Denied, NotKept, TooMany, Unknown, Unwanted
from hagw.config.share import NotYours
from hagw.errors import ConfigError, HagwError, StaleEdit

MEDIA_TYPE = "application/problem+json"


def problem(status: int, detail: str, **more: Any) -> JSONResponse:
    """Return a problem document with the status' standard title."""
    document = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **more}
    return JSONResponse(document, status_code=status, media_type=MEDIA_TYPE)


def add_handlers(app: FastAPI) -> None:
    """Have every error of `app` answered as a problem."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(ConfigError, _unusable)
    app.add_exception_handler(Denied, _denied)
    app.add_exception_handler(TooMany, _too_many)
    app.add_exception_handler(Unknown, _unknown)
    app.add_exception_handler(Unwanted, _unwanted)
    app.add_exception_handler(NotKept, _not_kept)
    app.add_exception_handler(StaleEdit, _stale)
    app.add_exception_handler(NotYours, _not_yours)
    app.add_exception_handler(HagwError, _refused)
    app.add_exception_handler(Exception, _unexpected)


def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return problem(error.status_code, str(error.detail))


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    faults = [{"path": ".".join(str(part) for part in each["loc"]), "message": each["msg"]} for each in error.errors()]
    words = "; ".join(f"{fault['path']}: {fault['message']}" for fault in faults)
    errors = [{**fault, "path": fault["path"].partition(".")[2] or fault["path"]} for fault in faults]
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, words, errors=errors)


def _refused(request: Request, error: Exception) -> JSONResponse:
    return problem(HTTPStatus.CONFLICT, str(error))


def _stale(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StaleEdit)
    return problem(HTTPStatus.CONFLICT, str(error), stale=True, generation=error.generation)


def _not_yours(request: Request, error: Exception) -> JSONResponse:
    """Name the place that is to blame."""
    assert isinstance(error, NotYours)
    return problem(HTTPStatus.FORBIDDEN, str(error), errors=[{"path": error.path, "message": str(error)}])


def _unusable(request: Request, error: Exception) -> JSONResponse:
    """Name every mistake in a configuration, with its line."""
    assert isinstance(error, ConfigError)
    errors = [{"path": issue.path, "message": issue.message, "line": issue.line} for issue in error.issues]
    issues = [asdict(issue) for issue in error.issues]
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), issues=issues, errors=errors)


def _unexpected(request: Request, error: Exception) -> JSONResponse:
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The daemon failed to answer; its log says why.")


def _denied(request: Request, error: Exception) -> JSONResponse:
    return problem(HTTPStatus.UNAUTHORIZED, str(error))


def _too_many(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, TooMany)
    wait_s = math.ceil(error.wait_s)
    answer = problem(HTTPStatus.TOO_MANY_REQUESTS, str(error), retry_after_s=wait_s)
    answer.headers["Retry-After"] = str(wait_s)
    return answer


def _unknown(request: Request, error: Exception) -> JSONResponse:
    return problem(HTTPStatus.NOT_FOUND, str(error))


def _unwanted(request: Request, error: Exception) -> JSONResponse:
    """Name the field that is to blame."""
    assert isinstance(error, Unwanted)
    faults = [{"path": error.field, "message": str(error)}]
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), errors=faults)


def _not_kept(request: Request, error: Exception) -> JSONResponse:
    return problem(HTTPStatus.INSUFFICIENT_STORAGE, str(error))
