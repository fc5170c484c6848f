"""One customer's many bulk flows and another's one: both get the same of a worker."""

import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest
from conversion_rig import Rig, connect_to, mint
from plane_rig import Peer
from test_customers import HOME, OFFICE, serve

from hagw.dataplane.fairness import QUANTUM_BYTES

pytestmark = pytest.mark.netns

FLOWS = 200
CHUNK = bytes(200_000)


@pytest.fixture
def rig(network: str) -> Iterator[Rig]:
    made = Rig(network)
    yield made
    made.close()


def open_flows(rig: Rig, customer: str, count: int) -> list[tuple[Peer, Peer]]:
    server = rig.server()
    return [(rig.ask(connect_to(server, mint(customer))), server.accept(rig.loop)) for _ in range(count)]


def carry(rig: Rig, flows: list[tuple[Peer, Peer]], turns: int) -> list[int]:
    """Have all servers send all they can for so many turns of the loop; return what arrived at each client."""
    arrived = [0] * len(flows)
    for _ in range(turns):
        for _, server in flows:
            with suppress(BlockingIOError):
                while server.sock.send(CHUNK) == len(CHUNK):
                    pass
        rig.loop.turn(0.001)
        for index, (client, _) in enumerate(flows):
            with suppress(BlockingIOError):
                while data := client.sock.recv(1 << 20):
                    arrived[index] += len(data)
    return arrived


def test_many_bulk_flows_of_one_do_not_starve_the_one_of_another(rig: Rig) -> None:
    serve(rig, HOME, OFFICE)
    many, one = open_flows(rig, "home", FLOWS), open_flows(rig, "office", 1)
    carry(rig, [*many, *one], 20)
    arrived = carry(rig, [*many, *one], 120)
    print(f"{FLOWS} flows of one {sum(arrived[:-1]) / 1e6:.0f} MB, one of the other {arrived[-1] / 1e6:.0f} MB")
    assert arrived[-1] > 0.4 * sum(arrived[:-1])
    assert max(arrived[:-1]) <= 2 * QUANTUM_BYTES  # of the many none comes again before the others had their turn
    assert sum(size > 0 for size in arrived[:-1]) > 100


def test_who_is_alone_waits_for_nobody_and_all_of_it_arrives(rig: Rig) -> None:
    serve(rig, HOME, OFFICE)
    many, one = open_flows(rig, "home", FLOWS), open_flows(rig, "office", 1)
    crowded = carry(rig, [*many, *one], 60)
    for _, server in one:
        server.sock.shutdown(socket.SHUT_WR)
    carry(rig, many, 20)
    alone = carry(rig, many, 60)
    assert sum(alone) > 2 * sum(crowded[:-1])
