"""What a HAG's worker grants one customer, and another not."""

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from conversion_rig import KEY, SNAPSHOT, Rig, connect_to, fill_backlog, make_room, message, mint
from plane_rig import HAG, SERVER, Peer, Server, turn_for, until

from hagw.convert import error_value
from hagw.convert.errors import ErrorCode
from hagw.convert.tlv import Connect, Error
from hagw.dataplane import readings
from hagw.dataplane.customers import BLOCKED_RETRY_S, Customers
from hagw.dataplane.loop import Loop
from hagw.model.intent import CustomerLimits
from hagw.model.snapshot import CustomerView, from_json, to_json
from hagw.registry.usage import Used, decode_batch

pytestmark = pytest.mark.netns

OLD_KEY = bytes(range(100, 132))
HOME, OFFICE = CustomerView("home", KEY.hex()), CustomerView("office", KEY.hex())
LIMIT = error_value.retry(1)


@pytest.fixture
def rig(network: str) -> Iterator[Rig]:
    made = Rig(network)
    yield made
    made.close()


def serve(rig: Rig, *customers: CustomerView) -> None:
    """Apply these customers as they arrive from the daemon."""
    snapshot = from_json(to_json(replace(SNAPSHOT, customers=customers)))
    rig.worker.apply(snapshot)  # type: ignore[arg-type]  # a HAG's, as it was


def test_a_revoked_customers_connections_end_and_nobody_elses(rig: Rig) -> None:
    serve(rig, HOME, OFFICE)
    server = rig.server()
    revoked, warm = rig.ask(connect_to(server)), rig.ask(connect_to(server)[:36])
    kept = rig.ask(connect_to(server, mint("office")))
    for _ in range(2):
        server.accept(rig.loop)
    until(rig.loop, lambda: rig.worker.stats()["warm"] == 1)
    serve(rig, OFFICE)
    until(rig.loop, lambda: revoked.saw("reset") and warm.saw("reset"))
    assert rig.error(rig.ask(connect_to(server))).code == ErrorCode.NOT_AUTHORIZED
    assert not kept.saw("reset")
    assert rig.worker.stats()["flows_active"] == 1


def test_a_changed_customer_keeps_its_connections(rig: Rig) -> None:
    server = rig.server()
    client = rig.ask(connect_to(server))
    accepted = server.accept(rig.loop)
    serve(rig, replace(HOME, key=OLD_KEY.hex(), old_key=KEY.hex(), allow=("10.0.0.0/8",)))
    accepted.send_all(rig.loop, b"still here")
    until(rig.loop, lambda: client.received.endswith(b"still here") or client.poll())


def test_both_keys_of_a_rotation_are_valid_until_it_is_over(rig: Rig) -> None:
    server = rig.server()
    serve(rig, replace(HOME, old_key=OLD_KEY.hex()))
    for key in (KEY, OLD_KEY):
        rig.ask(connect_to(server, mint(key=key)))
        server.accept(rig.loop)
    serve(rig, HOME)
    assert rig.error(rig.ask(connect_to(server, mint(key=OLD_KEY)))).code == ErrorCode.NOT_AUTHORIZED


@pytest.mark.parametrize(
    ("customer", "address", "refused"),
    [
        (replace(HOME, deny=(f"{SERVER}/32",)), SERVER, True),
        (HOME, "10.1.2.3", True),
        (replace(HOME, allow=("10.1.0.0/16",)), "10.1.2.3", False),
        (replace(HOME, allow=("203.0.113.0/24",)), "203.0.113.66", True),
        (replace(HOME, allow=(f"{HAG}/32",)), HAG, True),
    ],
    ids=["denied to it", "private", "allowed to it", "denied by the gateway", "the gateway itself"],
)
def test_what_a_customer_may_reach(rig: Rig, customer: CustomerView, address: str, refused: bool) -> None:
    serve(rig, customer, OFFICE)
    client = rig.ask(message(mint(), Connect(80, ip_address(address))))
    assert (rig.error(client).code == ErrorCode.NOT_AUTHORIZED) == refused


# --- limits


def refusal(rig: Rig, server: Server, customer: str = "home") -> Error:
    return rig.error(rig.ask(connect_to(server, mint(customer))))


def test_connections_beyond_the_limit_are_refused_and_room_is_found_again(rig: Rig) -> None:
    serve(rig, replace(HOME, limits=CustomerLimits(connections_max=2)), OFFICE)
    server = rig.server()
    clients = [rig.ask(connect_to(server)) for _ in range(2)]
    for _ in clients:
        server.accept(rig.loop)
    assert refusal(rig, server) == Error(ErrorCode.RESOURCE_EXCEEDED, LIMIT)
    rig.ask(connect_to(server, mint("office")))
    server.accept(rig.loop)
    clients[0].sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    clients[0].sock.close()
    until(rig.loop, lambda: rig.worker.stats()["flows_active"] == 2)
    rig.ask(connect_to(server))
    server.accept(rig.loop)


def test_connections_in_other_workers_count(rig: Rig) -> None:
    serve(rig, replace(HOME, limits=CustomerLimits(connections_max=2)))
    server = rig.server()
    rig.worker.customers.take_elsewhere({"home": 2})
    assert refusal(rig, server).code == ErrorCode.RESOURCE_EXCEEDED
    rig.worker.customers.take_elsewhere({})
    rig.ask(connect_to(server))
    server.accept(rig.loop)


def test_new_connections_are_rationed(rig: Rig) -> None:
    serve(rig, replace(HOME, limits=CustomerLimits(connects_per_s=1)))
    server = rig.server()
    for _ in range(2):  # what it saved up
        rig.ask(connect_to(server))
        server.accept(rig.loop)
    assert refusal(rig, server).code == ErrorCode.RESOURCE_EXCEEDED
    turn_for(rig.loop, 1.1)
    rig.ask(connect_to(server))
    server.accept(rig.loop)


def test_connections_being_opened_are_limited_to_its_share(rig: Rig) -> None:
    serve(rig, replace(HOME, limits=CustomerLimits(pending_max=1)))
    server = rig.server(backlog=0)
    fillers = fill_backlog(server)
    rig.ask(connect_to(server))
    until(rig.loop, lambda: rig.worker.pending)
    assert refusal(rig, server).code == ErrorCode.RESOURCE_EXCEEDED
    make_room(server, fillers)


def test_a_blocked_customer_is_told_to_wait(rig: Rig) -> None:
    serve(rig, replace(HOME, blocked="its bytes of this month are used up"))
    assert refusal(rig, rig.server()) == Error(ErrorCode.RESOURCE_EXCEEDED, error_value.retry(BLOCKED_RETRY_S))


@pytest.mark.alone
@pytest.mark.parametrize("direction", ["down", "up"])
def test_a_rate_is_kept_by_all_connections_together(rig: Rig, direction: str) -> None:
    serve(rig, replace(HOME, limits=CustomerLimits(**{f"rate_{direction}_bps": 8_000_000})), OFFICE)
    server = rig.server()
    clients = [rig.ask(connect_to(server)) for _ in range(3)]
    servers = [server.accept(rig.loop) for _ in clients]
    senders, receivers = (servers, clients) if direction == "down" else (clients, servers)
    turn_for(rig.loop, 0.2)
    arrived = sum(len(peer.received) for peer in receivers)
    began = time.monotonic()
    while time.monotonic() < began + 1.0:
        for sender, receiver in zip(senders, receivers, strict=True):
            with suppress(BlockingIOError):
                sender.sock.send(bytes(100_000))
            receiver.poll()
        rig.loop.turn(0.001)
    moved = sum(len(peer.received) for peer in receivers) - arrived
    assert 600_000 < moved / (time.monotonic() - began) < 1_400_000  # with its savings, and one reading of each beyond
    shares = [len(peer.received) for peer in receivers]
    assert min(shares) > 0
    rig.worker.apply(replace(SNAPSHOT, customers=(HOME,)))  # the limit goes
    until(rig.loop, lambda: _pushed(senders, receivers) > 4 * moved)


def _pushed(senders: list[Peer], receivers: list[Peer]) -> int:
    for sender, receiver in zip(senders, receivers, strict=True):
        with suppress(BlockingIOError):
            sender.sock.send(bytes(100_000))
        receiver.poll()
    return sum(len(peer.received) for peer in receivers)


# --- usage


def test_what_a_customer_used_is_read_while_it_goes_on_and_once(rig: Rig) -> None:
    server = rig.server()
    client = rig.ask(connect_to(server) + b"question")
    accepted = server.accept(rig.loop)
    until(rig.loop, lambda: accepted.has(b"question"))
    accepted.send_all(rig.loop, b"ans")
    until(rig.loop, lambda: client.received.endswith(b"ans") or client.poll())
    first = rig.worker.usage("")
    assert first["used"] == [["home", 3, 8, 1]]
    assert rig.worker.usage("") == first  # nobody has it yet
    accepted.send_all(rig.loop, b"wer")
    accepted.sock.shutdown(socket.SHUT_WR)
    client.sock.shutdown(socket.SHUT_WR)
    until(rig.loop, rig.nothing_left)
    second = rig.worker.usage(first["batch"])
    assert second["used"] == [["home", 3, 0, 0]]
    assert second["batch"] != first["batch"]
    assert rig.worker.usage(second["batch"])["used"] == []


def test_a_revoked_customers_last_bytes_are_read(rig: Rig) -> None:
    serve(rig, HOME)
    server = rig.server()
    rig.ask(connect_to(server) + b"last words")
    accepted = server.accept(rig.loop)
    until(rig.loop, lambda: accepted.has(b"last words"))
    serve(rig, OFFICE)
    assert rig.worker.usage("")["used"] == [["home", 0, 10, 1]]


def test_what_nobody_has_read_is_kept_where_the_registry_finds_it(rig: Rig, tmp_path: Path) -> None:
    """Told but not acknowledged, and used since: a worker that ends in order leaves both, of registered customers."""
    serve(rig, replace(HOME, accounted=True), OFFICE)
    customers = rig.worker.customers
    customers.use("home", 1, 2, 3)
    customers.use("office", 1, 2, 3)
    told = customers.usage("", "2026-11-22")
    customers.use("home", 10, 20, 30)
    for reading in customers.last_reading("2026-11-23"):
        readings.keep(tmp_path, reading)
    found = {batch.name: batch.used for file in tmp_path.iterdir() if (batch := decode_batch(file.read_text()))}
    assert found.pop(told["batch"]) == (Used("home", "2026-11-22", "", 1, 2, 3),)
    assert list(found.values()) == [(Used("home", "2026-11-23", "", 10, 20, 30),)]


def test_two_workers_name_their_readings_apart() -> None:
    one, other = Customers(Loop()), Customers(Loop())
    for each in (one, other):
        each.use("home", 1, 2, 3)
    assert one.usage("", "2026-11-23")["batch"] != other.usage("", "2026-11-23")["batch"]
