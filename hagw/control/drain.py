"""Whether this HAG drains: a mark in the runtime directory, so that it outlasts the daemon but not the machine."""

from pathlib import Path


class DrainMark:
    """Set = take no new flows."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def is_set(self) -> bool:
        """Say whether new flows are to go elsewhere."""
        return self._path.exists()

    def put(self, wanted: bool) -> None:
        """Set or remove the mark. Raise OSError where the directory cannot be written."""
        if wanted:
            self._path.touch()
        else:
            self._path.unlink(missing_ok=True)
