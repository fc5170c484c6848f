"""LAN hosts' unconverted IPv6 leaves every line with a source that belongs to that line, and answers come back."""

import socket
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from namespaces import Namespace
from routers import INTENT, SERVER6, Topology, build, machine, settle
from services import bound

pytestmark = pytest.mark.netns

PORT = 8023
OF_A = "2001:db8:a::/64"
ULA, NATIVE_A, NATIVE_OTHER = "fd77::2", "2001:db8:a::99", "2001:db8:cc::77"


@pytest.fixture
def topology(namespace: Callable[[str], Namespace]) -> Topology:
    """Line a's provider leads a prefix to us, of which the LAN has the first network; no other source passes it."""
    found = build(namespace)
    found.cpe.sysctl("net/ipv6/conf/all/forwarding", "1")
    found.host.ip(*(f"address add {each}/128 dev eth0 nodad" for each in (NATIVE_A, NATIVE_OTHER)))
    found.cpe.ip(*(f"route add {each}/128 dev lan0" for each in (NATIVE_A, NATIVE_OTHER)))
    found.isps["a"].run("nft", "flush", "ruleset")
    found.isps["a"].run(
        "nft",
        "add table inet sources; add chain inet sources f { type filter hook forward priority 0; }; "
        f'add rule inet sources f iifname "customer" ip6 saddr != {OF_A} drop',
    )
    found.isps["a"].run("ip", "-6", "route", "add", OF_A, "via", "2001:db8:1::2")
    found.server.run("ip", "-6", "route", "add", OF_A, "via", "2001:db8:11::1")
    return found


def seen_as(topology: Topology, source: str) -> str:
    """Return what a datagram of the host's from `source` comes to the server as, once its answer came back."""
    with (
        bound(topology.server, socket.SOCK_DGRAM, SERVER6, PORT) as server,
        bound(topology.host, socket.SOCK_DGRAM, source, 0) as client,
    ):
        for sock in (server, client):
            sock.settimeout(2.0)
        client.sendto(b"question", (SERVER6, PORT))
        _, peer = server.recvfrom(100)
        server.sendto(b"answer", peer)
        assert client.recv(100) == b"answer"
        return str(peer[0])


def test_each_source_becomes_one_of_the_lines(topology: Topology, tmp_path: Path) -> None:
    line_a, line_b = INTENT.uplinks
    prefix = ip_network(OF_A)
    assert prefix.version == 6
    intent = replace(INTENT, uplinks=(replace(line_a, prefix6=prefix), line_b))
    port = machine(topology, tmp_path)
    settle(topology, port, intercept=False, intent=intent)
    assert seen_as(topology, NATIVE_A) == NATIVE_A
    assert seen_as(topology, ULA) == "2001:db8:a::2"
    assert seen_as(topology, NATIVE_OTHER) == "2001:db8:a::77"
    settle(topology, port, intercept=False, intent=intent, down=("a",))
    for source in (NATIVE_A, ULA, NATIVE_OTHER):
        assert seen_as(topology, source) == "2001:db8:2::2", "line b has no prefix: its own address"
    port.close()
