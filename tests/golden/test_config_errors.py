"""Every wrong file next to this one is answered with exactly the sentences stored beside it."""

import os
from pathlib import Path

import pytest

from hagw.config.load import load
from hagw.errors import ConfigError

FILES = Path(__file__).parent / "config"


@pytest.mark.parametrize("file", sorted(FILES.glob("*.yaml")), ids=lambda file: file.stem)
def test_a_wrong_file_is_explained(file: Path) -> None:
    """HAGW_GOLDEN=write stores what is said now; read the difference before committing it."""
    with pytest.raises(ConfigError) as refused:
        load(file.read_text(), file.name)
    expected = file.with_suffix(".txt")
    if os.environ.get("HAGW_GOLDEN") == "write":
        expected.write_text(f"{refused.value}\n")
    assert f"{refused.value}\n" == expected.read_text()
