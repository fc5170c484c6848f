"""One real file moved by an unmodified curl in a LAN host, metered where it arrives, hashed on the way.

A download is metered at the pipe curl writes to, an upload where the web server writes it down.
"""

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hagw.lab import gateway, services
from hagw.lab.demo_report import Direction, FileMoved
from hagw.lab.lab import Lab
from hagw.lab.traffic import Download, Meter, sha256_of

CLIENT: Final = "lan1"
SERVER: Final = "inet"
SERVER_ADDRESS: Final = "203.0.113.10"
SERVER_PORT: Final = 80

_POLL_S: Final = 0.005
# curl says on its standard error which local port it had, so that the flow is found in `hagw flows`.
_TELL_PORT: Final = ("-w", "%{stderr}%{local_port}")


@dataclass(frozen=True, slots=True)
class DemoFile:
    """A file of the web server: for downloads served, for uploads also curl's source."""

    path: Path
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Moved:
    """A transfer that ended: the file's fate, the receiver's meter, and curl's local port (None if unknown)."""

    file: FileMoved
    meter: Meter
    client_port: int | None


def make_file(lab: Lab, name: str, size_bytes: int, seed: int) -> DemoFile:
    """Write a file of random bytes where the web server serves it."""
    path = services.web_root(lab.directory, SERVER) / name
    services.write_file(path, size_bytes, seed)
    return DemoFile(path, size_bytes, sha256_of(path))


class Fetching:
    """A download under way."""

    direction: Final[Direction] = "down"

    def __init__(self, lab: Lab, file: DemoFile) -> None:
        self._file = file
        self._download = Download(lab, CLIENT, f"http://{SERVER_ADDRESS}/{file.path.name}", "--fail", *_TELL_PORT)
        self.meter = self._download.meter

    def wait(self, timeout_s: float) -> Moved:
        """Wait for the end, at most `timeout_s`; a transfer that takes longer is ended and has failed."""
        fetched = self._download.wait(timeout_s)
        words, port = _words_and_port(fetched.error)
        trouble = _trouble(fetched.exit_code, words, timeout_s, fetched.size_bytes)
        name, size = self._file.path.name, self._file.size_bytes
        return Moved(FileMoved(name, "down", size, self._file.sha256, fetched.sha256, trouble), self.meter, port)

    def cancel(self) -> None:
        """End it now."""
        self._download.wait(0.0)


class Sending:
    """An upload under way. Its meter sees the file the web server writes, until the server gives it its name."""

    direction: Final[Direction] = "up"

    def __init__(self, lab: Lab, file: DemoFile) -> None:
        self._file = file
        self._incoming = gateway.node_directory(lab.directory, SERVER) / "tmp"
        self._stored = services.web_root(lab.directory, SERVER) / "upload" / file.path.name
        self._stored.unlink(missing_ok=True)
        self.meter = Meter(time.monotonic())
        url = f"http://{SERVER_ADDRESS}/upload/{self._stored.name}"
        argv = ["curl", "-sS", "--fail", "-o", "/dev/null", *_TELL_PORT, "-T", str(file.path), url]
        self._curl = lab.popen(CLIENT, argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float) -> Moved:
        """Wait for the end, at most `timeout_s`; a transfer that takes longer is ended and has failed."""
        try:
            _, said = self._curl.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self._curl.kill()
            _, said = self._curl.communicate()
        self._stop_watching()
        words, port = _words_and_port(said.decode(errors="replace"))
        trouble = _trouble(self._curl.returncode, words, timeout_s, self.meter.total_bytes)
        seen = sha256_of(self._stored) if self._stored.exists() else ""
        self._stored.unlink(missing_ok=True)
        name, size = self._file.path.name, self._file.size_bytes
        return Moved(FileMoved(name, "up", size, self._file.sha256, seen, trouble), self.meter, port)

    def cancel(self) -> None:
        """End it now."""
        self._curl.kill()
        self._curl.wait()
        self._stop_watching()

    def _watch(self) -> None:
        while not self._ended.wait(_POLL_S):
            self._see()

    def _see(self) -> None:
        # In this order a file that moves meanwhile is not seen twice.
        size = _size([self._stored]) + _size(self._incoming.iterdir())
        if size > self.meter.total_bytes:
            self.meter.add(time.monotonic(), size - self.meter.total_bytes)

    def _stop_watching(self) -> None:
        self._ended.set()
        self._thread.join()
        self._see()


Transfer = Fetching | Sending
Start = Callable[[Lab, DemoFile], Transfer]


def _size(paths: Iterable[Path]) -> int:
    total = 0
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # it is not there yet, or no longer
            total += path.stat().st_size
    return total


def _words_and_port(said: str) -> tuple[str, int | None]:
    """Split what curl wrote on standard error into its complaint and the port that _TELL_PORT asks for."""
    words = said.strip()
    complaint = words.rstrip("0123456789")
    port = words[len(complaint) :]
    return complaint.strip(), int(port) if port and int(port) else None


def _trouble(exit_code: int, words: str, timeout_s: float, arrived_bytes: int) -> str:
    if exit_code < 0:
        return f"it did not end within {timeout_s:.0f} s; {arrived_bytes} bytes had arrived"
    return "" if exit_code == 0 else words or f"curl ended with {exit_code}"
