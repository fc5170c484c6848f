"""A worker as part of a unit of systemd's: what it tells the service manager, and how it starts its own successor."""

import os
import signal
import socket
from collections.abc import Sequence


def notify(state: str) -> None:
    """Send one notification (sd_notify(3)), such as `MAINPID=7`; silent where nobody listens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        try:
            sock.sendto(state.encode(), address)
        except OSError:
            return


def bear(command: Sequence[str]) -> int:
    """Start another worker beside us, in the same unit and control group, and return its pid. Raise OSError.

    Its end is nothing we wait for: the kernel reaps it.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    return os.posix_spawn(
        command[0], list(command), os.environ, setsid=True, setsigmask=(),
        setsigdef=(signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD),
    )  # fmt: skip
