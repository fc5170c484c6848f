"""What the tests of a connection's subflows share: three lines and a scripted kernel."""

import errno
import socket
from dataclasses import replace
from ipaddress import ip_address

from hagw.dataplane.mptcp_socket import SubflowInfo
from hagw.dataplane.uplink_table import UplinkTable
from hagw.model.intent import IPAddress
from hagw.model.snapshot import UplinkView

REMOTE = (ip_address("198.51.100.10"), 5124)
REMOTE6 = (ip_address("2001:db8:100::10"), 5124)
DSL = UplinkView(1, "dsl", "dsl0", 11, "192.0.2.1", "2001:db8::1", "up")
LTE = UplinkView(2, "lte", "lte0", 12, "192.0.2.2", None, "up")
WIFI = UplinkView(3, "wifi", "wifi0", 13, "192.0.2.3", None, "up")
INFO = SubflowInfo(("", 0), (str(REMOTE[0]), REMOTE[1]), 20_000, 18_000, 0, 0, 0, 0, 1400, 8_000_000, False)

Endpoint = tuple[IPAddress, int]


class Kernel:
    """A path manager and its subflows; `failing` maps a local address to the error of its creation."""

    def __init__(self) -> None:
        self.subflows: dict[str, SubflowInfo] = {}
        self.failing: dict[str, int] = {}
        self.withdrawing_fails = False
        self.calls: list[tuple[object, ...]] = []
        self.destroyed_on: list[int] = []  # interfaces

    def establish(self, local: str, port: int = 40_000, *, acked: int = 0, received: int = 0) -> None:
        self.subflows[local] = replace(INFO, local=(local, port), bytes_acked=acked, bytes_received=received)

    # what the data plane calls

    def read(self, sock: socket.socket) -> tuple[SubflowInfo, ...]:
        return tuple(self.subflows.values())

    def read_all(self, sock: socket.socket) -> tuple[SubflowInfo, ...]:
        return tuple(self.subflows.values())

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
        assert (remote_ip, remote_port) in (REMOTE, REMOTE6)
        assert remote_ip.version == local_ip.version
        self.calls.append(("create", str(local_ip), local_id, ifindex, backup))
        if str(local_ip) in self.failing:
            raise OSError(self.failing[str(local_ip)], "scripted")

    def sf_destroy(self, token: int, local: Endpoint, remote: Endpoint, ifindex: int = 0) -> None:
        self.calls.append(("destroy", str(local[0]), local[1]))
        self.destroyed_on.append(ifindex)
        self._withdraw()

    def break_off(self, local: Endpoint, remote: Endpoint, ifindex: int = 0) -> None:
        self.calls.append(("break", str(local[0]), ifindex))
        self.subflows.pop(str(local[0]), None)

    def announce(self, token: int, loc_id: int, local_ip: IPAddress) -> None:
        self.calls.append(("announce", loc_id, str(local_ip)))

    def remove(self, token: int, loc_id: int) -> None:
        self.calls.append(("remove", loc_id))
        self._withdraw()

    def set_backup(self, token: int, local: Endpoint, remote: Endpoint, backup: bool) -> None:
        self.calls.append(("backup", str(local[0]), backup))
        self._withdraw()

    def _withdraw(self) -> None:
        if self.withdrawing_fails:
            raise OSError(errno.ENOENT, "scripted")

    def asked(self) -> list[tuple[object, ...]]:
        """Return the calls since the last time."""
        calls, self.calls = self.calls, []
        return calls


def table(*uplinks: UplinkView) -> UplinkTable:
    return UplinkTable(uplinks)


ALL = table(DSL, LTE, WIFI)
