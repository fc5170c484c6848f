"""A PostgreSQL server of the tests' own, from Debian's packages, with nothing of the machine's."""

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_USER: Final = "postgres"
_QUICK: Final = ("-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "listen_addresses=")


class Postgres:
    """A cluster in `home`, reached by a Unix socket there; it can be stopped and started."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        self._server: subprocess.Popen[bytes] | None = None

    def url(self, driver: str = "postgresql") -> str:
        """Return the URL of its database."""
        return f"{driver}://{_USER}@/postgres?host={self.home}"

    def create(self) -> None:
        """Make the cluster."""
        owner = pwd.getpwnam(_USER)
        os.chown(self.home, owner.pw_uid, owner.pw_gid)
        self._run("initdb", "-D", str(self.home / "cluster"), "-A", "trust", "-N", "--no-instructions", "-E", "UTF8")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        command = self._command("postgres", "-D", str(self.home / "cluster"), "-k", str(self.home), *_QUICK)
        with (self.home / "log").open("ab") as log:
            self._server = subprocess.Popen(command, stdout=log, stderr=log, cwd="/")
        deadline = time.monotonic() + 20
        while subprocess.run([str(self._programs / "pg_isready"), "-q", "-h", str(self.home)], check=False).returncode:
            assert self._server.poll() is None, (self.home / "log").read_text()
            assert time.monotonic() < deadline, (self.home / "log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the server at once, its clients' connections with it."""
        if self._server is not None:
            self._run("pg_ctl", "stop", "-D", str(self.home / "cluster"), "-m", "immediate", "-s")
            self._server.wait(20)
            self._server = None

    def _command(self, program: str, *arguments: str) -> list[str]:
        as_user = ["runuser", "-u", _USER, "--"] if os.geteuid() == 0 else []
        return [*as_user, str(self._programs / program), *arguments]

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(self._command(program, *arguments), check=True, capture_output=True, cwd="/", timeout=60)


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a server for as long as this lasts."""
    home = Path("/var/tmp") / f"hagw-postgres-{os.getpid()}"  # short: a socket's path has 107 characters at most
    home.mkdir(mode=0o700)
    server = Postgres(home)
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(home)
