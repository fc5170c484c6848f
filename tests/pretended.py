"""A pretended gateway (`hagw daemon --fake-kernel`) for tests: started without any rights, ended with the block."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hagw.cli.client import delete, get, post
from hagw.errors import HagwError

START_S = 60.0
END_S = 60.0
# Root in tests, but with nothing that root may do: capabilities are gone for it and its children.
UNPRIVILEGED = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--")


@dataclass(frozen=True)
class Pretended:
    """A running one."""

    directory: Path
    process: "subprocess.Popen[bytes]"

    @property
    def socket(self) -> Path:
        return self.directory / "run" / "hagw.sock"

    @property
    def environment(self) -> dict[str, str]:
        """What makes `hagw` talk to it."""
        return environment(self.directory)

    def get(self, resource: str) -> dict[str, Any]:
        return get(self.socket, resource)

    def post(self, resource: str, body: dict[str, Any]) -> dict[str, Any]:
        return post(self.socket, resource, body)

    def delete(self, resource: str) -> dict[str, Any]:
        return delete(self.socket, resource)

    def wait(self, resource: str, until: Callable[[dict[str, Any]], bool], timeout_s: float = 20.0) -> dict[str, Any]:
        """Return the resource once it is as wanted; fail with its last state."""
        deadline = time.monotonic() + timeout_s
        while not until(found := self.get(resource)):
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
        return found


def environment(directory: Path) -> dict[str, str]:
    """Return the environment of a gateway that keeps its files there."""
    places = {"HAGW_RUNTIME_DIR": str(directory / "run"), "HAGW_STATE_DIR": str(directory / "state")}
    root = str(Path(__file__).parent.parent)
    return {**os.environ, **places, "PYTHONPATH": root}


@contextmanager
def pretended(directory: Path, *options: str, rights: tuple[str, ...] = UNPRIVILEGED) -> Iterator[Pretended]:
    """Run `hagw daemon --fake-kernel` with its files in `directory`; yield it once it answers.

    `rights` () = as we are: as root it can give its web socket to the web process' group.
    """
    command = (*rights, sys.executable, "-P", "-m", "hagw", "daemon", "--fake-kernel", *options)
    with (directory / "daemon.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment(directory), stdout=log, stderr=log)
    found = Pretended(directory, process)
    try:
        _await(found)
        yield found
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        assert process.wait(END_S) == 0, (directory / "daemon.log").read_text()[-3000:]
    finally:
        if process.poll() is None:  # the test has failed: with it, the workers go
            process.send_signal(signal.SIGTERM)
            process.wait(END_S)


def _await(found: Pretended) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            if found.get("/status")["state"] != "off":
                return
        except HagwError:
            pass
        said = (found.directory / "daemon.log").read_text()[-3000:]
        assert found.process.poll() is None, said
        assert time.monotonic() < deadline, said
        time.sleep(0.1)
