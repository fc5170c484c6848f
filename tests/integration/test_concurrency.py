"""A thousand connections of the LAN at once, some idle, some busy; and what one that idles costs."""

import random
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from ends import Ends
from plane_lab import INET, Echo, own_lab, pattern, read_exactly, until

from hagw.lab.lab import Lab

pytestmark = [pytest.mark.netns, pytest.mark.slow]

CONNECTIONS = 1_000
BUSY = 100


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with own_lab("many") as made:
        yield made


def test_a_thousand_connections_at_once(lab: Lab) -> None:
    ends = Ends(lab)
    ends.remember()
    before = {node: ends.memory_kb(node) for node in ("cpe", "hag")}
    clients = []
    with Echo(lab) as server:
        for number in range(CONNECTIONS):
            with lab.in_namespace(("lan1", "lan2")[number % 2]):
                clients.append(socket.socket(socket.AF_INET6 if number % 4 == 3 else socket.AF_INET))
            clients[-1].settimeout(30)
            clients[-1].connect((INET[6 if number % 4 == 3 else 4], server.port))
            clients[-1].sendall(b"%d\n" % number)
        with ThreadPoolExecutor(32) as pool:
            assert all(pool.map(hears_its_number, clients, range(CONNECTIONS)))
            until(lambda: ends.total("cpe", "flows_active") == CONNECTIONS, 30.0)
            assert ends.total("hag", "flows_active") == CONNECTIONS
            for node in ("cpe", "hag"):
                each = (ends.memory_kb(node) - before[node]) / CONNECTIONS
                print(f"memory per idle connection at the {node}, workers only: {each:.1f} kB")
                assert each < 64
            busy = random.Random(1).sample(range(CONNECTIONS), BUSY)
            assert all(pool.map(lambda number: is_echoed(clients[number], number), busy))
            assert all(pool.map(lambda number: is_echoed(clients[number], number, 100), range(CONNECTIONS)))
        for client in clients:
            client.close()
        ends.assert_nothing_left(15.0)


def hears_its_number(client: socket.socket, number: int) -> bool:
    """Say whether the connection gets back its own number and nothing else."""
    wanted = b"%d\n" % number
    return read_exactly(client, len(wanted)) == wanted


def is_echoed(client: socket.socket, seed: int, size: int = 60_000) -> bool:
    """Say whether bytes sent come back unchanged."""
    data = pattern(size, seed)
    client.sendall(data)
    return read_exactly(client, size) == data
