"""A network of their own for tests with sockets; a connection of three lines over a scripted kernel; a steady clock."""

import socket
from collections.abc import Iterator

import pytest
from paths_rig import REMOTE, Kernel
from plane_rig import own_network
from steady_clock import keep_steady

from hagw.dataplane.mptcp_socket import IPPROTO_MPTCP
from hagw.dataplane.paths import Paths


@pytest.fixture(autouse=True)
def _steady(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_steady(monkeypatch)


@pytest.fixture(scope="module")
def network() -> Iterator[str]:
    with own_network() as name:
        yield name


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP) as opened:
            opened.connect(listener.getsockname())
            accepted, _ = listener.accept()
            with accepted:
                yield opened


@pytest.fixture
def paths(sock: socket.socket, kernel: Kernel) -> Paths:
    """A connection whose initial subflow left by dsl, allowed on all three."""
    return Paths(sock, kernel, kernel, REMOTE, (1, "192.0.2.1"), frozenset((1, 2, 3)), 0.0)  # type: ignore[arg-type]  # a script
