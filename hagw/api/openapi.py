"""The API's description: what FastAPI makes of the routes, with the errors as they are and who may ask for what."""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from hagw import __version__
from hagw.api.documents import Problem
from hagw.api.problems import MEDIA_TYPE
from hagw.api.roles import PREFIX, route_of

_REF: Final = "#/components/schemas/"
_ERROR: Final = {
    "description": "Refused or failed",
    "content": {MEDIA_TYPE: {"schema": {"$ref": f"{_REF}Problem"}}},
}
_METHODS: Final = ("get", "put", "post", "patch", "delete")


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of an application."""
    if app.openapi_schema is None:
        app.openapi_schema = _described(app)
    return app.openapi_schema


def _described(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title="hagw", version=__version__, routes=app.routes)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    problem = TypeAdapter(Problem).json_schema(ref_template=f"{_REF}{{model}}")
    schemas |= problem.pop("$defs", {})
    schemas["Problem"] = problem
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                _finish(item[method], method.upper(), path)
    return document


def _finish(operation: dict[str, Any], method: str, path: str) -> None:
    responses = operation["responses"]
    responses.pop("422", None)
    responses["default"] = _ERROR
    route = route_of(method, path.removeprefix(PREFIX))
    if route is not None:
        operation["x-role"] = route.role or "anybody"
        operation["x-scope"] = route.scope
