"""A worker process as seen from outside: started detached, watched and killed by pidfd, never by a stored pid."""

import asyncio
import os
import select
import signal
from collections.abc import Sequence
from pathlib import Path

LOG_SIZE_MAX_BYTES = 1 << 20


class WorkerProcess:
    """A running process that we hold by pidfd, so that a signal can never hit a later owner of its number."""

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self._pidfd = pidfd

    @classmethod
    def spawn(cls, command: Sequence[str], log: Path | None) -> "WorkerProcess":
        """Start `command` in its own session with output to `log` (None: our own), so that it outlives us.

        posix_spawn and not subprocess: a Popen object insists on owning its child's end.
        """
        actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
        ]
        if log is not None:
            _cut(log)
            actions.append((os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640))
            actions.append((os.POSIX_SPAWN_DUP2, 1, 2))
        pid = os.posix_spawn(
            command[0],
            list(command),
            os.environ,
            file_actions=actions,
            setsid=True,
            setsigmask=(),
            setsigdef=(signal.SIGPIPE, signal.SIGINT, signal.SIGTERM),
        )
        return cls(pid, os.pidfd_open(pid))

    @classmethod
    def existing(cls, pid: int) -> "WorkerProcess":
        """Hold a process by the number its own socket reported. Raise OSError when it is gone."""
        return cls(pid, os.pidfd_open(pid))

    def kill(self) -> None:
        """Kill it at once; a process that is gone already is no error."""
        try:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        except ProcessLookupError:
            return

    def has_ended(self) -> bool:
        """Say whether it ended, and reap it when it is our child."""
        try:
            return os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG) is not None
        except ChildProcessError:
            return _gone(self._pidfd)

    async def wait_ended(self, timeout_s: float) -> bool:
        """Wait until it ended, at most `timeout_s`; return whether it did."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(self._pidfd, ended.set)
        try:
            async with asyncio.timeout(timeout_s):
                await ended.wait()
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(self._pidfd)
        return self.has_ended()

    def close(self) -> None:
        """Let go of it; it keeps running."""
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1


def _gone(pidfd: int) -> bool:
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)  # readable once it ended, reaped or not
    return bool(poller.poll(0))


def _cut(log: Path) -> None:
    """Start the log anew when it grew large: the runtime directory is memory."""
    if log.exists() and log.stat().st_size > LOG_SIZE_MAX_BYTES:
        log.write_bytes(b"")
