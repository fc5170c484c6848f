"""The documents that tell of the configuration, its generations and changes: their shapes, as in `documents`."""

from typing import Any

from typing_extensions import TypedDict


class Issue(TypedDict):
    """One thing wrong in a configuration's text."""

    file: str
    line: int | None
    path: str
    message: str


class ConfigStanding(TypedDict):
    """How the configuration stands."""

    schema: int
    generation: int
    pending_confirm_s: float | None
    file_differs: bool
    notice: str


class ConfigDocument(ConfigStanding):
    """The text in force; keys are masked for who is no admin."""

    text: str


class CheckDocument(TypedDict):
    """`hagw check --json`."""

    schema: int
    ok: bool
    issues: list[Issue]


class EditDocument(TypedDict):
    """A text with edits made: what it says as a tree (null: it is not YAML), and every mistake in it."""

    schema: int
    text: str
    tree: dict[str, Any] | None
    issues: list[Issue]


class PlanDocument(TypedDict):
    """`hagw plan --json`."""

    schema: int
    changes: list[str]
    steps: list[str]
    obstacles: list[str]


class OutcomeDocument(TypedDict):
    """What became of a change: `unchanged`, `in force`, `pending` or `rolled back`."""

    schema: int
    result: str
    generation: int
    changes: list[str]
    steps: int
    pending_confirm_s: float | None
    notice: str


class ThreeGppDocument(TypedDict):
    """Rules in the words of TS 29.512 (`pccRules`, `traffContDecs`), and which line is which access."""

    schema: int
    three_gpp: str
    non_three_gpp: str
    document: dict[str, Any]


class SetDocument(OutcomeDocument):
    """`lines` went (`- `) from the text and came (`+ `) into it."""

    lines: list[str]


class GenerationEntry(TypedDict):
    """One generation of the configuration."""

    number: int
    created: str
    by: str
    note: str
    sha256: str
    slots: dict[str, int]
    result: str
    reason: str
    decided: str


class GenerationsDocument(ConfigStanding):
    """`hagw history --json`."""

    generations: list[GenerationEntry]


class DiffDocument(TypedDict):
    """`hagw diff --json`."""

    schema: int
    a: str
    b: str
    equal: bool
    diff: str
