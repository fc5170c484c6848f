"""The owner's configuration file: changed as a whole or not at all, and only to something that `load` accepts."""

import os
import tempfile
from pathlib import Path

from hagw.config.load import load, read_text
from hagw.config.tree import Plain
from hagw.config.write import set_value
from hagw.errors import HagwError, Refused


def change_file(path: Path, key: str, value: Plain) -> tuple[str, str]:
    """Set one value in a file; return its text before and after.

    Raises ConfigError where the result would not be a good configuration, Refused where somebody else has changed the
    file meanwhile, HagwError where it cannot be written; the file is as before then.
    """
    before = read_text(path)
    after = set_value(before, key, value, str(path))
    load(after, str(path))
    if after != before:
        replace_file(path, before, after)
    return before, after


def replace_file(path: Path, before: str, after: str) -> None:
    """Replace a file's text; mode, owner and the way through symbolic links stay. Raises as `change_file`."""
    real = path.resolve()
    try:
        found = real.stat()
        descriptor, name = tempfile.mkstemp(prefix=f".{real.name}.", dir=real.parent)
    except OSError as error:
        raise HagwError(f"{path} cannot be changed: {error.strerror}.") from None
    beside = Path(name)
    try:
        with open(descriptor, "wb") as file:
            os.fchown(descriptor, found.st_uid, found.st_gid)
            os.fchmod(descriptor, found.st_mode & 0o7777)
            file.write(after.encode())
            file.flush()
            os.fsync(descriptor)
        if read_text(real) != before:
            raise Refused(f"{path} was changed by somebody else meanwhile; nothing was written.")
        os.replace(beside, real)
    except OSError as error:
        raise HagwError(f"{path} cannot be changed: {error.strerror}.") from None
    finally:
        beside.unlink(missing_ok=True)
    _sync(real.parent)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
