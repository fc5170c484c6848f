"""Two lines, a LAN host and a server: the ground on which interception and the choice of lines are tested."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from namespaces import Namespace
from routers import SERVER4, SERVER6, Topology, build, machine, settle
from services import Server, bound, transparent_listeners

from hagw.kernel.machine import Machine

PORT = 80
SO_MARK = 36
OUTPUT = "add chain inet foreign o { type filter hook output priority -300; }"
BOTH = pytest.mark.parametrize("address", [SERVER4, SERVER6])
LINE_A = {SERVER4: "10.1.0.2", SERVER6: "2001:db8:1::2"}
LINE_B = {SERVER4: "10.2.0.2", SERVER6: "2001:db8:2::2"}
HOST = {SERVER4: "192.168.77.2", SERVER6: "fd77::2"}


@dataclass
class Site:
    """The topology with its server running."""

    topology: Topology
    port: Machine
    server: Server
    stack: ExitStack

    @property
    def host(self) -> Namespace:
        """The LAN host."""
        return self.topology.host

    def settle(self, *, down: tuple[str, ...] = (), intercept: bool = True) -> None:
        """Bring the CPE to the desired state."""
        settle(self.topology, self.port, down=down, intercept=intercept)

    def worker(self) -> ExitStack:
        """Run a transparent listener until the returned stack is closed."""
        listener = Server("worker")
        for sock in transparent_listeners(self.topology.cpe):
            listener.listen(sock)
        stack = ExitStack()
        stack.enter_context(listener.running())
        self.stack.push(stack)
        return stack


@contextmanager
def served(namespace: Callable[[str], Namespace], directory: Path) -> Iterator[Site]:
    """Build the topology and have the server answer at all its addresses."""
    topology = build(namespace)
    port = machine(topology, directory)
    server = Server("server")
    for address in (SERVER4, SERVER6):
        server.listen(bound(topology.server, socket.SOCK_STREAM, address, PORT))
        server.listen(bound(topology.server, socket.SOCK_DGRAM, address, PORT))
    with ExitStack() as stack:
        stack.enter_context(server.running())
        yield Site(topology, port, server, stack)
    port.close()
