"""Connections to gateways, opened ahead of the flows that will use them.

A warm connection has sent the Convert header and its Cookie TLV ahead of time (RFC 8803 section 6 counts them into
the message that the Connect TLV completes later), so the gateway knows the customer and the kernel has had its
first acknowledgement, without which no subflow can join. `pool` keeps them.
"""

import errno
import fcntl
import os
import socket
import struct
import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, Literal

from hagw.convert import cookie
from hagw.convert.errors import ErrorCode
from hagw.convert.events import ProtocolViolation, Rejected
from hagw.convert.machine import ClientMachine
from hagw.dataplane.loop import EPOLLIN, EPOLLOUT, Timer
from hagw.dataplane.mptcp_socket import open_stream
from hagw.dataplane.paths import Paths
from hagw.dataplane.relay import abort
from hagw.health.noharm import Withheld
from hagw.model.intent import IPAddress
from hagw.model.snapshot import GatewayView
from hagw.policy.modes.plan import BOND, SteerPlan

if TYPE_CHECKING:
    from hagw.dataplane.cpe import CpeWorker

SIOCOUTQ: Final = 0x5411
SO_BINDTODEVICE: Final = 25
IP_BIND_ADDRESS_NO_PORT: Final = 24
OPEN_TIMEOUT_S: Final = 0.6
BROKE_PROTOCOL: Final = "it broke the Convert protocol"

State = Literal["connecting", "ready", "taken", "dead"]
# Who is to blame for a connection's end: the gateway said no; nobody answered, which may be the line; one warm
# connection ended, which says little (it grew old, or one of the gateway's workers died).
Blame = Literal["gateway", "unclear", "nobody"]


class GatewayConnection:
    """One MPTCP connection to a gateway, from its opening until a flow takes it or it dies.

    `on_ready` is called once the handshake is done and the prelude sent; `on_dead` once if it fails before it is
    taken. After `take` the socket belongs to the caller.
    """

    __slots__ = (
        "__weakref__", "_timer", "_worker", "allowed", "gateway", "initial", "machine", "on_dead", "on_ready",
        "opened_at", "paths", "plan", "presumed", "remote", "sock", "state",
    )  # fmt: skip

    def __init__(
        self, worker: "CpeWorker", gateway: GatewayView, uplinks: tuple[int, ...], plan: SteerPlan = BOND
    ) -> None:
        """Start opening over the first usable of `uplinks`. Raise OSError when that fails at once."""
        self._worker = worker
        self.plan = plan
        self.gateway = gateway
        self.allowed = frozenset(uplinks)
        self.state: State = "connecting"
        self.opened_at = worker.loop.now
        self.presumed: tuple[Withheld, ...] = ()
        self.machine = ClientMachine()
        self.on_ready: Callable[[GatewayConnection], None] | None = None
        self.on_dead: Callable[[GatewayConnection, str, Blame], None] | None = None
        remote, slot, local = way_to(worker, gateway, uplinks)
        self.initial = slot
        self.remote = remote
        other = other_end(worker, gateway, remote, uplinks)
        family = socket.AF_INET6 if ":" in remote or other is not None else socket.AF_INET
        self.sock = open_stream(family, worker.congestion_control)
        try:
            bind_to_uplink(self.sock, worker.uplinks.by_slot[slot].interface, local)
            code = self.sock.connect_ex((_as_seen_by(self.sock, remote), gateway.port))
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, os.strerror(code))
        except OSError:
            self.sock.close()
            raise
        self.paths = Paths(
            self.sock, worker.control, worker.reader, (ip_address(remote), gateway.port), (slot, local), self.allowed,
            worker.loop.now, worker.mptcp, other,
        )  # fmt: skip
        self.paths.resting = True
        self.paths.cold = plan.cold
        self.paths.stand_by(worker.steering.reserve(plan))
        worker.loop.add(self.sock.fileno(), EPOLLOUT, self._on_connected)
        self._timer: Timer | None = worker.loop.call_in(OPEN_TIMEOUT_S, self._timed_out)

    def take(self) -> None:
        """Hand the socket over; it is watched for EPOLLIN, the caller sets the handler."""
        self.state = "taken"
        self._worker.upkeep.add(self.paths)
        self._stop_timer()

    def follow(self, plan: SteerPlan, uplinks: tuple[int, ...]) -> None:
        """Be steered by another plan from now on, over these lines."""
        self.plan = plan
        self.allowed = self.paths.allowed = frozenset(uplinks)
        self.paths.cold = plan.cold
        self.paths.stand_by(self._worker.steering.reserve(plan))
        self.reconcile()

    def unacknowledged(self) -> int:
        """Return how many bytes we wrote that the gateway's kernel has not acknowledged."""
        try:
            return int(struct.unpack("i", fcntl.ioctl(self.sock.fileno(), SIOCOUTQ, b"\0\0\0\0"))[0])
        except OSError:
            return -1

    def give_up(self, why: str) -> None:
        """End it, and tell whoever waits for it."""
        if self.state in ("connecting", "ready"):
            self._died(why, "nobody")

    def close(self) -> None:
        """Give the connection up with a reset."""
        if self.state != "dead":
            if self.state == "ready":
                self._worker.upkeep.add(self.paths, closing=True)
            self.state = "dead"
            self._stop_timer()
            abort(self.sock)
            self._worker.loop.close(self.sock)

    def call_in(self, delay_s: float, action: Callable[[], None]) -> None:
        """Have the worker's loop do something later."""
        self._worker.loop.call_in(delay_s, action)

    def reconcile(self) -> None:
        """Bring the subflows to what the uplinks allow, and come back for what has to wait."""
        if self.state == "dead":
            return
        now = time.monotonic()
        if self.state == "ready":
            self._presume()
        elif (spared := self._worker.uplinks.spared()).keys() - self.paths.withheld.keys():
            self.paths.withhold(self.paths.withheld | spared, now)
        self._worker.steering.keep(self)
        again = self.paths.reconcile(self._worker.uplinks, now)
        if again is not None and again - now < 1.0:
            self._worker.loop.call_at(again, self.reconcile)

    def look(self) -> None:
        """Look at the subflows now, and make anew what is missing."""
        if self.state != "dead":
            self.paths.observe(time.monotonic())
            self.reconcile()

    def _presume(self) -> None:
        """Have a warm connection keep off the lines that are known to hold others up."""
        uplinks, paths = self._worker.uplinks, self.paths
        self.presumed = self._worker.presumed_harmful(self.allowed, paths)
        slots = uplinks.spared() | {uplinks.slot_by_name[held.uplink]: held.reason for held in self.presumed}
        paths.withhold(slots, time.monotonic())

    def _on_connected(self, _mask: int) -> None:
        code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            blame: Blame = "gateway" if code == errno.ECONNREFUSED else "unclear"
            self._died(f"cannot connect: {os.strerror(code)}", blame)
            return
        self._stop_timer()
        prelude = self.machine.prepare(cookie_for(self.gateway))
        try:
            self.sock.send(prelude)
            self.paths.not_payload(up=len(prelude))
        except OSError as why:
            self._died(f"lost while opening: {why.strerror}", "unclear")
            return
        self.state = "ready"
        self._worker.mptcp.began(self.initial, self.paths.is_multipath, self._worker.loop.now)
        self._worker.subflows.add(self)
        loop = self._worker.loop
        loop.set_handler(self.sock.fileno(), self._on_idle_event)
        loop.set_mask(self.sock.fileno(), EPOLLIN)
        self._worker.loop.call_at(time.monotonic() + 0.005, self.reconcile)
        if self.on_ready is not None:
            self.on_ready(self)

    def _on_idle_event(self, _mask: int) -> None:
        """A warm connection has nothing to say but that it ends, or that the gateway refuses us."""
        try:
            data = self.sock.recv(4096)
        except BlockingIOError:
            return
        except OSError as why:
            self._died(f"reset by the gateway: {why.strerror}", "nobody")
            return
        if not data:
            self._died("closed by the gateway", "nobody")
            return
        for event in self.machine.receive(data):
            if isinstance(event, Rejected):
                self._turned_away(event)
                return
            if isinstance(event, ProtocolViolation):
                self._worker.gateways.protocol_broken(self, event.reason)
                self._died(BROKE_PROTOCOL, "gateway")
                return

    def _turned_away(self, rejected: Rejected) -> None:
        """It takes nothing more, draining or overloaded; or it does not want us."""
        if rejected.retry_after_s is not None:
            self._worker.gateways.overloaded(self.gateway.name, rejected.retry_after_s)
            self._died("it takes no new flows", "nobody")
        elif rejected.code == ErrorCode.MISSING_COOKIE:
            self._worker.gateways.address_unproven(self, self._worker.uplinks.name(self.initial))
            self._died("it does not know our address yet", "nobody")
        else:
            self._died(f"refused by the gateway: error {rejected.code}", "gateway")

    def _timed_out(self) -> None:
        self._timer = None
        self._died("no answer to the connection request", "unclear")

    def _died(self, reason: str, blame: Blame) -> None:
        self.close()
        if self.on_dead is not None:
            self.on_dead(self, reason, blame)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def cookie_for(gateway: GatewayView) -> bytes:
    """Return the cookie by the gateway's clock; by ours only while the gateway has never told its own."""
    if gateway.clock_offset_s is None:
        now = time.time()
    else:
        now = time.clock_gettime(time.CLOCK_BOOTTIME) + gateway.clock_offset_s
    return cookie.mint(bytes.fromhex(gateway.key), gateway.customer, now)


def bind_to_uplink(sock: socket.socket, interface: str, local: str) -> None:
    """Make `sock` leave by an uplink with its address. Raise OSError when interface or address is gone."""
    sock.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, interface.encode())
    try:
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    except OSError:
        pass  # Linux 6.1 refuses it on MPTCP: the port is then chosen at bind, which is only less economical
    sock.bind((_as_seen_by(sock, local), 0))


def way_to(worker: "CpeWorker", gateway: GatewayView, uplinks: tuple[int, ...]) -> tuple[str, int, str]:
    """Choose the gateway's address, the uplink of the initial subflow and its local address. Raise OSError.

    The best line begins, in the first family that it and the gateway have; lines without that one join in the other.
    """
    ranked = sorted(uplinks, key=worker.mptcp.is_stripped)
    for slot in ranked:
        for remote in gateway.addresses:
            local = worker.uplinks.address(slot, ":" in remote)
            if local is not None:
                return remote, slot, local
    raise OSError(errno.ENETUNREACH, "no allowed uplink is up")


def other_end(
    worker: "CpeWorker", gateway: GatewayView, remote: str, uplinks: tuple[int, ...]
) -> tuple[IPAddress, int] | None:
    """Return where lines without the family of `remote` join, None = there are none, or the gateway is not there.

    A connection that begins with IPv4 must then be an IPv6 socket's: the kernel joins IPv6 to no other.
    """
    ipv6 = ":" in remote
    there = next((address for address in gateway.addresses if (":" in address) != ipv6), None)
    known = [worker.uplinks.by_slot[slot] for slot in uplinks if slot in worker.uplinks.by_slot]
    needed = any((u.address4 is None) != (u.address6 is None) and (u.address6 is None) == ipv6 for u in known)
    return (ip_address(there), gateway.port) if there is not None and needed else None


def _as_seen_by(sock: socket.socket, address: str) -> str:
    return f"::ffff:{address}" if sock.family == socket.AF_INET6 and ":" not in address else address
