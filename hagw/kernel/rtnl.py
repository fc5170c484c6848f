"""pyroute2's socket with errors as OSError, and dumps that are whole."""

import errno
from typing import Any, Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkDumpInterrupted, NetlinkError

_DUMPS_MAX: Final = 20
_NOT_THERE: Final = {errno.EAFNOSUPPORT, errno.EOPNOTSUPP}


class Rtnl:
    """One rtnetlink socket, bound to the network namespace of the thread that makes it, and used by that one.

    Only dumps and acknowledged changes: `get` requests of pyroute2 0.9 leave an unread answer each.
    """

    def __init__(self) -> None:
        self._socket = IPRoute()

    def dump(self, what: str, **matching: Any) -> list[Any]:
        """Dump "links", "addr", "routes" or "rules"; empty for a family the kernel lacks. Raises OSError."""
        for _ in range(_DUMPS_MAX):
            try:
                return list(getattr(self._socket, f"get_{what}")(**matching))
            except NetlinkDumpInterrupted:
                continue  # something changed meanwhile, as it does while links come and go: parts may be missing
            except NetlinkError as error:
                if error.code in _NOT_THERE:
                    return []
                raise _as_os_error(error) from None
        raise OSError(errno.EINTR, f"{what} changed all the time while they were read")

    def change(self, what: str, action: str, **request: Any) -> None:
        """Add, replace or delete a "route" or "rule". Raises OSError with the kernel's errno."""
        try:
            getattr(self._socket, what)(action, **request)
        except NetlinkError as error:
            raise _as_os_error(error) from None

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _as_os_error(error: NetlinkError) -> OSError:
    return OSError(error.code, str(error.args[-1]))
