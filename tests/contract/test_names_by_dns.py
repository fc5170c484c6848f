"""DNS answers overheard in a real kernel: a rule by domain holds for UDP, and survives what the table goes through."""

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from namespaces import Namespace
from routers import INTENT, SERVER4, SERVER6, Topology, build
from services import Server, bound

from hagw.control.names import ServerNames
from hagw.control.ports import Interception
from hagw.control.reconcile import Reconciler
from hagw.control.store import Store, namespace_identity
from hagw.kernel.machine import Machine
from hagw.model.health import UplinkHealth
from hagw.model.intent import CpeIntent, RuleIntent, TrafficDescriptor
from hagw.probe.dns_tap import DnsTap

pytestmark = pytest.mark.netns

HEALTH = {"a": UplinkHealth("up"), "b": UplinkHealth("up")}
RULE = RuleIntent("films", 1, TrafficDescriptor(domains=("*.example.org",)), "direct", ("b",))
LINES = {"10.1.0.2": "a", "10.2.0.2": "b", "2001:db8:1::2": "a", "2001:db8:2::2": "b"}
QUESTION = b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07example\x03org\x00\x00\x01\x00\x01"


def answer() -> bytes:
    """Say that the name asked for has the server's addresses."""
    records = b"".join(
        b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 5, len(packed)) + packed
        for kind, packed in (
            (1, socket.inet_pton(socket.AF_INET, SERVER4)),
            (28, socket.inet_pton(socket.AF_INET6, SERVER6)),
        )
    )
    return QUESTION[:2] + b"\x81\x80\x00\x01\x00\x02" + QUESTION[8:] + records


class Resolver(Server):
    """Answers whatever is asked."""

    def _answer_datagram(self, sock: socket.socket) -> None:
        _, peer = sock.recvfrom(4096)
        sock.sendto(answer(), peer)


@pytest.fixture
def topology(namespace: Callable[[str], Namespace]) -> Iterator[Topology]:
    built = build(namespace)
    resolver, server = Resolver("resolver"), Server("server")
    for address in (SERVER4, SERVER6):
        resolver.listen(bound(built.server, socket.SOCK_DGRAM, address, 53))
        server.listen(bound(built.server, socket.SOCK_DGRAM, address, 443))
    with resolver.running(), server.running():
        yield built


class Site:
    """The part of a daemon that learns names, on a real kernel."""

    def __init__(self, topology: Topology, directory: Path) -> None:
        self.topology = topology
        self.intent: CpeIntent = replace(INTENT, rules=(RULE,))
        self.kernel = Reconciler(self.intent, lambda: Machine(Store(directory, namespace_identity())))
        self.tap: DnsTap | None = None
        self.names = ServerNames(self.kernel, lambda: self.intent, lambda learnt: None, self._tap)

    def _tap(self, on_answer: Callable[[bytes], None]) -> DnsTap:
        self.tap = DnsTap(on_answer)
        return self.tap

    async def use(self, *rules: RuleIntent) -> None:
        self.intent = replace(INTENT, rules=rules)
        self.kernel.use(self.intent)
        await self.kernel.reconcile(await self.kernel.facts(), HEALTH, Interception())
        self.names.refill()

    async def asked(self, address: str, port: int, question: bytes = b"?") -> bytes:
        """Have the LAN host send a datagram from a new port; return the answer."""

        def ask_it() -> bytes:
            with self.topology.host.entered():
                sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
            with sock:
                sock.settimeout(2.0)
                sock.connect((address, port))
                sock.sendall(question)
                return sock.recv(4096)

        return await asyncio.to_thread(ask_it)

    async def line(self, address: str) -> str:
        """Return the line by which a new flow to the server leaves."""
        return LINES[(await self.asked(address, 443)).decode().split()[1]]

    async def comes_to(self, address: str, wanted: str) -> float:
        """Wait until new flows leave by a line; return how long that took in seconds."""
        began = time.monotonic()
        while await self.line(address) != wanted:
            assert time.monotonic() - began < 20.0, f"{address} does not come to {wanted}"
        return time.monotonic() - began


@contextlib.asynccontextmanager
async def site(topology: Topology, directory: Path) -> AsyncIterator[Site]:
    made = Site(topology, directory)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(made.names.run())
        try:
            await made.use(RULE)
            yield made
        finally:
            task.cancel()
            assert made.tap is not None
            made.tap.close()
            await made.kernel.close()


def test_a_rule_by_domain_holds_for_udp_once_its_name_was_resolved(topology: Topology, tmp_path: Path) -> None:
    async def story() -> None:
        async with site(topology, tmp_path) as here:
            assert await here.line(SERVER4) == "a"
            assert len(await here.asked(SERVER4, 53, QUESTION)) > len(QUESTION)
            taken_s = await here.comes_to(SERVER4, "b")
            assert await here.line(SERVER6) == "b"
            print(f"from the answer to the rule: {1000 * taken_s:.1f} ms")
            assert here.names.of(SERVER4) == ("www.example.org",)
            # Another rule set with the same pattern keeps what is known; one without it forgets.
            other = RuleIntent("bulk", 0, TrafficDescriptor(destination_ports=((9, 9),)), "block")
            await here.use(other, RULE)
            assert await here.line(SERVER4) == "b"
            await here.use(other)
            assert await here.line(SERVER4) == "a"
            assert "named_" not in topology.cpe.run("nft", "list", "table", "inet", "hagw")
            await here.use(RULE)
            await here.comes_to(SERVER4, "b")
            # Somebody has the table removed: it is put back, and filled again.
            topology.cpe.run("nft", "delete", "table", "inet", "hagw")
            await here.use(RULE)
            await here.comes_to(SERVER6, "b")

    with topology.cpe.entered():
        asyncio.run(story())


def test_only_answers_that_leave_into_the_lan_are_overheard(topology: Topology, tmp_path: Path) -> None:
    async def story() -> None:
        async with site(topology, tmp_path) as here:
            await here.asked(SERVER6, 53, QUESTION)
            await here.comes_to(SERVER4, "b")
            # A host that sends from port 53 itself tells us nothing.
            heard = []
            assert here.tap is not None
            here.tap._on_answer = heard.append
            with topology.host.entered():
                sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            with sender:
                sender.bind(("", 53))
                sender.sendto(answer(), (SERVER4, 443))
            await here.asked(SERVER4, 443)
            await here.asked(SERVER4, 53, QUESTION)
            async with asyncio.timeout(10.0):
                while not heard:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            assert heard == [answer()]

    with topology.cpe.entered():
        asyncio.run(story())
