"""Files that a loss of power leaves as they were or as they shall be, never in between."""

import os
from contextlib import suppress
from pathlib import Path


class Disk:
    """Each method is one step: done and on the disk when it returns, or not done at all. All raise OSError."""

    def replace(self, path: Path, text: str, mode: int = 0o600) -> None:
        """Replace a file's text as a whole."""
        beside = path.with_name(f".{path.name}.new")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                os.fchmod(descriptor, mode)
                file.write(text)
                file.flush()
                os.fsync(descriptor)
            os.replace(beside, path)
        except OSError:
            with suppress(OSError):  # or a full disk would stay so
                beside.unlink(missing_ok=True)
            raise
        _sync_directory(path.parent)

    def point(self, link: Path, target: str) -> None:
        """Make `link` a symbolic link to `target`, in one step also where it is one already."""
        beside = link.with_name(f".{link.name}.new")
        beside.unlink(missing_ok=True)
        beside.symlink_to(target)
        os.replace(beside, link)
        _sync_directory(link.parent)

    def remove(self, path: Path) -> None:
        """Remove a file, if it is there."""
        path.unlink(missing_ok=True)
        _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
