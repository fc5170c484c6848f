"""Who is at the other end of this command line: the user, and the SSH session it came through."""

import os
import pwd
from ipaddress import ip_address
from pathlib import Path

VARIABLE = "SSH_CONNECTION"
_ANCESTORS_MAX = 32


def user() -> str:
    """Return the name of who called, also behind sudo."""
    try:
        return os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def caller() -> dict[str, str | int] | None:
    """Return the SSH session's two addresses and our port, None on the console.

    sudo drops the variable, so the processes that we were started by are looked at too.
    """
    found = os.environ.get(VARIABLE)
    pid = os.getppid()
    for _ in range(_ANCESTORS_MAX):
        if found or pid <= 1:
            break
        found = _environment(pid).get(VARIABLE)
        pid = _parent(pid)
    return parse(found or "")


def parse(connection: str) -> dict[str, str | int] | None:
    """Return what "client port server port" says, None where it is something else."""
    parts = connection.split()
    if len(parts) != 4:
        return None
    client, _, server, port = (part.partition("%")[0] for part in parts)
    try:
        return {"client": str(ip_address(client)), "server": str(ip_address(server)), "port": int(port)}
    except ValueError:
        return None


def _environment(pid: int) -> dict[str, str]:
    try:
        text = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return dict(entry.partition("=")[::2] for entry in text.split("\0") if "=" in entry)


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0
