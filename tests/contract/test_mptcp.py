"""The path manager client against the running kernel."""

import errno
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

import pytest
from namespaces import Namespace, link

from hagw.dataplane.loop import Loop
from hagw.dataplane.mptcp_socket import SubflowInfo, SubflowReader
from hagw.dataplane.paths import LIVED_S, Paths
from hagw.dataplane.subflow_watch import SubflowWatch
from hagw.dataplane.uplink_table import UplinkTable
from hagw.kernel.mptcp import PathLimits, PathManager
from hagw.kernel.mptcp_events import SubflowEvent, SubflowEvents
from hagw.model.intent import IPAddress
from hagw.model.snapshot import UplinkView

pytestmark = pytest.mark.netns

SOL_MPTCP = 284
MPTCP_INFO = 1
PORT = 5124


@dataclass
class Pair:
    """An established MPTCP connection between two namespaces that share two links."""

    client: socket.socket
    server: socket.socket
    manager: PathManager
    ifindexes: tuple[int, int]
    events: SubflowEvents
    server_side: Namespace
    client_side: Namespace

    @property
    def token(self) -> int:
        """Connection token, from struct mptcp_info."""
        token: int = struct.unpack_from("<I", self.client.getsockopt(SOL_MPTCP, MPTCP_INFO, 96), 12)[0]
        return token

    def subflows(self) -> int:
        """Number of extra subflows."""
        return self.client.getsockopt(SOL_MPTCP, MPTCP_INFO, 96)[0]

    def taken(self) -> int:
        """Number of extra subflows at the peer."""
        return self.server.getsockopt(SOL_MPTCP, MPTCP_INFO, 96)[0]

    def wait_subflows(self, wanted: int) -> None:
        """Wait until that many extra subflows exist."""
        deadline = time.monotonic() + 20
        while self.subflows() != wanted:
            assert time.monotonic() < deadline, f"{self.subflows()} subflows instead of {wanted}"
            time.sleep(0.005)

    def exchange(self) -> None:
        """Have data acknowledged, after which subflows may join."""
        self.client.sendall(b"hello")
        assert self.server.recv(5) == b"hello"
        self.server.sendall(b"hello")
        assert self.client.recv(5) == b"hello"


@dataclass
class Watched:
    """A connection as far as it is watched."""

    paths: Paths
    uplinks: UplinkTable
    looks: int = 0

    def look(self) -> None:
        self.looks += 1
        self.paths.observe(time.monotonic())
        self.paths.reconcile(self.uplinks, time.monotonic())


@pytest.fixture
def pair(namespace: Callable[[str], Namespace]) -> Iterator[Pair]:
    client_side, server_side = namespace("client"), namespace("server")
    for number in (1, 2):
        link(client_side, f"up{number}", server_side, f"down{number}")
        for side, name, host in ((client_side, "up", 2), (server_side, "down", 1)):
            side.run("ip", "address", "add", f"10.{number}.0.{host}/24", "dev", f"{name}{number}")
            side.run("ip", "address", "add", f"fd0{number}::{host}/64", "dev", f"{name}{number}", "nodad")
    server_side.run("ip", "mptcp", "limits", "set", "subflows", "8", "add_addr_accepted", "0")
    with server_side.entered():
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_MPTCP)
        listener.bind(("0.0.0.0", PORT))
        listener.listen()
    client_side.sysctl("net/mptcp/pm_type", "1")
    with client_side.entered():
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_MPTCP)
        manager, events = PathManager(), SubflowEvents()
        ifindexes = (socket.if_nametoindex("up1"), socket.if_nametoindex("up2"))
    client.bind(("10.1.0.2", 0))
    client.connect(("10.1.0.1", PORT))
    server, _ = listener.accept()
    with listener, client, server, manager:
        yield Pair(client, server, manager, ifindexes, events, server_side, client_side)
    events.close()


def create(pair: Pair, backup: bool = False) -> None:
    pair.manager.sf_create(
        pair.token, ip_address("10.2.0.2"), 2, ip_address("10.2.0.1"), PORT, pair.ifindexes[1], backup
    )


def test_a_subflow_is_refused_before_the_first_data_and_joins_after_it(pair: Pair) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.ENOTCONN)):
        create(pair)
    pair.exchange()
    create(pair)
    pair.wait_subflows(1)


def test_subflows_of_the_other_family_are_refused_with_an_explanation(pair: Pair) -> None:
    pair.exchange()
    with pytest.raises(OSError, match="famil") as refused:
        pair.manager.sf_create(pair.token, ip_address("10.2.0.2"), 2, ip_address("fd02::1"), PORT, pair.ifindexes[1])
    assert refused.value.errno == errno.EINVAL


def test_a_lost_line_is_removed_and_joined_again(pair: Pair) -> None:
    pair.exchange()
    create(pair)
    pair.wait_subflows(1)
    local = (ip_address("10.1.0.2"), pair.client.getsockname()[1])
    remote = (ip_address("10.1.0.1"), PORT)
    pair.manager.remove(pair.token, 0)
    pair.manager.sf_destroy(pair.token, local, remote)
    pair.exchange()
    pair.manager.sf_create(pair.token, local[0], 1, remote[0], PORT, pair.ifindexes[0])
    pair.exchange()


def test_subflows_that_stand_and_subflows_that_end_are_told(pair: Pair) -> None:
    def told() -> SubflowEvent:
        assert select.select([pair.events], [], [], 20.0)[0], "nothing was told"
        found = pair.events.read()
        assert found is not None
        assert len(found) == 1, found
        return found[0]

    pair.exchange()
    create(pair)
    stands = told()
    assert (stands.token, stands.local[0], stands.has_ended) == (pair.token, "10.2.0.2", False)
    pair.wait_subflows(1)
    pair.exchange()
    remote = (ip_address("10.2.0.1"), PORT)
    pair.manager.sf_destroy(pair.token, (ip_address("10.2.0.2"), stands.local[1]), remote)
    ended = told()
    assert (ended.token, ended.local, ended.has_ended) == (pair.token, stands.local, True)
    assert pair.events.read() == []


def test_a_subflow_that_is_ended_sends_nothing_more_and_nothing_is_lost(pair: Pair) -> None:
    """What it holds goes over the others only, not over its own line, too: that may be a slow one."""
    pair.exchange()
    create(pair)
    pair.wait_subflows(1)
    port = pair.client.getsockname()[1]
    pair.manager.set_backup(pair.token, *joined_ends(pair), True)
    pair.server_side.run("nft", "add table inet t; add chain inet t c { type filter hook input priority 0; }")
    pair.server_side.run("nft", 'add rule inet t c iifname "down1" drop')
    pair.client.setblocking(False)
    sent = pair.client.send(bytes(400_000))
    assert queued(pair, port) > 0
    pair.manager.remove(pair.token, 0)
    pair.manager.sf_destroy(pair.token, (ip_address("10.1.0.2"), port), (ip_address("10.1.0.1"), PORT))
    assert queued(pair, port) == 0
    pair.server.settimeout(5.0)
    arrived = 0
    while arrived < sent:
        arrived += len(pair.server.recv(1 << 20))


def test_a_subflow_that_was_broken_off_can_be_told_of_and_told_of_again(pair: Pair) -> None:
    """The peer is told over the one that lives, as often as asked, and sends nothing more into the dead one."""
    pair.exchange()
    create(pair)
    pair.wait_subflows(1)
    ends = joined_ends(pair)
    pair.manager.break_off(*ends, pair.ifindexes[1])
    pair.wait_subflows(0)
    for times in (1, 2):
        pair.manager.announce(pair.token, 2, ends[0][0])
        pair.manager.remove(pair.token, 2)
        until(lambda times=times: removals_heard(pair) == times)  # type: ignore[misc]  # mypy on defaults
    pair.exchange()
    pair.manager.sf_create(pair.token, ends[0][0], 3, ip_address("10.2.0.1"), PORT, pair.ifindexes[1])
    pair.wait_subflows(1)
    with pytest.raises(OSError, match="address"):
        pair.manager.announce(pair.token, 4, ends[0][0])


def removals_heard(pair: Pair) -> int:
    said = pair.server_side.run("nstat", "-asz", "MPTcpExtRmAddr")
    return int(said.split("MPTcpExtRmAddr")[1].split()[0])


def joined_ends(pair: Pair) -> tuple[tuple[IPAddress, int], tuple[IPAddress, int]]:
    """Return both ends of the subflow over the second link."""
    local = established(pair)[0].local
    return (ip_address(local[0]), local[1]), (ip_address("10.2.0.1"), PORT)


def queued(pair: Pair, port: int) -> int:
    """Return what the client's TCP socket of that port has still to send, in whatever state."""
    lines = pair.client_side.run("ss", "-Htan", "sport", "=", f":{port}").splitlines()
    return sum(int(line.split()[2]) for line in lines)


def established(pair: Pair) -> list[SubflowInfo]:
    """Return the subflow over the second link, if it stands."""
    return [each for each in SubflowReader().read(pair.client) if each.local[0] == "10.2.0.2"]


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_burst_of_events_is_cut_off_and_said_to_be(pair: Pair) -> None:
    pair.exchange()
    pair.events._socket.setsockopt(socket.SOL_SOCKET, 33, 2048)  # SO_RCVBUFFORCE: room for a few
    for _ in range(40):
        create(pair)
        until(lambda: established(pair))
        (found,) = established(pair)
        local, remote = (ip_address(found.local[0]), found.local[1]), (ip_address(found.remote[0]), PORT)
        pair.manager.sf_destroy(pair.token, local, remote)
        until(lambda: not established(pair) and pair.taken() == 0)  # the peer has room for a few only
    assert pair.events.read() is None
    assert len(pair.events.read() or ()) < 40


@pytest.mark.alone
def test_a_subflow_that_the_peer_ends_is_made_anew_at_once(pair: Pair) -> None:
    """Without being told, an idle connection is looked at every 5 s."""
    pair.exchange()
    loop = Loop()
    uplinks = UplinkTable(
        tuple(
            UplinkView(slot, name, name, index, f"10.{slot}.0.2", None, "up")
            for slot, (name, index) in enumerate(zip(("up1", "up2"), pair.ifindexes, strict=True), start=1)
        )
    )
    remote = (ip_address("10.1.0.1"), PORT)
    connection = Watched(
        Paths(pair.client, pair.manager, SubflowReader(), remote, (1, "10.1.0.2"), frozenset((1, 2)), 0.0), uplinks
    )
    SubflowWatch(loop, pair.events).add(connection)  # type: ignore[arg-type]  # what it uses of one
    connection.look()
    pair.wait_subflows(1)
    connection.look()
    took_ms = []
    for _ in range(5):
        connection.paths.paths[2].asked_at -= 2 * LIVED_S  # it has lived
        before = connection.paths.paths[2].info
        pair.server_side.run("ss", "-K", "src", "10.1.0.1", "dst", "10.2.0.2")
        began = time.monotonic()
        while pair.subflows() != 1 or 2 not in connection.paths.paths or connection.paths.paths[2].info is before:
            assert time.monotonic() - began < 3.0
            loop.turn(0.002)
            connection.paths.observe(time.monotonic()) if 2 in connection.paths.paths else None
        took_ms.append(1000 * (time.monotonic() - began))
        pair.exchange()
    print(f"subflow made anew after {min(took_ms):.0f} to {max(took_ms):.0f} ms, looked at {connection.looks} times")
    assert max(took_ms) < 250
    assert connection.looks == 2 + 5


def test_backup_is_set_on_a_live_subflow(pair: Pair) -> None:
    pair.exchange()
    local = (ip_address("10.1.0.2"), pair.client.getsockname()[1])
    pair.manager.set_backup(pair.token, local, (ip_address("10.1.0.1"), PORT), True)
    pair.manager.set_backup(pair.token, local, (ip_address("10.1.0.1"), PORT), False)
    with pytest.raises(OSError, match="subflow not found"):
        pair.manager.set_backup(pair.token, (local[0], 1), (ip_address("10.1.0.1"), PORT), True)


def test_an_unknown_connection_is_an_error(pair: Pair) -> None:
    with pytest.raises(OSError, match="oken"):
        pair.manager.remove(pair.token ^ 0xFFFF, 2)


def test_limits_are_written_and_read(pair: Pair) -> None:
    pair.manager.set_limits(PathLimits(subflows=7, add_addr_accepted=3))
    assert pair.manager.limits() == PathLimits(subflows=7, add_addr_accepted=3)
    with pytest.raises(OSError, match="limit"):
        pair.manager.set_limits(PathLimits(subflows=9, add_addr_accepted=0))


def test_many_calls_leave_nothing_in_the_socket(pair: Pair) -> None:
    pair.exchange()
    began = time.perf_counter()
    for _ in range(2000):
        with pytest.raises(OSError, match="id"):
            pair.manager.remove(pair.token, 77)
    assert time.perf_counter() - began < 2
    assert pair.manager.limits() == PathLimits(subflows=2, add_addr_accepted=0)


def test_both_ways_to_read_subflows_agree_also_where_the_kernels_tcp_info_is_smaller_than_asked_for(pair: Pair) -> None:
    """Linux 6.1 has no MPTCP_FULL_INFO, and a tcp_info of 232 bytes: entries lie closer together than was asked for."""
    pair.exchange()
    create(pair)
    pair.wait_subflows(1)
    pair.exchange()
    whole = SubflowReader().read(pair.client)
    found = SubflowReader(tcp_info_bytes=480).read_in_parts(pair.client)
    assert [each.local for each in found] == [each.local for each in whole]
    assert [each.mss for each in found] == [each.mss for each in whole]
    assert all(0 < each.srtt_us < 1_000_000 for each in found)
