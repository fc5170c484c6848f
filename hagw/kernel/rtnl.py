"""rtnetlink: whole dumps, and acknowledged changes.

Both are our own: pyroute2 takes 9 MB of the daemon's memory (docs/adr/0057), its dumps take five times as long and
leave cyclic garbage, tens of megabytes before it is collected.
"""

import errno
import socket
from typing import Final

from hagw.kernel.changes import Change
from hagw.kernel.messages import ADDRESSES, LINKS, ROUTES, RULES, Message, message_of
from hagw.kernel.netlink import NLM_F_DUMP, NetlinkSocket

_DUMPS_MAX: Final = 20
_NOT_THERE: Final = {errno.EAFNOSUPPORT, errno.EOPNOTSUPP}
_LAYOUTS: Final = {"links": LINKS, "addr": ADDRESSES, "routes": ROUTES, "rules": RULES}


class Rtnl:
    """An rtnetlink socket, bound to the network namespace of the thread that makes it, and used by that one."""

    def __init__(self) -> None:
        self._socket = NetlinkSocket(socket.NETLINK_ROUTE)

    def dump(self, what: str, family: int = socket.AF_UNSPEC) -> list[Message]:
        """Dump "links", "addr", "routes" or "rules"; empty for a family the kernel lacks. Raises OSError."""
        layout = _LAYOUTS[what]
        wanted = bytes([family]).ljust(layout.fixed.size, b"\0")
        for _ in range(_DUMPS_MAX):
            try:
                bodies = self._socket.request(layout.request, wanted, NLM_F_DUMP)
            except OSError as error:
                if error.errno in _NOT_THERE:
                    return []
                raise
            if self._socket.was_interrupted:
                continue  # something changed meanwhile, as it does while links come and go: parts may be missing
            messages = (message_of(layout, body) for body in bodies)
            # Without a family's module the kernel answers for all that it has.
            return [found for found in messages if found is not None and family in (socket.AF_UNSPEC, found["family"])]
        raise OSError(errno.EINTR, f"{what} changed all the time while they were read")

    def change(self, wanted: Change) -> None:
        """Have the kernel make a change. Raises OSError with its errno and explanation."""
        self._socket.request(wanted.request, wanted.payload, wanted.flags)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
