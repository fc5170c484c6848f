"""What a server's SYN+ACK said, as the kernel's segment has it."""

import contextlib
import socket
from collections.abc import Iterator

import pytest
from plane_rig import SERVER, SERVER6, own_network

from hagw.convert.tlv import decode_options
from hagw.dataplane.mptcp_socket import IPPROTO_MPTCP
from hagw.dataplane.synack import SynAcks, rebuilt

pytestmark = pytest.mark.netns

MSS, TIMESTAMPS, MPTCP = 2, 8, 30


@pytest.fixture(scope="module", autouse=True)
def network() -> Iterator[str]:
    with own_network() as name:
        yield name


@pytest.fixture
def seen() -> Iterator[SynAcks]:
    made = SynAcks()
    made.open()
    yield made
    made.close()


@contextlib.contextmanager
def connected(address: str, protocol: int = socket.IPPROTO_TCP, mss: int = 1234) -> Iterator[socket.socket]:
    """Yield a connection to a server that offers this MSS."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with (
        socket.socket(family, socket.SOCK_STREAM, protocol) as listener,
        socket.socket(family, socket.SOCK_STREAM, protocol) as client,
    ):
        if protocol == socket.IPPROTO_TCP:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, mss)
        listener.bind((address, 0))
        listener.listen()
        client.connect(listener.getsockname()[:2])
        yield client


def parsed(options: bytes) -> dict[int, bytes]:
    assert len(options) % 4 == 0
    return {option.kind: option.value for option in decode_options(options)}


@pytest.mark.parametrize("address", [SERVER, SERVER6])
def test_options_are_the_servers_own_words(seen: SynAcks, address: str) -> None:
    with connected(address) as server:
        options = parsed(seen.options(server))
    assert options[MSS] == (1234).to_bytes(2)
    assert options[TIMESTAMPS] != bytes(8), "the values of that moment"


@pytest.mark.parametrize("address", [SERVER, SERVER6])
def test_a_server_that_speaks_mptcp_shows_its_key(seen: SynAcks, address: str) -> None:
    with connected(address, IPPROTO_MPTCP) as server:
        options = parsed(seen.options(server))
    assert len(options[MPTCP]) == 10, "MP_CAPABLE of a SYN+ACK, RFC 8684 section 3.1"


def test_connections_are_told_apart(seen: SynAcks) -> None:
    offered = [1000 + number for number in range(20)]
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(connected(SERVER, mss=mss)) for mss in offered]
        found = [int.from_bytes(parsed(seen.options(server))[MSS]) for server in reversed(servers)]
    assert found == offered[::-1]


def test_what_was_missed_is_rebuilt(seen: SynAcks) -> None:
    with connected(SERVER) as server:
        first = parsed(seen.options(server))
        again = parsed(seen.options(server))
        assert again == parsed(rebuilt(server))
    assert again.keys() == first.keys()
    assert again[TIMESTAMPS] == bytes(8)


def test_what_nobody_asks_for_is_bounded(seen: SynAcks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hagw.dataplane.synack._KEPT_MAX", 3)
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(connected(SERVER)) for _ in range(5)]
        found = [parsed(seen.options(server))[TIMESTAMPS] != bytes(8) for server in servers]
    assert found == [False, False, True, True, True]
