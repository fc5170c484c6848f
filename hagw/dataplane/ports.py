"""What the data plane needs of the kernel layer, as a Protocol: `hagw.kernel.mptcp.PathManager` is one."""

from typing import Protocol

from hagw.model.intent import IPAddress


class SubflowControl(Protocol):
    """The userspace path manager's commands; every call may raise OSError (ENOTCONN: nothing acknowledged yet)."""

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

    def sf_destroy(self, token: int, local: tuple[IPAddress, int], remote: tuple[IPAddress, int]) -> None: ...

    def remove(self, token: int, loc_id: int) -> None: ...

    def set_backup(
        self, token: int, local: tuple[IPAddress, int], remote: tuple[IPAddress, int], backup: bool
    ) -> None: ...
