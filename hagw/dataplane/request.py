"""A flow's request to its gateway: the Connect, what the client says before the reply, and whether it was passed on.

The rule on early data: it goes out with the Connect only while the gateway is known to be alive; otherwise it waits
for the Connect's acknowledgement. It may go another way only while the gateway cannot have passed it on: if none was
sent, if the gateway said so with an Error TLV, or if its end was under way before our request can have come.
"""

import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, Protocol

from hagw.convert.errors import ErrorCode
from hagw.convert.events import Connected, Data, ProtocolViolation, Rejected
from hagw.dataplane.gateway import BROKE_PROTOCOL, GatewayConnection
from hagw.dataplane.loop import Timer
from hagw.model.flow import FlowKey

if TYPE_CHECKING:
    from hagw.dataplane.cpe import CpeWorker

ACK_POLL_S: Final = 0.001
ACK_WAIT_S: Final = 0.35
ACK_WAIT_MAX_S: Final = 3.0
CROSSED_SHARE: Final = 0.8  # of the shortest round trip seen; the rest is for shorter ones not seen yet
HEARD_LATELY_S: Final = 0.5  # two echoes of a gateway in use
STALLED_S: Final = 0.05  # a timer so late tells of this machine: it stood still, and can blame nobody for that time
STALLED_MAX_S: Final = 2.0  # of one request's time, so that a client is not kept waiting by a machine that is just slow


class Asker(Protocol):
    """Who asks. Exactly one of `granted`, `refused` and `lost` is called, once, when the request is over."""

    def acknowledged(self) -> None:
        """The client may go on talking: the gateway has the Connect."""

    def granted(self, connection: GatewayConnection, unsent: bytes, first: bytes) -> None:
        """The server answered; `unsent` of the client is still to be sent, `first` came with the reply."""

    def refused(self, why: str) -> None:
        """The client shall see its connection reset, as it would have been without us."""

    def lost(self, connection: GatewayConnection, why: str, may_have_arrived: bool) -> None:
        """The gateway will not do; what the client said may have been passed on all the same."""


class Request:
    """One Connect over a connection that a flow has taken."""

    __slots__ = (
        "_asked_at",
        "_asker",
        "_connection",
        "_early_sent",
        "_key",
        "_passed",
        "_stalled_s",
        "_timer",
        "_worker",
        "unsent",
    )

    def __init__(self, worker: "CpeWorker", connection: GatewayConnection, key: FlowKey, asker: Asker) -> None:
        self._worker = worker
        self._connection = connection
        self._key = key
        self._asker = asker
        self._asked_at = time.monotonic()
        self._early_sent = False  # the gateway may pass on what the client said
        self._passed = 0  # bytes of it that our kernel took
        self._timer: Timer | None = None
        self._stalled_s = 0.0
        self.unsent = b""

    def send(self, early: bytes) -> bool:
        """Send the Connect TLV with what the client has said so far; return whether the request stands."""
        connection = self._connection
        request = connection.machine.connect(ip_address(self._key.server), self._key.server_port)
        try:
            sent = connection.sock.send(request + early if early else request)
        except OSError as why:
            self._lose(f"lost before the request was sent: {why.strerror}")
            return False
        if sent < len(request):
            self._lose("no room for the request")
            return False
        connection.paths.not_payload(up=len(request))
        self._early_sent = bool(early)
        self._passed = sent - len(request)
        self.unsent = early[self._passed :]
        self._worker.loop.set_handler(connection.sock.fileno(), self._on_reply)
        return True

    def watch(self, fresh: bool) -> None:
        """See to it that the gateway acknowledges: within a while if it is `fresh`, else before the client talks."""
        if fresh:
            self._look_in(ACK_WAIT_S)
        else:
            self._timer = self._worker.loop.call_in(ACK_POLL_S, self._await_acknowledgement)

    def send_more(self, data: bytes) -> None:
        """Send what the client says while the reply is awaited."""
        self._early_sent = True
        try:
            sent = self._connection.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as why:
            self._lose(f"reset: {why.strerror}")
            return
        self._passed += sent
        self.unsent = data[sent:]

    def cancel(self) -> None:
        """Wait for nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- is it acknowledged?

    def _look_in(self, delay_s: float) -> None:
        self._timer = self._worker.loop.call_in(delay_s, self._check_acknowledged)

    def _waited_s(self, now: float) -> float:
        """Return for how long the gateway had time to acknowledge; called by the timer, which says how late it is."""
        if self._timer is not None and (late_s := now - self._timer.when) >= STALLED_S:
            self._stalled_s = min(STALLED_MAX_S, self._stalled_s + late_s)
        return now - self._asked_at - self._stalled_s

    def _await_acknowledgement(self) -> None:
        """The gateway was silent for a while: let the client's data go once it has acknowledged the Connect."""
        connection = self._connection
        now = self._worker.loop.now
        waited = self._waited_s(now)
        if connection.unacknowledged() == 0:
            self._worker.gateways.heard(connection.gateway.name, now)
            self._look_in(ACK_WAIT_S)
            self._asker.acknowledged()
        elif waited < ACK_WAIT_S:
            self._timer = self._worker.loop.call_in(ACK_POLL_S, self._await_acknowledgement)
        else:
            self._blame()

    def _check_acknowledged(self) -> None:
        """Some time after the request: is the gateway there at all? Then the server may take its time."""
        connection = self._connection
        now = self._worker.loop.now
        waited = self._waited_s(now)
        lately = max(self._asked_at, now - HEARD_LATELY_S)
        if 0 <= connection.unacknowledged() <= self._passed:  # the request is; what followed may be under way
            if waited > self._worker.limits.connect_s + 2.0:
                self._refuse("the gateway does not answer")
                return
            self._look_in(1.0)
        elif waited < ACK_WAIT_MAX_S and self._worker.gateways.heard_since(connection.gateway.name, lately):
            # The gateway lives, the line does not: its subflow is being withdrawn, the kernel repeats elsewhere.
            self._look_in(ACK_WAIT_S)
        elif waited < ACK_WAIT_S * 1.6 and (self._early_sent or self._stalled_s):
            self._look_in(ACK_WAIT_S / 2)
        else:
            self._blame()

    def _blame(self) -> None:
        gateway = self._connection.gateway.name
        if not self._worker.gateways.heard_since(gateway, self._asked_at):
            self._worker.gateways.trouble(gateway, "it does not acknowledge requests")
        self._lose("it did not acknowledge the request")

    # --- the reply

    def _on_reply(self, _mask: int) -> None:
        connection = self._connection
        try:
            data = connection.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError as why:
            self._ended(f"reset: {why.strerror}")
            return
        if not data:
            self._ended("closed before it answered")
            return
        events = connection.machine.receive(data)
        if not events:
            return
        match events[0]:
            case Connected():
                rest = events[1].data if len(events) > 1 and isinstance(events[1], Data) else b""
                connection.paths.not_payload(down=len(data) - len(rest))
                self.cancel()
                self._asker.granted(connection, self.unsent, bytes(rest))
            case Rejected() as rejected:
                self._rejected(rejected)
            case other:
                reason = other.reason if isinstance(other, ProtocolViolation) else f"unexpected {type(other).__name__}"
                self._worker.gateways.protocol_broken(connection, reason)
                self._worker.gateways.trouble(connection.gateway.name, BROKE_PROTOCOL)
                self._lose(BROKE_PROTOCOL)

    def _rejected(self, rejected: Rejected) -> None:
        """An Error TLV means that nothing reached the server: the same TCP event for the client, or another way."""
        gateways, gateway = self._worker.gateways, self._connection.gateway.name
        gateways.heard(gateway, self._worker.loop.now)
        key = self._key
        match rejected.code:
            case ErrorCode.CONNECTION_RESET:
                self._worker.destination_refused(key.server, key.server_port, "refused")
                self._refuse("the server refused the connection")
            case ErrorCode.DESTINATION_UNREACHABLE:
                self._worker.destination_refused(key.server, key.server_port, "unreachable")
                self._refuse("the server is unreachable")
            case _:
                if rejected.retry_after_s is not None:
                    gateways.overloaded(gateway, rejected.retry_after_s)
                if rejected.code == ErrorCode.MISSING_COOKIE:
                    gateways.address_unproven(self._connection, self._worker.uplinks.name(self._connection.initial))
                self._early_sent = False
                self._lose(f"error {rejected.code}")

    def _ended(self, reason: str) -> None:
        """It ended our connection. If that was under way before our request can have come, nothing was passed on.

        That the request is not acknowledged does not prove it: the end may come over a faster line than the
        acknowledgement.
        """
        connection = self._connection
        # It was there when this turn began. A gateway that dies ends a thousand connections, and they have their turn.
        waited_s = self._worker.loop.now - self._asked_at
        if has_crossed(waited_s, connection.paths.shortest_s()) and connection.unacknowledged() > self._passed:
            self._early_sent = False
        self._lose(reason)

    def _refuse(self, why: str) -> None:
        self.cancel()
        self._asker.refused(why)

    def _lose(self, why: str) -> None:
        self.cancel()
        self._asker.lost(self._connection, why, self._early_sent)


def has_crossed(waited_s: float, shortest_s: float | None) -> bool:
    """Say whether what came so long after a request was under way before the request can have arrived."""
    return shortest_s is not None and waited_s < CROSSED_SHARE * shortest_s
