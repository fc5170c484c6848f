"""A worker as part of a unit of systemd's: what it tells and leaves to the service manager, and how it starts its own
successor."""

import os
import signal
import socket
from array import array
from collections.abc import Mapping, Sequence
from typing import Final

_FIRST: Final = 3  # SD_LISTEN_FDS_START
_COLON: Final = ";"  # a descriptor's name has no colon, our addresses do


def notify(state: str, descriptors: Sequence[int] = ()) -> bool:
    """Send one notification (sd_notify(3)), such as `MAINPID=7`; return whether somebody took it."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        try:
            # Not socket.send_fds, which forgets the address.
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))] if descriptors else []
            sock.sendmsg([state.encode()], rights, 0, address)
        except OSError:
            return False
    return True


class Store:
    """Listening sockets that systemd holds too: after a crash connections wait in them for the next worker."""

    def __init__(self) -> None:
        self._stored: set[str] = set()

    def taken_out(self) -> dict[str, socket.socket]:
        """Return the sockets that a worker before us left, by name; they stay in the store as well."""
        if os.environ.pop("LISTEN_PID", "") != str(os.getpid()):
            return {}
        names = os.environ.pop("LISTEN_FDNAMES", "").split(":")
        found = {}
        for offset in range(int(os.environ.pop("LISTEN_FDS", "0"))):
            sock = socket.socket(fileno=_FIRST + offset)
            sock.set_inheritable(False)
            sock.setblocking(False)
            found[names[offset].replace(_COLON, ":")] = sock
        self._stored.update(found)
        return found

    def keep(self, sockets: Mapping[str, socket.socket]) -> None:
        """Have just these in the store from now on."""
        for name in self._stored - sockets.keys():
            notify(f"FDSTOREREMOVE=1\nFDNAME={name.replace(':', _COLON)}")
        self._stored &= sockets.keys()
        for name in sockets.keys() - self._stored:
            if notify(f"FDSTORE=1\nFDNAME={name.replace(':', _COLON)}", [sockets[name].fileno()]):
                self._stored.add(name)


def bear(command: Sequence[str]) -> int:
    """Start another worker beside us, in the same unit and control group, and return its pid. Raise OSError.

    Its end is nothing we wait for: the kernel reaps it.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    return os.posix_spawn(
        command[0], list(command), os.environ, setsid=True, setsigmask=(),
        setsigdef=(signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD),
    )  # fmt: skip
