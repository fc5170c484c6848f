"""The JSON Schemas beside the examples are current, and accept and refuse as `hagw check` does."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from hagw.config.editors import json_schema

FILES = Path(__file__).parents[3] / "config"


@pytest.mark.parametrize("role", ["cpe", "hag"])
def test_the_stored_schema_is_current(role: str) -> None:
    """`hagw check --schema ROLE > config/ROLE.schema.json` makes it so."""
    assert (FILES / f"{role}.schema.json").read_text() == json_schema(role)


@pytest.mark.parametrize("role", ["cpe", "hag"])
def test_the_example_names_its_schema_and_keeps_to_it(role: str) -> None:
    text = (FILES / f"{role}.yaml").read_text()
    assert text.startswith(f"# yaml-language-server: $schema={role}.schema.json\n")
    schema = json.loads(json_schema(role))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(text), schema, cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    ("change", "blamed"),
    [
        ({"colour": "green"}, "colour"),
        ({"version": 2}, "1 was expected"),
        ({"role": "hag"}, "'cpe'"),
        ({"workers": None}, "None is not of type 'integer'"),
        ({"uplinks": []}, r"\[\] is too short"),
        ({"pool": {"size_min": 3, "idel": "3 s"}}, "idel"),
    ],
)
def test_an_editor_marks_mistakes(change: dict[str, object], blamed: str) -> None:
    document = yaml.safe_load((FILES / "cpe.yaml").read_text()) | change
    with pytest.raises(jsonschema.ValidationError, match=blamed):
        jsonschema.validate(document, json.loads(json_schema("cpe")), cls=jsonschema.Draft202012Validator)


def test_numbers_need_no_quotes_where_text_is_wanted() -> None:
    document = yaml.safe_load((FILES / "cpe.yaml").read_text())
    document["uplinks"][0] |= {"rate_down": 16000000}
    document["pool"] = {"idle": 900}
    document["rules"][0]["traffic"] = {"destination_port": [443]}
    jsonschema.validate(document, json.loads(json_schema("cpe")), cls=jsonschema.Draft202012Validator)
