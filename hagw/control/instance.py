"""One daemon per runtime directory."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hagw.errors import Refused, UnsupportedEnvironment

RUNTIME_DIR_MODE = 0o750


@contextmanager
def only_instance(runtime_dir: Path) -> Iterator[None]:
    """Hold the runtime directory, made if needed. Raise Refused while another daemon holds it.

    The lock is the kernel's and ends with the process, so there is no stale one to clean up.
    """
    try:
        runtime_dir.mkdir(mode=RUNTIME_DIR_MODE, parents=True, exist_ok=True)
        lock = os.open(runtime_dir / "hagw.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as why:
        raise UnsupportedEnvironment(f"The runtime directory {runtime_dir} cannot be used: {why.strerror}.") from why
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as why:
        os.close(lock)
        raise Refused(f"Another hagw daemon is running already with runtime directory {runtime_dir}.") from why
    try:
        yield
    finally:
        os.close(lock)
