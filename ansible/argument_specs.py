"""Write the roles' `meta/argument_specs.yml`: what a configuration may contain, as the configuration's own schema says.

    python ansible/argument_specs.py

What is no configuration (`meta/own_options.yml` of each role) is kept by hand. Ansible's specifications know types and
choices, not ranges and patterns: `hagw check` on the machine has the last word.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

import yaml

ROLES: Final = Path(__file__).parent / "roles"
sys.path.insert(0, str(ROLES.parents[1]))

from hagw.config.editors import json_schema  # noqa: E402  # of this very tree, not of an installed one

TYPES: Final = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "array": "list",
    "object": "dict",
}
GIVEN: Final = ("version", "role")  # the role fills them in
SECRET: Final = (
    ("key", True),
    ("url", False),
    ("secret", True),
)  # keys have a pattern; a database's address may hold a password, a page's has a pattern
HEAD: Final = (
    "---\n# Made by ansible/argument_specs.py from the configuration's schema and own_options.yml; do not edit.\n"
)
SHORT: Final = {"cpe": "A CPE, which bonds its lines towards a HAG", "hag": "A HAG, where connections are converted"}
DOCUMENT: Final = {
    "cpe": "The CPE's configuration as docs/configuration.md has it, without `version` and `role`.",
    "hag": "The HAG's configuration as docs/configuration.md has it, without `version` and `role`.",
}


def specification(role: str) -> dict[str, Any]:
    """Return a role's argument specification."""
    schema = json.loads(json_schema(role))
    options = _options(schema, schema["$defs"])
    for key in GIVEN:
        del options[key]
    own = yaml.safe_load((ROLES / f"hagw_{role}" / "meta" / "own_options.yml").read_text(encoding="utf-8"))
    config = {"type": "dict", "description": DOCUMENT[role], "required": role == "cpe", "options": options}
    main = {"short_description": SHORT[role], "options": {f"hagw_{role}_config": config, **own}}
    return {"argument_specs": {"main": main}}


def text(role: str) -> str:
    """Return the text of a role's `meta/argument_specs.yml`."""
    return HEAD + yaml.dump(specification(role), Dumper=_Indented, sort_keys=False, width=120)


class _Indented(yaml.SafeDumper):
    """Indents lists in mappings, as yamllint wants it."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _options(section: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    required = section.get("required", ())
    found = {}
    for name, part in section["properties"].items():
        option = _option(part, definitions)
        if name in required:
            option["required"] = True
        if (name, "pattern" in part) in SECRET:
            option["no_log"] = True
        found[name] = option
    return found


def _option(part: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    described = part.get("description")
    if "$ref" in part:
        part = definitions[part["$ref"].rpartition("/")[2]]
    option: dict[str, Any] = {"type": _type(part)}
    if described or part.get("description"):
        option["description"] = _sentence(described or part["description"])
    if "enum" in part:
        option["choices"] = part["enum"]
    if "properties" in part:
        option["options"] = _options(part, definitions)
    if part.get("type") == "array":
        element = _option(part["items"], definitions)
        option["elements"] = element["type"]
        option.update({key: element[key] for key in ("options", "choices") if key in element})
    return option


def _type(part: dict[str, Any]) -> str:
    kind = part.get("type")
    return TYPES[kind] if isinstance(kind, str) else "raw"  # several types: as it comes


def _sentence(words: str) -> str:
    return words[0].upper() + words[1:] + ("" if words.endswith(".") else ".")


def main() -> None:
    """Write them."""
    for role in SHORT:
        (ROLES / f"hagw_{role}" / "meta" / "argument_specs.yml").write_text(text(role), encoding="utf-8")


if __name__ == "__main__":
    main()
