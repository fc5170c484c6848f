"""A gateway in a box for the tests of transactions."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.unit.control.transactions import BEFORE, Box


@pytest.fixture
def directory() -> Iterator[Path]:
    """Somewhere that waits for no disk: a transaction waits for it half a dozen times, and no test looks at that."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


@pytest.fixture
def box(directory: Path) -> Box:
    box = Box(directory)
    box.file.write_text(BEFORE)
    return box
