"""`hagw report`: everything somebody needs who is to help, in one file, without secrets."""

import io
import json
import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from hagw import __version__
from hagw.cli.client import get
from hagw.cli.logs import worker_logs
from hagw.config.secrets import masked
from hagw.control.places import api_socket, config_file, runtime_dir
from hagw.errors import HagwError

DOCUMENTS: Final = ("status", "flows", "usage", "rules", "config", "config/history", "events?limit=1000", "drain")
COMMANDS: Final = (
    ("uname", "-a"),
    ("ip", "-details", "address"),
    ("ip", "rule"),
    ("ip", "route", "show", "table", "all"),
    ("nft", "list", "table", "inet", "hagw"),
    ("ip", "mptcp", "endpoint"),
    ("ip", "mptcp", "limits"),
    ("ss", "-s"),
    ("nstat", "-az"),
    ("journalctl", "--no-pager", "--unit", "hagw*", "--lines", "2000"),
)
TIMEOUT_S: Final = 10.0
LOG_LINES: Final = 2_000
# Keys, session secrets and tokens are random: nothing that is worth reading looks like them.
_RANDOM: Final = re.compile(r"(?<![\w-])(?:(?=[A-Za-z_-]*[0-9])[\w-]{32,}|[\w-]{40,})(?![\w-])", re.ASCII)
_BEARER: Final = re.compile(r"(?i)\b(bearer|authorization:|cookie:|password[\"']?\s*[:=])\s*\S+")


def report(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Where to; hagw-report-TIME.tar.gz.")] = None,
) -> None:
    """Collect status, flows, events, configuration, logs and kernel state in one file; secrets are taken out."""
    target = file or Path(time.strftime("hagw-report-%Y%m%dT%H%M%SZ.tar.gz", time.gmtime()))
    parts = dict(_parts())
    try:
        with target.open("xb") as written:
            target.chmod(0o600)
            written.write(bundle(parts, time.time()))
    except OSError as why:
        raise HagwError(f"{target} cannot be written: {why.strerror}.") from why
    print(f"{target}: {len(parts)} parts. Keys, passwords and tokens are taken out; addresses and names are not.")


def bundle(parts: dict[str, str], at: float) -> bytes:
    """Return a compressed archive of texts by name, each without secrets."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in parts.items():
            data = without_secrets(text).encode("utf-8", "replace")
            member = tarfile.TarInfo(f"hagw-report/{name}")
            member.size, member.mtime, member.mode = len(data), int(at), 0o600
            archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()


def without_secrets(text: str) -> str:
    """Return a text without whatever is a secret or looks like one."""
    text = _BEARER.sub(lambda found: f"{found[1]} <removed>", masked(text))
    return _RANDOM.sub("<removed>", text)


def _parts() -> Iterable[tuple[str, str]]:
    yield "version.txt", f"hagw {__version__}, Python {sys.version}\n"
    yield "config-file.yaml", _said(lambda: config_file().read_text(encoding="utf-8"))
    for resource in DOCUMENTS:
        name = resource.partition("?")[0].replace("/", "-")
        yield f"{name}.json", _said(lambda resource=resource: _document(resource))  # type: ignore[misc]  # mypy on defaults
    yield "doctor.txt", _said(lambda: _output((sys.executable, "-m", "hagw", "doctor")))
    for name, text in worker_logs(runtime_dir(), LOG_LINES).items():
        yield f"log/{name}", text
    for command in COMMANDS:
        yield f"system/{'-'.join(command[:3]).replace('/', '')}.txt", _said(lambda command=command: _output(command))  # type: ignore[misc]


def _document(resource: str) -> str:
    return written(get(api_socket(), f"/{resource}"))


def written(document: dict[str, Any]) -> str:
    """Return a document as text; YAML within it is masked as what it is, since as JSON nobody could tell."""
    shown = {
        key: masked(value) if key == "text" and isinstance(value, str) else value for key, value in document.items()
    }
    return json.dumps(shown, indent=1)


def _output(command: tuple[str, ...]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False)
    return done.stdout + done.stderr


def _said(ask: Callable[[], str]) -> str:
    """Return an answer, or why there is none: a report is wanted most where something does not work."""
    try:
        return ask()
    except (HagwError, OSError, UnicodeDecodeError, subprocess.SubprocessError) as why:
        return f"not to be had: {why}\n"
