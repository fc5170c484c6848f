"""The kernel's MPTCP path manager over generic netlink: subflows of single connections, and the limits.

Talks to family `mptcp_pm` (Documentation/netlink/specs/mptcp_pm.yaml in the kernel tree). Per-connection
commands need a socket made while `net.mptcp.pm_type` was 1. Events are `mptcp_events`'s.
"""

import errno
import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address
from types import TracebackType
from typing import Final, Self

from hagw.kernel.breaker import Breaker, Endpoint
from hagw.kernel.netlink import NLM_F_ACK, NetlinkSocket, attribute, attributes, nested
from hagw.model.intent import IPAddress

_NETLINK_GENERIC: Final = 16
_GENL_ID_CTRL: Final = 16
_CTRL_CMD_GETFAMILY: Final = 3
_CTRL_ATTR_FAMILY_ID: Final = 1
_CTRL_ATTR_FAMILY_NAME: Final = 2
_CTRL_ATTR_OPS: Final = 6
_CTRL_ATTR_MCAST_GROUPS: Final = 7
_CTRL_ATTR_MCAST_GRP_NAME: Final = 1
_CTRL_ATTR_MCAST_GRP_ID: Final = 2
_CTRL_ATTR_OP_ID: Final = 1

_CMD_SET_LIMITS: Final = 5
_CMD_GET_LIMITS: Final = 6
_CMD_SET_FLAGS: Final = 7
_CMD_ANNOUNCE: Final = 8
_CMD_REMOVE: Final = 9
_CMD_SUBFLOW_CREATE: Final = 10
_CMD_SUBFLOW_DESTROY: Final = 11
PER_CONNECTION: Final = {"remove": _CMD_REMOVE, "create": _CMD_SUBFLOW_CREATE, "destroy": _CMD_SUBFLOW_DESTROY}

_ATTR_ADDR: Final = 1
_ATTR_RCV_ADD_ADDRS: Final = 2
_ATTR_SUBFLOWS: Final = 3
_ATTR_TOKEN: Final = 4
_ATTR_LOC_ID: Final = 5
_ATTR_ADDR_REMOTE: Final = 6

_ADDR_FAMILY: Final = 1
_ADDR_ID: Final = 2
_ADDR_ADDR4: Final = 3
_ADDR_ADDR6: Final = 4
_ADDR_PORT: Final = 5
_ADDR_FLAGS: Final = 6
_ADDR_IF_IDX: Final = 7

_FLAG_SIGNAL: Final = 1
_FLAG_BACKUP: Final = 4

_COMMAND: Final = struct.Struct("=BBH")
_U16: Final = struct.Struct("=H")
_U32: Final = struct.Struct("=I")
_I32: Final = struct.Struct("=i")
_FAMILY4: Final = attribute(_ADDR_FAMILY, _U16.pack(socket.AF_INET))
_FAMILY6: Final = attribute(_ADDR_FAMILY, _U16.pack(socket.AF_INET6))
_NO_ID: Final = attribute(_ADDR_ID, b"\0")
_BACKUP: Final = {value: attribute(_ADDR_FLAGS, _U32.pack(_FLAG_BACKUP if value else 0)) for value in (False, True)}


@dataclass(frozen=True, slots=True)
class PathLimits:
    """Per-namespace limits of the in-kernel path manager: extra subflows, and accepted ADD_ADDRs."""

    subflows: int
    add_addr_accepted: int


class PathManager:
    """A client of the path manager. One socket, synchronous, about 10 µs a call; not shared between threads.

    Every method raises OSError with the kernel's errno and explanation. Those worth telling apart:
    ENOTCONN in `sf_create` means that no data was acknowledged yet (try again); ESRCH from `sf_destroy` and
    EINVAL "subflow not found" from `set_backup` that the subflow is gone; EINVAL also that the connection
    belongs to the in-kernel path manager. The constructor raises ENOENT where the kernel has no MPTCP.
    """

    def __init__(self) -> None:
        self._netlink = NetlinkSocket(_NETLINK_GENERIC)
        try:
            self._family = self._resolve(b"mptcp_pm\0")
        except OSError:
            self._netlink.close()
            raise
        self._breaker = Breaker()

    def sf_create(
        self,
        token: int,
        local_ip: IPAddress,
        local_id: int,
        remote_ip: IPAddress,
        remote_port: int,
        ifindex: int,
        backup: bool = False,
    ) -> None:
        """Join a subflow from `local_ip` on interface `ifindex`; returns before its handshake is done.

        One id per local address, 1..255, reusable. Without the interface a marked connection's subflows
        would all leave by the marked table's line. Linux 6.1 ignores `backup` here: call `set_backup` once
        the subflow is established.
        """
        identity = attribute(_ADDR_ID, local_id.to_bytes(1, "little")) + attribute(_ADDR_IF_IDX, _I32.pack(ifindex))
        flags = _BACKUP[True] if backup else b""
        self._command(
            _CMD_SUBFLOW_CREATE,
            _token(token)
            + nested(_ATTR_ADDR, identity, _address(local_ip), flags)
            + nested(_ATTR_ADDR_REMOTE, _address(remote_ip), _port(remote_port)),
        )

    def sf_destroy(self, token: int, local: Endpoint, remote: Endpoint, ifindex: int = 0) -> None:
        """End a subflow, bound to an interface if to any, and what it holds: that is sent again over the others.

        The peer goes on sending into it until told by `remove`: do both on a lost line.
        """
        # First: a socket that was closed already cannot be ended everywhere, and lives on with all it holds.
        self._breaker.end(local, remote, ifindex)
        self._command(_CMD_SUBFLOW_DESTROY, _token(token) + _ends(local, remote))

    def break_off(self, local: Endpoint, remote: Endpoint, ifindex: int = 0) -> None:
        """Reset a subflow, bound to an interface if to any: nothing goes out on it any more, but the path manager
        still knows its address, so that the peer can be told of it by `remove`."""
        self._breaker.end(local, remote, ifindex)

    def announce(self, token: int, loc_id: int, local_ip: IPAddress) -> None:
        """Tell the peer of an address of ours (ADD_ADDR), so that it can be told once more that it is gone.

        Raises OSError (EINVAL) where the address, or the id, is in use.
        """
        identity = attribute(_ADDR_ID, loc_id.to_bytes(1, "little")) + attribute(_ADDR_FLAGS, _U32.pack(_FLAG_SIGNAL))
        self._command(_CMD_ANNOUNCE, _token(token) + nested(_ATTR_ADDR, identity, _address(local_ip)))

    def remove(self, token: int, loc_id: int) -> None:
        """Tell the peer that our address `loc_id` is gone (REMOVE_ADDR); 0 is the initial subflow's."""
        self._command(_CMD_REMOVE, _token(token) + attribute(_ATTR_LOC_ID, loc_id.to_bytes(1, "little")))

    def set_backup(self, token: int, local: Endpoint, remote: Endpoint, backup: bool) -> None:
        """Change a subflow's priority at both ends (MP_PRIO); goes out on that subflow itself."""
        self._command(_CMD_SET_FLAGS, _token(token) + _ends(local, remote, _NO_ID + _BACKUP[backup]))

    def limits(self) -> PathLimits:
        """Read the in-kernel path manager's limits."""
        found = dict(attributes(self._command(_CMD_GET_LIMITS, b"")[0][_COMMAND.size :]))
        return PathLimits(
            subflows=_U32.unpack(found[_ATTR_SUBFLOWS])[0], add_addr_accepted=_U32.unpack(found[_ATTR_RCV_ADD_ADDRS])[0]
        )

    def set_limits(self, limits: PathLimits) -> None:
        """Write the in-kernel path manager's limits; the kernel takes no more than 8 of each."""
        self._command(
            _CMD_SET_LIMITS,
            attribute(_ATTR_RCV_ADD_ADDRS, _U32.pack(limits.add_addr_accepted))
            + attribute(_ATTR_SUBFLOWS, _U32.pack(limits.subflows)),
        )

    def missing_commands(self) -> tuple[str, ...]:
        """Return which per-connection commands this kernel does not list for its path manager."""
        listed = {
            _U32.unpack(dict(attributes(operation))[_CTRL_ATTR_OP_ID])[0]
            for _, operation in attributes(self._described(b"mptcp_pm\0").get(_CTRL_ATTR_OPS, b""))
        }
        return tuple(name for name, number in PER_CONNECTION.items() if number not in listed)

    def group(self, name: bytes) -> int:
        """Return the number of one of the family's multicast groups. Raises OSError (ENOENT) where it has none."""
        for _, described in attributes(self._described(b"mptcp_pm\0").get(_CTRL_ATTR_MCAST_GROUPS, b"")):
            group = dict(attributes(described))
            if group.get(_CTRL_ATTR_MCAST_GRP_NAME, b"").rstrip(b"\0") == name:
                number: int = _U32.unpack(group[_CTRL_ATTR_MCAST_GRP_ID])[0]
                return number
        raise OSError(errno.ENOENT, f"the kernel's path manager has no group {name.decode()}")

    def close(self) -> None:
        """Close the sockets; harmless when they are closed already."""
        self._netlink.close()
        self._breaker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _command(self, command: int, payload: bytes) -> list[bytes]:
        return self._netlink.request(self._family, _COMMAND.pack(command, 1, 0) + payload, NLM_F_ACK)

    def _resolve(self, family: bytes) -> int:
        number: int = _U16.unpack(self._described(family)[_CTRL_ATTR_FAMILY_ID])[0]
        return number

    def _described(self, family: bytes) -> dict[int, bytes]:
        """Return the attributes by which generic netlink describes a family."""
        payload = _COMMAND.pack(_CTRL_CMD_GETFAMILY, 1, 0) + attribute(_CTRL_ATTR_FAMILY_NAME, family)
        answer = self._netlink.request(_GENL_ID_CTRL, payload, NLM_F_ACK)[0]
        return dict(attributes(answer[_COMMAND.size :]))


def _token(token: int) -> bytes:
    return attribute(_ATTR_TOKEN, _U32.pack(token))


def _address(address: IPAddress) -> bytes:
    if isinstance(address, IPv4Address):
        return _FAMILY4 + attribute(_ADDR_ADDR4, address.packed)
    return _FAMILY6 + attribute(_ADDR_ADDR6, address.packed)


def _port(port: int) -> bytes:
    return attribute(_ADDR_PORT, _U16.pack(port))


def _ends(local: Endpoint, remote: Endpoint, local_extra: bytes = b"") -> bytes:
    return nested(_ATTR_ADDR, local_extra, _address(local[0]), _port(local[1])) + nested(
        _ATTR_ADDR_REMOTE, _address(remote[0]), _port(remote[1])
    )
