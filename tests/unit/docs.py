"""The documents of the source tree, as their tests read them."""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
DOCUMENTS: Final = tuple(
    sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")], key=lambda path: path.relative_to(ROOT).as_posix())
)
_FENCE: Final = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_RUNNABLE: Final = re.compile(r"^( *)<!-- run: (\w+) -->\n\1```sh\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def name(path: Path) -> str:
    """Return how a document is called in a test's id."""
    return path.relative_to(ROOT).as_posix()


def text(path: str) -> str:
    """Return a document's text."""
    return (ROOT / path).read_text(encoding="utf-8")


def blocks(path: Path, language: str) -> Iterator[str]:
    """Yield the document's code blocks of one language."""
    for found in _FENCE.finditer(path.read_text(encoding="utf-8")):
        if found[2] == language:
            yield textwrap.dedent(found[3])


def runnable(path: Path) -> list[tuple[str, str]]:
    """Return the document's command blocks that are marked `<!-- run: PLACE -->`, and each one's place."""
    return [(found[2], textwrap.dedent(found[3])) for found in _RUNNABLE.finditer(path.read_text(encoding="utf-8"))]


def sections(path: str, level: int) -> dict[str, str]:
    """Return a document's sections of one heading level, title to text."""
    parts = re.split(rf"^{'#' * level} (.+)$", text(path), flags=re.MULTILINE)
    return {title.strip(): re.split(rf"^#{{1,{level}}} ", body, flags=re.MULTILINE)[0] for title, body in _pairs(parts)}


def table(body: str) -> dict[str, tuple[str, ...]]:
    """Return the rows of a text's tables by each name in backticks in the first cell; the other cells as text."""
    rows = {}
    for line in body.splitlines():
        if line.startswith("| ") and line.endswith("|"):
            first, *others = (cell.strip() for cell in line.strip("|").split("|"))
            for key in re.findall(r"`([^`]+)`", first) or [first]:
                rows[key] = tuple(others)
    return rows


def anchors(path: Path) -> set[str]:
    """Return the fragments a document's headings can be linked by."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def _pairs(parts: list[str]) -> Iterator[tuple[str, str]]:
    yield from zip(parts[1::2], parts[2::2], strict=True)
