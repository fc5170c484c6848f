"""rtnetlink: whole dumps, and acknowledged changes by pyroute2.

Dumps are our own: they are made in every pass, and pyroute2's cost five times as much and leave cyclic garbage, tens of
megabytes before it is collected.
"""

import errno
import socket
from typing import TYPE_CHECKING, Any, Final

from hagw.kernel.messages import ADDRESSES, LINKS, ROUTES, RULES, Message, message_of
from hagw.kernel.netlink import NLM_F_DUMP, NetlinkSocket
from hagw.parts import only_parts_of

if TYPE_CHECKING:
    from pyroute2.iproute.linux import IPRoute

_DUMPS_MAX: Final = 20
_NOT_THERE: Final = {errno.EAFNOSUPPORT, errno.EOPNOTSUPP}
_LAYOUTS: Final = {"links": LINKS, "addr": ADDRESSES, "routes": ROUTES, "rules": RULES}


class Rtnl:
    """Rtnetlink sockets, bound to the network namespace of the thread that makes them, and used by that one."""

    def __init__(self) -> None:
        self._dumps = NetlinkSocket(socket.NETLINK_ROUTE)
        self._changes: IPRoute | None = None

    def dump(self, what: str, family: int = socket.AF_UNSPEC) -> list[Message]:
        """Dump "links", "addr", "routes" or "rules"; empty for a family the kernel lacks. Raises OSError."""
        layout = _LAYOUTS[what]
        wanted = bytes([family]).ljust(layout.fixed.size, b"\0")
        for _ in range(_DUMPS_MAX):
            try:
                bodies = self._dumps.request(layout.request, wanted, NLM_F_DUMP)
            except OSError as error:
                if error.errno in _NOT_THERE:
                    return []
                raise
            if self._dumps.was_interrupted:
                continue  # something changed meanwhile, as it does while links come and go: parts may be missing
            messages = (message_of(layout, body) for body in bodies)
            # Without a family's module the kernel answers for all that it has.
            return [found for found in messages if found is not None and family in (socket.AF_UNSPEC, found["family"])]
        raise OSError(errno.EINTR, f"{what} changed all the time while they were read")

    def change(self, what: str, action: str, **request: Any) -> None:
        """Add, replace or delete a "route" or "rule". Raises OSError with the kernel's errno."""
        if self._changes is None:
            self._changes = _open()
        from pyroute2.netlink.exceptions import NetlinkError

        try:
            getattr(self._changes, what)(action, **request)
        except NetlinkError as error:
            raise OSError(error.code, str(error.args[-1])) from None

    def close(self) -> None:
        """Close the sockets."""
        self._dumps.close()
        if self._changes is not None:
            self._changes.close()


def _open() -> "IPRoute":
    """Import late and only what is needed: all of it would be 8 to 12 MB, and often nothing is to be changed."""
    only_parts_of("unittest")  # whose mock it wants, not its command line
    only_parts_of("pyroute2")
    from pyroute2.iproute.linux import IPRoute

    return IPRoute()
