"""What a test heard the code log."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hagw.log import ROOT, fields_of


class _Ear(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.heard: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(fields_of(record))


@contextmanager
def listening() -> Iterator[list[dict[str, Any]]]:
    """Yield the list that gets the fields of each of our log events while the block runs."""
    ours, ear = logging.getLogger(ROOT), _Ear()
    before = ours.level
    ours.addHandler(ear)
    ours.setLevel(logging.INFO)
    try:
        yield ear.heard
    finally:
        ours.removeHandler(ear)
        ours.setLevel(before)
