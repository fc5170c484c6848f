"""What the data plane needs of its siblings, as Protocols, with what implements them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from hagw.model.intent import IPAddress


class SubflowChange(Protocol):
    """A subflow of the connection `token`, known by its local address and port, now stands or has ended."""

    @property
    def token(self) -> int: ...

    @property
    def local(self) -> tuple[str, int]: ...

    @property
    def has_ended(self) -> bool: ...


class SubflowNews(Protocol):
    """What the kernel tells of subflows; `read` returns what is waiting, None = some of it was dropped."""

    def fileno(self) -> int: ...

    def read(self) -> Sequence[SubflowChange] | None: ...


class SubflowControl(Protocol):
    """The userspace path manager's commands; every call may raise OSError (ENOTCONN: nothing acknowledged yet).

    `hagw.kernel.mptcp.PathManager` is one.
    """

    def sf_create(
        self,
        token: int,
        local_ip: IPAddress,
        local_id: int,
        remote_ip: IPAddress,
        remote_port: int,
        ifindex: int,
        backup: bool = False,
    ) -> None: ...

    def sf_destroy(
        self, token: int, local: tuple[IPAddress, int], remote: tuple[IPAddress, int], ifindex: int = 0
    ) -> None: ...

    def break_off(self, local: tuple[IPAddress, int], remote: tuple[IPAddress, int], ifindex: int = 0) -> None: ...

    def announce(self, token: int, loc_id: int, local_ip: IPAddress) -> None: ...

    def remove(self, token: int, loc_id: int) -> None: ...

    def set_backup(
        self, token: int, local: tuple[IPAddress, int], remote: tuple[IPAddress, int], backup: bool
    ) -> None: ...


class LineCounters(Protocol):
    """What interfaces have carried, whoever's traffic it was; `hagw.probe.counters.IpBytes` is one."""

    def read(self, interfaces: Collection[str]) -> Mapping[str, tuple[int, int]]:
        """Return bytes of IP packets (received, sent) of those interfaces that exist."""
        ...
