"""One flow's request over two connections at once, each over a line of its own: who answers first, carries the flow.

The host's data waits until then: only one of the servers' ends may get it, and only once. The other connection is given
up with a reset; its server saw a connection that opened and ended.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from hagw.dataplane.gateway import GatewayConnection
from hagw.dataplane.request import Asker, Request
from hagw.model.flow import FlowKey

if TYPE_CHECKING:
    from hagw.dataplane.cpe import CpeWorker


class Race:
    """Requests for the same flow; for the flow they are one, which sends nothing of what the host says."""

    unsent: Final = b""

    def __init__(
        self, worker: "CpeWorker", connections: Sequence[GatewayConnection], key: FlowKey, asker: Asker
    ) -> None:
        self._worker = worker
        self._asker = asker
        self._connections = tuple(connections)
        self._requests: dict[GatewayConnection, Request] = {}
        self._key = key
        self._refusal: str | None = None
        self._is_over = False

    def start(self, fresh: bool) -> bool:
        """Send the requests; `fresh` = the gateway is known to be alive. Return whether one of them stands."""
        lanes = {each: _Lane(self, each) for each in self._connections}
        self._requests = {each: Request(self._worker, each, self._key, lane) for each, lane in lanes.items()}
        for request in tuple(self._requests.values()):
            if request.send(b""):
                request.watch(fresh)
        return not self._is_over

    def send_more(self, data: bytes) -> None:
        """Keep what the client says: the flow has it."""

    def cancel(self) -> None:
        """End all of them."""
        self._is_over = True
        for connection, request in self._requests.items():
            request.cancel()
            connection.on_dead = None
            connection.close()
        self._requests = {}

    def won(self, connection: GatewayConnection, first: bytes) -> None:
        """Give the flow the connection that answered."""
        if self._is_over:
            return
        del self._requests[connection]
        self.cancel()
        self._asker.granted(connection, b"", first)

    def fell(self, connection: GatewayConnection, why: str, refusal: str | None) -> None:
        """Go on with what is left; the last one's end is the flow's. `refusal` is what the server's answer was."""
        if self._is_over:
            return
        del self._requests[connection]
        connection.close()
        self._refusal = self._refusal or refusal
        if self._requests:
            return
        self._is_over = True
        if self._refusal is not None:
            self._asker.refused(self._refusal)
        else:
            self._asker.lost(connection, why, False)


class _Lane:
    """Who asks, for one of the requests."""

    def __init__(self, race: Race, connection: GatewayConnection) -> None:
        self._race = race
        self._connection = connection

    def acknowledged(self) -> None:
        """Nothing waits for that."""

    def granted(self, connection: GatewayConnection, unsent: bytes, first: bytes) -> None:
        """The server answered over this one."""
        self._race.won(connection, first)

    def refused(self, why: str) -> None:
        """The server refuses, or nobody answers."""
        self._race.fell(self._connection, why, why)

    def lost(self, connection: GatewayConnection, why: str, may_have_arrived: bool) -> None:
        """This one will not do. Nothing of the host's was sent."""
        self._race.fell(connection, why, None)
