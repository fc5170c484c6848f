"""How the configuration stands: which generation is in force, what waits for confirmation, what the file says."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Standing:
    """As status shows it. `generation` 0 = what runs is the file itself, as no generation could be kept."""

    generation: int = 1
    pending_confirm_s: float | None = None
    file_differs: bool = False
    notice: str = ""
