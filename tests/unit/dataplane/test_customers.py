"""What a HAG's worker grants one customer, and another not."""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address

import pytest
from plane_rig import HAG, SERVER, own_network, until
from test_conversion import KEY, SNAPSHOT, Rig, connect_to, message, mint

from hagw.convert.errors import ErrorCode
from hagw.convert.tlv import Connect
from hagw.model.snapshot import CustomerView, from_json, to_json

pytestmark = pytest.mark.netns

OLD_KEY = bytes(range(100, 132))
HOME, OFFICE = CustomerView("home", KEY.hex()), CustomerView("office", KEY.hex())


@pytest.fixture(scope="module")
def network() -> Iterator[str]:
    with own_network() as name:
        yield name


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
