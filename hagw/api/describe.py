"""Write the API's description to the file that types are generated from: `python -m hagw.api.describe`."""

import json
from pathlib import Path
from typing import Any, Final

from hagw.api.app import build_app

DESCRIPTION: Final = Path("docs/api/openapi.json")


class _Nobody:
    """Stands for a daemon that is never asked."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} is not asked for while the API is described")


def description() -> str:
    """Return the description as the file has it."""
    nobody: Any = _Nobody()
    return json.dumps(build_app(nobody, nobody, nobody, nobody, nobody).openapi(), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    DESCRIPTION.parent.mkdir(parents=True, exist_ok=True)
    DESCRIPTION.write_text(description(), encoding="utf-8")
