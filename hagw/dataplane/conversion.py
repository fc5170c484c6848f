"""One connection from a CPE on the HAG: read the Convert message, open the server, answer, relay.

The life: reading (a stranger's message has a short timer, an authenticated one may wait for its Connect as a warm
connection) -> dialing -> relaying; or an Error TLV and the close RFC 8803 section 6.2.2 asks for: no reset from our
side, discard until the client goes.
"""

import errno
import os
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal

from hagw.convert import error_value
from hagw.convert.errors import ErrorCode
from hagw.convert.events import (
    ClosedEarly,
    ConnectRequested,
    ConverterEvent,
    CookiePresented,
    EarlyData,
    Failed,
    InfoRequested,
)
from hagw.convert.machine import KIND_MPTCP, ConverterMachine
from hagw.dataplane.converted_flow import ConvertedFlow
from hagw.dataplane.dial import Dial, Failure, NoPort, Unreachable
from hagw.dataplane.loop import EPOLLIN, EPOLLOUT, Timer
from hagw.dataplane.relay import Relay, abort, end_in_order
from hagw.dataplane.sendqueue import SendQueue

if TYPE_CHECKING:
    from hagw.dataplane.customers import Customer
    from hagw.dataplane.hag import HagWorker

EARLY_MAX_BYTES: Final = 64 * 1024
LINGER_S: Final = 2.0
RETRY_S: Final = 1
DRAIN_RETRY_S: Final = 10  # for as long a customer leaves us alone, then asks again
KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 300), (socket.TCP_KEEPINTVL, 30), (socket.TCP_KEEPCNT, 4))
ICMP_NET_UNREACHABLE: Final = 0
ICMP_HOST_UNREACHABLE: Final = 1

State = Literal["reading", "dialing", "relaying", "lingering", "closed"]
BadPeer = Literal["malformed", "not-authorised", "slow", "crowded"]


class ConverterSession:
    """One accepted connection; watches it from the start."""

    __slots__ = (
        "_accounted", "_dial", "_early", "_eof", "_flow", "_is_warm", "_machine", "_relay", "_server", "_started",
        "_timer", "_why", "_worker", "client", "customer", "customer_flow", "id", "peer", "state",
    )  # fmt: skip

    def __init__(self, worker: "HagWorker", session_id: int, client: socket.socket, peer: tuple[str, int]) -> None:
        self._worker = worker
        self.id = session_id
        self.client = client
        self.peer = peer
        self.state: State = "reading"
        self.customer: Customer | None = None
        self.customer_flow = False
        self._is_warm = False
        self._machine: ConverterMachine | None = ConverterMachine(worker.convertible, requires_cookie=True)
        self._dial: Dial | None = None
        self._early = bytearray()
        self._eof = False
        self._relay: Relay | None = None
        self._flow: ConvertedFlow | None = None
        self._server = ("", 0)
        self._started = worker.loop.now
        self._accounted = (0, 0)
        self._why = ""
        worker.strangers.add(self, peer[0])
        abort(client)  # if this process dies: an end in order would let a request just under way be acknowledged
        worker.loop.add(client.fileno(), EPOLLIN, self._on_client)
        self._timer: Timer | None = worker.loop.call_in(worker.limits.message_s, self._too_slow)

    def give_up(self, why: str) -> None:
        """Reset both sides."""
        if self.state == "closed":
            return
        self._why = why
        if self._relay is not None:
            self._relay.fail()
            return
        abort(self.client)
        self._close()

    # --- the Convert message

    def _on_client(self, mask: int) -> None:
        if not mask & EPOLLIN:
            self.give_up("the client went away")
            return
        try:
            data = self.client.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            self.give_up("the client went away")
            return
        if self.state == "lingering":
            if not data:
                self._close()
            return
        machine = self._machine
        assert machine is not None
        if not data:
            self._eof = True
            self._worker.loop.set_mask(self.client.fileno(), 0)
        for event in machine.receive(data) if data else machine.receive_eof():
            self._serve(machine, event)
            if self.state in ("lingering", "closed"):
                return
        if len(self._early) > EARLY_MAX_BYTES and self.state == "dialing":
            self._worker.loop.set_mask(self.client.fileno(), 0)

    def _serve(self, machine: ConverterMachine, event: ConverterEvent) -> None:
        match event:
            case CookiePresented():
                self._authorise(machine, event.value)
            case ConnectRequested():
                self._connect(machine, event)
            case EarlyData():
                self._early += event.data
            case InfoRequested():
                self._answer_and_linger(machine.answer_info(), "asked what is converted")
            case Failed():
                self._failed(event)
            case ClosedEarly():
                self._close()

    def _authorise(self, machine: ConverterMachine, value: bytes) -> None:
        worker = self._worker
        self.customer = worker.customer_of(value, self.peer[0])
        if self.customer is None:
            worker.turned_away(self.peer[0], "not-authorised", "cookie not valid")
            self._refuse(machine, ErrorCode.NOT_AUTHORIZED, b"", "cookie not valid")
            return
        worker.strangers.drop(self.id)
        if worker.is_foreign(self.customer, self.peer[0]):
            worker.counts["unproven"] += 1
            self._refuse(machine, ErrorCode.MISSING_COOKIE, b"", "the customer was never seen at this address")
            return
        if self.customer.warm >= worker.limits.warm_per_customer:
            reason = "its limit of warm connections is reached"
            worker.turned_away(self.peer[0], "crowded", reason)
            self._refuse(machine, ErrorCode.RESOURCE_EXCEEDED, error_value.retry(RETRY_S), reason)
            return
        self.customer.warm += 1
        self._is_warm = True
        self._set_timer(worker.limits.warm_idle_s, self._too_slow)
        if worker.draining:
            self.dismiss("draining")

    def dismiss(self, why: str) -> None:
        """Tell a customer without a flow that nothing more is taken; flows go on.

        All of them, however many come from one address: a reset could meet a request that is just under way.
        """
        if self.state != "reading" or self.customer is None or self._machine is None:
            return
        self._worker.counts["refused"] += 1
        if self._worker.may_linger():
            retry = error_value.retry(DRAIN_RETRY_S)
            self._answer_and_linger(self._machine.reject(ErrorCode.RESOURCE_EXCEEDED, retry), why)
        else:
            self.give_up(why)

    def _failed(self, event: Failed) -> None:
        self._worker.counts["malformed"] += 1
        kind: BadPeer = "not-authorised" if event.code == ErrorCode.NOT_AUTHORIZED else "malformed"
        self._worker.turned_away(self.peer[0], kind, event.reason)
        if event.reply is None or not self._worker.may_answer(self.peer[0]):
            self.give_up(event.reason)
        else:
            self._answer_and_linger(event.reply, event.reason)

    def _refuse(self, machine: ConverterMachine, code: ErrorCode, value: bytes, why: str) -> None:
        self._worker.counts["refused"] += 1
        if self._worker.may_answer(self.peer[0]):
            self._answer_and_linger(machine.reject(code, value), why)
        else:
            self.give_up(why)

    def _answer_and_linger(self, reply: bytes, why: str) -> None:
        """Send the last bytes and our end, then discard what comes until the client closes or resets."""
        self._why = why
        self._leave_phase()
        self.state = "lingering"
        self._worker.lingering += 1
        end_in_order(self.client)
        try:
            self.client.send(reply)
            self.client.shutdown(socket.SHUT_WR)
        except OSError:
            self._close()
            return
        self._worker.loop.set_mask(self.client.fileno(), EPOLLIN)
        self._set_timer(LINGER_S, self._close)

    def _too_slow(self) -> None:
        self._timer = None
        if self.customer is None:
            self._worker.turned_away(self.peer[0], "slow", "its message was not complete in time")
            self.give_up("too slow")
        else:
            self._worker.ended_idle(self.peer[0], "no request came on a warm connection")
            self.give_up("idle for too long")

    # --- the server

    def _connect(self, machine: ConverterMachine, wanted: ConnectRequested) -> None:
        worker = self._worker
        assert self.customer is not None  # requires_cookie: without one the machine fails the message
        self._server = (str(wanted.address), wanted.port)
        refusal = self.customer.rules.refusal(wanted.address, wanted.port)
        if refusal is not None:
            self._refuse(machine, ErrorCode.NOT_AUTHORIZED, b"", refusal)
            return
        hindrance = worker.admit(self.customer)
        if hindrance is not None:
            worker.turned_away(self.peer[0], "crowded", hindrance.reason)
            self._refuse(machine, ErrorCode.RESOURCE_EXCEEDED, error_value.retry(hindrance.retry_s), hindrance.reason)
            return
        self._cool()
        self.customer_flow = True
        worker.flowing[self.id] = self
        worker.customers.use(self.customer.name, 0, 0, 1)
        worker.counts["flows_total"] += 1
        self.state = "dialing"
        asked = any(option.kind == KIND_MPTCP for option in wanted.options)
        self._stop_timer()
        self._dial = Dial(worker, self.customer, (wanted.address, wanted.port), self)
        self._dial.begin(asked_for_mptcp=asked)

    def not_opened(self, failure: Failure) -> None:
        """The server cannot be had: say why."""
        machine = self._machine
        assert machine is not None
        match failure:
            case NoPort():
                self._worker.turned_away(self.peer[0], "crowded", failure.reason)
                self._refuse(machine, ErrorCode.RESOURCE_EXCEEDED, error_value.retry(RETRY_S), failure.reason)
            case Unreachable():
                self._unreachable(machine, failure.code)

    def _unreachable(self, machine: ConverterMachine, code: int) -> None:
        match code:
            case errno.ECONNREFUSED | errno.ECONNRESET:
                self._refuse(machine, ErrorCode.CONNECTION_RESET, b"", "the server refused")
            case errno.ENETUNREACH:
                value = error_value.unreachable(ICMP_NET_UNREACHABLE)
                self._refuse(machine, ErrorCode.DESTINATION_UNREACHABLE, value, "no route to the server")
            case errno.EHOSTUNREACH | errno.ETIMEDOUT:
                value = error_value.unreachable(ICMP_HOST_UNREACHABLE)
                self._refuse(machine, ErrorCode.DESTINATION_UNREACHABLE, value, "the server is silent or unreachable")
            case errno.EMFILE | errno.ENFILE | errno.ENOBUFS | errno.ENOMEM | errno.EADDRNOTAVAIL:
                self._worker.fell_short()
                self._refuse(machine, ErrorCode.RESOURCE_EXCEEDED, error_value.retry(5), os.strerror(code))
            case _:
                self._refuse(machine, ErrorCode.NETWORK_FAILURE, error_value.retry(5), os.strerror(code))

    # --- relaying and the end

    def opened(self, server: socket.socket) -> None:
        """The server answered: answer the client, and relay."""
        machine = self._machine
        assert machine is not None
        self._dial = None
        self._settle_pending()
        for sock in (self.client, server):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in KEEPALIVE:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
        queue = SendQueue()
        queue.begin(self.client)
        reply = machine.accept(self._worker.syn_acks.options(server))
        self._machine = None
        self.state = "relaying"
        worker = self._worker
        self._relay = relay = Relay(worker.loop, worker.view, self, self.client, server)
        early = bytes(self._early)
        self._early = bytearray()
        self._flow = ConvertedFlow(relay, queue, reply_bytes=len(reply), early_bytes=len(early), now=worker.loop.now)
        self.hold_to_rates()
        paused = self._eof or len(early) > EARLY_MAX_BYTES
        relay.start(
            near_watched=0 if paused else EPOLLIN, far_watched=EPOLLOUT, to_near=reply, to_far=early, near_eof=self._eof
        )

    def relay_ended(self, relay: Relay, reset: bool) -> None:
        """Both directions are over."""
        self._worker.counts["reset_total"] += reset
        self.state = "closed"
        self._worker.ended(self)

    def _close(self) -> None:
        self._leave_phase()
        self._stop_timer()
        self._worker.lingering -= self.state == "lingering"
        self.state = "closed"
        self._worker.loop.close(self.client)
        self._worker.ended(self)

    def _leave_phase(self) -> None:
        """Give back what reading or dialing holds of the worker."""
        self._worker.strangers.drop(self.id)
        self._cool()
        self._settle_pending()
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None

    def _cool(self) -> None:
        """It waits for its request no more."""
        if self._is_warm and self.customer is not None:
            self._is_warm = False
            self.customer.warm -= 1

    def _settle_pending(self) -> None:
        if self.state == "dialing" and self.customer is not None:
            self._worker.settled(self.customer)

    def _set_timer(self, delay_s: float, action: Callable[[], None]) -> None:
        """Let the one timer of this phase be `action` after `delay_s`."""
        self._stop_timer()
        self._timer = self._worker.loop.call_in(delay_s, action)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- looked at from outside

    def bytes(self) -> tuple[int, int]:
        """Return payload bytes (towards the client, from the client)."""
        return (0, len(self._early)) if self._flow is None else self._flow.bytes()

    def hold_to_rates(self) -> None:
        """Relay no faster than the customer may, as its limits are now."""
        if self._flow is not None and self.customer is not None:
            self._flow.hold_to_rates(self.customer)

    def account(self) -> None:
        """Have the customer's usage know of the bytes since the last time."""
        assert self.customer is not None
        down, up = self.bytes()
        known_down, known_up = self._accounted
        self._accounted = down, up
        self._worker.customers.use(self.customer.name, down - known_down, up - known_up, 0)

    def look(self, now: float) -> None:
        """Hold the queue towards the customer to what its lines take."""
        if self._flow is not None:
            self._flow.look(self.client, self._worker.reader, now)

    def sweep(self, now: float) -> None:
        """End the flow if it was idle, or half closed and idle, for too long."""
        instead = None if self._flow is None else self._flow.idle_too_long(self._worker.limits, now)
        if instead is not None:
            self._worker.ended_idle(self.peer[0], instead)
            self.give_up("idle for too long")

    def document(self, now: float) -> dict[str, Any]:
        """Return the flow as the contract's `flows --json` entry; uplinks are the CPE's business."""
        down, up = self.bytes()
        return {
            "id": str(self.id),
            "client": self.peer[0],
            "client_port": self.peer[1],
            "server": self._server[0],
            "server_port": self._server[1],
            "domain": None,
            "path": "converted",
            "gateway": None,
            "rule": None,
            "mode": None,
            "why": f"customer {self.customer.name if self.customer else None}"
            + (f"; {self._why}" if self._why else ""),
            "state": self.state,
            "bytes_down": down,
            "bytes_up": up,
            "by_uplink": {},
            "subflows": [],
            "started_s": round(time.time() - (now - self._started), 3),
        }
