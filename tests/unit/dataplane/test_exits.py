"""Where a customer's connections leave from: its own address and ports, whoever chooses the port."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from conversion_rig import KEY, SNAPSHOT, Rig, connect_to, mint
from plane_rig import LINES, SERVER6, until

from hagw.convert.errors import ErrorCode
from hagw.model.snapshot import CustomerView, EgressView, from_json, to_json

pytestmark = pytest.mark.netns

HIGH, LOW = EgressView(LINES[0], 40_000, 40_015), EgressView(LINES[1], 2_000, 2_015)


@pytest.fixture
def rig(network: str) -> Iterator[Rig]:
    made = Rig(network)
    home = CustomerView("home", KEY.hex(), egress=(HIGH,))
    office = CustomerView("office", KEY.hex(), egress=(LOW,))
    foreign = CustomerView("foreign", KEY.hex(), egress=(EgressView("192.0.2.99", 2_000, 2_015),))
    customers = (home, office, foreign, CustomerView("none", KEY.hex()))
    snapshot = from_json(to_json(replace(SNAPSHOT, customers=customers, egress_families=(4,))))
    made.worker.apply(snapshot)  # type: ignore[arg-type]  # a HAG's, as it was
    yield made
    made.close()


@pytest.mark.parametrize(("name", "block"), [("home", HIGH), ("office", LOW)], ids=["by the kernel", "one by one"])
def test_all_connections_leave_from_the_block_and_one_too_many_is_refused(
    rig: Rig, name: str, block: EgressView
) -> None:
    server, other = rig.server(), rig.server()
    size = block.last - block.first + 1
    for _ in range(size):
        rig.ask(connect_to(server, mint(name)))
        server.accept(rig.loop)
    came = {peer.sock.getpeername() for peer in server.accepted}
    assert came == {(block.address, port) for port in range(block.first, block.last + 1)}
    assert rig.error(rig.ask(connect_to(server, mint(name)))).code == ErrorCode.RESOURCE_EXCEEDED
    assert not rig.worker.is_overloaded()  # nobody else is concerned
    rig.ask(connect_to(other, mint(name)))
    assert other.accept(rig.loop).sock.getpeername()[0] == block.address  # towards another server they are free
    others = "office" if name == "home" else "home"
    rig.ask(connect_to(server, mint(others)))
    assert server.accept(rig.loop).sock.getpeername()[0] != block.address


def test_an_address_that_is_not_ours_and_no_block_are_refused_to_its_customer(
    rig: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    server = rig.server()
    for name in ("foreign", "none"):
        assert rig.error(rig.ask(connect_to(server, mint(name)))).code == ErrorCode.RESOURCE_EXCEEDED
    until(rig.loop, rig.nothing_left)
    assert "192.0.2.99 is no address of this gateway" in capsys.readouterr().err


def test_a_family_without_addresses_leaves_as_the_system_routes(rig: Rig) -> None:
    server = rig.server(SERVER6)
    rig.ask(connect_to(server))
    assert server.accept(rig.loop).sock.getpeername()[0] == SERVER6
