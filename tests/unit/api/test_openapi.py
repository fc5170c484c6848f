"""The API's description is whole, and the committed one is current."""

import json
from pathlib import Path

from hagw.api.describe import DESCRIPTION, description

ROOT = Path(__file__).parents[3]


def test_the_committed_description_is_current() -> None:
    """`python -m hagw.api.describe` makes it so."""
    assert (ROOT / DESCRIPTION).read_text(encoding="utf-8") == description()


def test_every_operation_says_what_it_answers_who_may_ask_and_how_it_fails() -> None:
    document = json.loads(description())
    for path, item in document["paths"].items():
        for method, operation in item.items():
            success = next(code for code in operation["responses"] if code.startswith("2"))
            content = operation["responses"][success].get("content", {})
            schema = next((each["schema"] for each in content.values()), {})
            assert schema or success == "204", (method, path)
            assert "application/problem+json" in operation["responses"]["default"]["content"]
            assert operation["x-role"] in ("anybody", "viewer", "operator", "admin")
