"""One subflow of a connection as we asked for it, and what the timeline tells of subflows."""

from dataclasses import dataclass
from typing import Literal

from hagw.dataplane.mptcp_socket import SubflowInfo


@dataclass(frozen=True, slots=True)
class PathEvent:
    """Something that happened to an uplink's subflow; `at` is monotonic."""

    at: float
    event: Literal[
        "asked",
        "established",
        "withdrawn",
        "lost",
        "not made",
        "withheld",
        "released",
        "in reserve",
        "in use",
        "overflowing",
    ]
    slot: int
    reason: str = ""


@dataclass(slots=True)
class Path:
    """One subflow as we asked for it; `info` is the kernel's latest word on it, None until it is established."""

    local: str
    loc_id: int
    asked_at: float
    backup: bool = False
    ifindex: int = 0  # 0 = as it was at the first look
    info: SubflowInfo | None = None
    joined_at: float = 0.0
