"""Cookies that are good only where their customer's CPE has proved to be."""

import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conversion_rig import PORT, SNAPSHOT, Rig, connect_to
from plane_rig import HAG, LINES, Peer

from hagw.convert.errors import ErrorCode
from hagw.dataplane.hag import HagWorker
from hagw.dataplane.loop import Loop
from hagw.dataplane.proven import ADDRESSES_MAX, BOUND_S, CUSTOMERS_MAX, GRACE_S, LIFETIME_S, Homes, ProvenAddresses

pytestmark = pytest.mark.netns


class BoundRig(Rig):
    """A worker with a table of proofs."""

    def __init__(self, network: str, proven: ProvenAddresses) -> None:
        super().__init__(network)
        super().close()
        self.loop = Loop()
        self.worker = HagWorker(self.loop, self.reported.append, proven)
        self.worker.apply(replace(SNAPSHOT, bind_cookies=True))

    def ask_from(self, address: str, data: bytes) -> Peer:
        sock = socket.socket()
        sock.bind((address, 0))
        sock.connect((HAG, PORT))
        sock.setblocking(False)
        self._clients.append(Peer(sock))
        self._clients[-1].send_all(self.loop, data)
        return self._clients[-1]


@pytest.fixture
def proven(tmp_path: Path) -> ProvenAddresses:
    return ProvenAddresses(tmp_path / "proven")


@pytest.fixture
def rig(network: str, proven: ProvenAddresses) -> Iterator[BoundRig]:
    made = BoundRig(network, proven)
    yield made
    made.close()


def test_a_stolen_cookie_is_missing_elsewhere_and_good_where_its_customer_is(
    rig: BoundRig, proven: ProvenAddresses
) -> None:
    server = rig.server()
    proven.prove("home", LINES[0], time.monotonic())
    error = rig.error(rig.ask_from(LINES[1], connect_to(server) + b"stolen"))
    assert (error.code, error.value) == (ErrorCode.MISSING_COOKIE, b"\0")  # padded; no cookie is handed out
    assert rig.worker.stats()["unproven"] == 1
    rig.ask_from(LINES[0], connect_to(server))
    server.accept(rig.loop)
    proven.prove("home", LINES[1], time.monotonic())
    rig.ask_from(LINES[1], connect_to(server))
    server.accept(rig.loop)


def test_a_customer_that_never_proved_anything_is_served(rig: BoundRig, proven: ProvenAddresses) -> None:
    server = rig.server()
    proven.prove("office", LINES[1], time.monotonic())
    rig.ask_from(LINES[0], connect_to(server))
    server.accept(rig.loop)


def test_without_the_setting_every_address_is_good(rig: BoundRig, proven: ProvenAddresses) -> None:
    rig.worker.apply(SNAPSHOT)
    server = rig.server()
    proven.prove("home", LINES[1], time.monotonic())
    rig.ask_from(LINES[0], connect_to(server))
    server.accept(rig.loop)


def test_workers_share_what_is_proved_and_forget_it_after_a_day(tmp_path: Path) -> None:
    one, other = ProvenAddresses(tmp_path / "proven"), ProvenAddresses(tmp_path / "proven")
    one.prove("home", "192.0.2.1", 1_000.0)
    assert other.is_proven("home", "192.0.2.1", 1_001.0)
    assert other.is_foreign("home", "192.0.2.2", 1_001.0)
    assert not other.is_foreign("office", "192.0.2.2", 1_001.0)
    assert not other.is_proven("home", "192.0.2.1", 1_000.0 + LIFETIME_S)
    assert not other.is_foreign("home", "192.0.2.2", 1_000.0 + LIFETIME_S)


def test_the_table_does_not_grow_and_keeps_what_is_newest(tmp_path: Path) -> None:
    table = ProvenAddresses(tmp_path / "proven")
    size = (tmp_path / "proven").stat().st_size
    for number in range(70_000):
        table.prove("home", f"2001:db8::{number:x}", float(number))
    assert (tmp_path / "proven").stat().st_size == size == 1 << 20
    assert table.is_proven("home", f"2001:db8::{69_999:x}", 70_000.0)


def test_by_itself_a_cookie_is_bound_where_its_cpe_renews_proofs(rig: BoundRig, proven: ProvenAddresses) -> None:
    rig.worker.apply(replace(SNAPSHOT, bind_renewing=True))
    server = rig.server()
    proven.prove("home", LINES[0], time.monotonic())
    rig.ask_from(LINES[1], connect_to(server))
    server.accept(rig.loop)  # an older CPE, or one without a channel
    proven.bind("home", time.monotonic() - GRACE_S - 1.0)
    error = rig.error(rig.ask_from(LINES[1], connect_to(server) + b"stolen"))
    assert error.code == ErrorCode.MISSING_COOKIE
    rig.ask_from(LINES[0], connect_to(server))
    server.accept(rig.loop)
    proven.unbind("home")
    rig.ask_from(LINES[1], connect_to(server))
    server.accept(rig.loop)


def test_a_customer_is_bound_a_while_after_its_cpe_came_until_hours_after_it_went(tmp_path: Path) -> None:
    table = ProvenAddresses(tmp_path / "proven")
    assert not table.is_bound("home", 1_000.0)
    table.bind("home", 1_000.0)
    assert not table.is_bound("home", 999.9 + GRACE_S)  # its other lines are not proved yet
    assert table.is_bound("home", 1_000.1 + GRACE_S)
    table.bind("home", 5_000.0)
    assert table.is_bound("home", 5_000.0)  # no second grace
    assert table.is_bound("home", 4_999.0 + BOUND_S)
    assert not table.is_bound("home", 5_000.0 + BOUND_S)
    assert not table.is_bound("office", 5_000.0)
    back = 6_000.0 + BOUND_S
    table.bind("home", back)
    assert not table.is_bound("home", back)
    assert table.is_bound("home", back + GRACE_S + 0.1)
    table.unbind("home")
    assert not table.is_bound("home", back + GRACE_S + 0.1)


def test_a_customer_whose_nat_gives_each_connection_another_address_wanders() -> None:
    homes = Homes()
    addresses = [f"192.0.2.{number}" for number in range(ADDRESSES_MAX)]
    assert not any(homes.wanders("home", address, float(now)) for now, address in enumerate(addresses * 3))
    assert homes.wanders("home", "198.51.100.1", 100.0)
    assert homes.wanders("home", addresses[-1], 101.0)
    assert not homes.wanders("office", "198.51.100.1", 101.0)
    assert not homes.wanders("home", addresses[0], 101.0 + BOUND_S)


def test_what_is_known_of_where_customers_are_is_bounded() -> None:
    homes = Homes()
    for number in range(ADDRESSES_MAX + 2):
        homes.wanders("home", f"192.0.2.{number}", 1.0)
    for number in range(CUSTOMERS_MAX):
        homes.wanders(f"c{number}", "192.0.2.1", 2.0)
    assert not homes.wanders("home", "198.51.100.1", 3.0)  # the one that was longest away is forgotten
