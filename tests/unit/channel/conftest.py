"""What tests of the control channel share."""

from pathlib import Path

import pytest
from channel_rig import Office


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """Return a gateway with one customer."""
    return Office(tmp_path)
