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


def caller() -> dict[str, str] | None:
    """Return the SSH session's two addresses, None on the console.

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


def parse(connection: str) -> dict[str, str] | None:
    """Return the addresses of "client port server port", None where it is something else."""
    parts = connection.split()
    if len(parts) != 4:
        return None
    client, _, server, _ = (part.partition("%")[0] for part in parts)
    try:
        addresses = ip_address(client), ip_address(server)
    except ValueError:
        return None
    return {"client": str(addresses[0]), "server": str(addresses[1])}


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
