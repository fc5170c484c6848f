"""What the kernel tells of MPTCP connections' subflows: multicast group `mptcp_pm_events` of family `mptcp_pm`.

Read without waiting and in bounded portions; nothing is kept. Only what asks for a look is told: a subflow that stands,
and one that has ended (Documentation/netlink/specs/mptcp_pm.yaml). The others say what the sockets say themselves
(created, established, closed), are answered by the kernel (announced), or are followed by the end of the subflows
concerned (removed).
"""

import errno
import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final

from hagw.kernel.mptcp import PathManager
from hagw.kernel.netlink import attributes

BATCH: Final = 64  # datagrams a read; more in a row are more than a look at everything costs
_NETLINK_GENERIC: Final = 16
_GROUP: Final = b"mptcp_pm_events"
_SOL_NETLINK: Final = 270
_NETLINK_ADD_MEMBERSHIP: Final = 1
_SO_RCVBUFFORCE: Final = 33
_BUFFER_BYTES: Final = 1 << 19
_DATAGRAM_BYTES: Final = 4096

_MESSAGE: Final = struct.Struct("=IHHII")
_EVENT_AT: Final = _MESSAGE.size
_ATTRIBUTES_AT: Final = _MESSAGE.size + 4  # struct genlmsghdr
_SUB_ESTABLISHED: Final = 10
_SUB_CLOSED: Final = 11
_TOKEN: Final = 1
_LOCAL4: Final = 5
_LOCAL6: Final = 6
_LOCAL_PORT: Final = 9
_ERROR: Final = 12
_U32: Final = struct.Struct("=I")


@dataclass(frozen=True, slots=True)
class SubflowEvent:
    """A subflow of the connection `token` now stands, or has ended (`error` an errno, 0 = none given)."""

    token: int
    local: tuple[str, int]
    has_ended: bool
    error: int = 0


class SubflowEvents:
    """Listens in the network namespace of the process. Raises OSError where the kernel tells nothing (ENOENT)."""

    def __init__(self) -> None:
        with PathManager() as manager:
            group = manager.group(_GROUP)
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, _NETLINK_GENERIC)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
            self._socket.bind((0, 0))
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor that is readable when there is something."""
        return self._socket.fileno()

    def read(self) -> list[SubflowEvent] | None:
        """Return what is waiting, BATCH datagrams at most; None = the kernel had to drop some."""
        found: list[SubflowEvent] = []
        for _ in range(BATCH):
            try:
                message = self._socket.recv(_DATAGRAM_BYTES)
            except BlockingIOError:
                break
            except OSError as why:
                if why.errno != errno.ENOBUFS:
                    raise
                return None
            event = parse(message)
            if event is not None:
                found.append(event)
        return found

    def close(self) -> None:
        """Close the socket; harmless when it is closed already."""
        self._socket.close()


def parse(message: bytes) -> SubflowEvent | None:
    """Return what one message tells of a subflow, None where that is nothing of interest or damaged."""
    if len(message) < _ATTRIBUTES_AT or message[_EVENT_AT] not in (_SUB_ESTABLISHED, _SUB_CLOSED):
        return None
    found = dict(attributes(message[_ATTRIBUTES_AT : _MESSAGE.unpack_from(message)[0]]))
    address = _address(found)
    token, port, error = found.get(_TOKEN, b""), found.get(_LOCAL_PORT, b""), found.get(_ERROR, b"\0")
    if address is None or len(token) != _U32.size or len(port) != 2:
        return None
    local = (address, int.from_bytes(port, "big"))
    return SubflowEvent(_U32.unpack(token)[0], local, message[_EVENT_AT] == _SUB_CLOSED, error[0] if error else 0)


def _address(found: dict[int, bytes]) -> str | None:
    """Return the local address, an IPv4 one of an IPv6 socket as IPv4."""
    if len(four := found.get(_LOCAL4, b"")) == 4:
        return socket.inet_ntop(socket.AF_INET, four)
    if len(six := found.get(_LOCAL6, b"")) == 16:
        address = IPv6Address(six)
        return str(address.ipv4_mapped or address)
    return None
