"""JSON Schemas of the configuration files, for editors: completion, descriptions, and mistakes while typing.

`hagw check` says more: what must be unique, known or fit together is beyond a JSON Schema.
"""

import json
from typing import Any

from hagw.config.migrate import current
from hagw.config.schema import ROLES

_NOISE = ("title",)  # pydantic's own names of things


def json_schema(role: str) -> str:
    """Return the text of a role's JSON Schema."""
    schema = _tidy(ROLES[role].model_json_schema())
    schema["properties"]["version"]["const"] = current()
    title = f"hagw configuration, role: {role}"
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    return json.dumps({**head, **schema}, indent=2, ensure_ascii=False) + "\n"


def _tidy(part: Any) -> Any:
    """Leave out titles, and null: a key without a value is a mistake, left-out ones have their defaults."""
    if isinstance(part, list):
        return [_tidy(each) for each in part]
    if not isinstance(part, dict):
        return part
    found = {key: _tidy(each) for key, each in part.items() if key not in _NOISE or not isinstance(each, str)}
    if found.get("default", ...) is None:
        del found["default"]
    choices = [each for each in found.pop("anyOf", ()) if each != {"type": "null"}]
    if len(choices) == 1:
        return {**choices[0], **found}
    return {**found, "anyOf": choices} if choices else found
