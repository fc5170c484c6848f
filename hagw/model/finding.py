"""What an examination of the machine finds: evidence, how grave it is, and one sentence to act on."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["ok", "note", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `act` is one sentence, "" where nothing is to be done.

    `ok`: as it should be. `note`: worth knowing, nothing suffers. `warning`: something works less well, or may fail.
    `problem`: hagw cannot do its job, or harms the LAN, until this is settled.
    """

    id: str
    severity: Severity
    found: str
    act: str = ""
