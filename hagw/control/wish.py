"""What a change of configuration is asked by, and what is told of it before and after; `transaction` makes it."""

from dataclasses import dataclass

from hagw.control.ports import Preview
from hagw.model.intent import Intent
from hagw.plan.caller import Caller


@dataclass(frozen=True, slots=True)
class Wish:
    """A configuration somebody wants in force. `filename` is for messages; `write_file`: it came from elsewhere."""

    text: str
    filename: str
    by: str = ""
    note: str = ""
    confirm_within_s: float | None = None
    write_file: bool = False
    caller: Caller | None = None
    base_generation: int | None = None  # what it was made of; None = whatever is in force


@dataclass(frozen=True, slots=True)
class Planned:
    """What a wish would do."""

    intent: Intent
    preview: Preview
    changes: tuple[str, ...]
    steps: tuple[str, ...]
    obstacles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request. `steps` were taken in the kernel."""

    result: str  # unchanged, in force, pending, rolled back
    generation: int
    changes: tuple[str, ...] = ()
    steps: int = 0
    pending_confirm_s: float | None = None
    notice: str = ""
