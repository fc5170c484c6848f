"""Unconverted TCP over lines of small MTU whose "packet too big" never arrives: the clamp alone lets it through."""

import hashlib
import random
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from namespaces import Namespace
from routers import SERVER4, SERVER6, Topology, build, machine, settle
from services import bound

from hagw.kernel.machine import Machine

pytestmark = pytest.mark.netns

PORT = 8024
DATA = random.Random(7).randbytes(1_000_000)
DIGEST = hashlib.sha256(DATA).hexdigest()
TIMEOUT_S = 8.0
STALL_S = 1.5
BLACK_HOLE = """
add table inet hole
add chain inet hole out { type filter hook output priority 0; }
add rule inet hole out icmp type destination-unreachable drop
add rule inet hole out icmpv6 type packet-too-big drop
"""
BOTH = pytest.mark.parametrize("address", [SERVER4, SERVER6])
SIZES = pytest.mark.parametrize("mtu", [1492, 1280])


@dataclass
class Site:
    """The topology, whose line a can carry packets of up to `mtu` bytes, and nobody tells of larger ones."""

    topology: Topology
    port: Machine

    def narrow(self, mtu: int) -> None:
        """Give line a this MTU, and have hagw see it."""
        self.topology.cpe.ip(f"link set a0 mtu {mtu}")
        self.topology.isps["a"].ip(f"link set customer mtu {mtu}")
        settle(self.topology, self.port, intercept=False)

    def transfer(self, address: str, order: bytes, timeout_s: float = TIMEOUT_S) -> tuple[str, str]:
        """Have the host and the server exchange the data; return the digests of what the host and the server got.

        `order` is b"d" for a download or b"u" for an upload.
        """
        kept: list[str] = []
        with bound(self.topology.server, socket.SOCK_STREAM, address, PORT) as listener:
            listener.listen()
            serving = threading.Thread(target=_serve, args=(listener, kept, timeout_s))
            serving.start()
            with self.topology.host.entered():
                client = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
            with client:
                client.settimeout(timeout_s)
                try:
                    client.connect((address, PORT))
                    client.sendall(order)
                    if order == b"u":
                        client.sendall(DATA)
                    client.shutdown(socket.SHUT_WR)
                    received = _read(client)
                finally:
                    serving.join()
        return received, kept[0] if kept else ""


def _serve(listener: socket.socket, kept: list[str], timeout_s: float) -> None:
    listener.settimeout(timeout_s)
    try:
        conversation, _ = listener.accept()
        with conversation:
            conversation.settimeout(timeout_s)
            if conversation.recv(1) == b"d":
                conversation.sendall(DATA)
            kept.append(_read(conversation))
    except TimeoutError:
        pass  # the other side says so, too


def _read(sock: socket.socket) -> str:
    digest = hashlib.sha256()
    while data := sock.recv(65_536):
        digest.update(data)
    return digest.hexdigest()


@pytest.fixture
def site(namespace: Callable[[str], Namespace], tmp_path: Path) -> Iterator[Site]:
    topology = build(namespace)
    for each in (topology.cpe, *topology.isps.values()):
        each.run("nft", BLACK_HOLE)
    for name in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
        topology.cpe.sysctl(name, "1")
    port = machine(topology, tmp_path)
    yield Site(topology, port)
    port.close()


@SIZES
@BOTH
def test_both_directions_pass_a_narrow_line(site: Site, address: str, mtu: int) -> None:
    site.narrow(mtu)
    assert site.transfer(address, b"d")[0] == DIGEST
    assert site.transfer(address, b"u")[1] == DIGEST


@BOTH
def test_without_the_clamp_nothing_large_passes(site: Site, address: str) -> None:
    site.narrow(1280)
    site.topology.cpe.run("nft", "flush", "chain", "inet", "hagw", "forward")
    with pytest.raises(TimeoutError):
        site.transfer(address, b"d", STALL_S)
