"""A connection through the data plane that carries nothing: whether a new configuration reaches its gateway.

It asks the gateway what it converts (RFC 8803 section 4.2.2, Info TLV), over the uplink and with the cookie that a flow
without a rule would have. No server is asked for, so nothing of it is seen beyond the gateway.
"""

import errno
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from hagw.convert.events import ExtensionsListed, Rejected
from hagw.convert.machine import ClientMachine
from hagw.dataplane.gateway import bind_to_uplink, cookie_for, way_to
from hagw.dataplane.loop import EPOLLIN, EPOLLOUT
from hagw.dataplane.mptcp_socket import open_stream
from hagw.dataplane.relay import abort
from hagw.model.snapshot import GatewayView

if TYPE_CHECKING:
    from hagw.dataplane.cpe import CpeWorker

TIMEOUT_S: Final = 1.5
ANSWER_MAX: Final = 4096


class Trial:
    """One attempt; `done` is called once, with why it failed, "" = it did not."""

    def __init__(self, worker: "CpeWorker", gateway: GatewayView, uplinks: tuple[int, ...]) -> None:
        """Begin. Raise OSError when that fails at once."""
        self._worker = worker
        self._gateway = gateway
        self._machine = ClientMachine()
        self.done: Callable[[str], None] | None = None
        remote, slot, local = way_to(worker, gateway, uplinks)
        self._sock = open_stream(socket.AF_INET6 if ":" in remote else socket.AF_INET, worker.congestion_control)
        try:
            bind_to_uplink(self._sock, worker.uplinks.by_slot[slot].interface, local)
            code = self._sock.connect_ex((remote, gateway.port))
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, os.strerror(code))
        except OSError:
            self._sock.close()
            raise
        worker.loop.add(self._sock.fileno(), EPOLLOUT, self._connected)
        self._timer = worker.loop.call_in(TIMEOUT_S, lambda: self._end(f"no answer within {TIMEOUT_S:g} s"))

    def _connected(self, _mask: int) -> None:
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._end(f"cannot connect: {os.strerror(code)}")
            return
        question = self._machine.ask_extensions(cookie_for(self._gateway))
        try:
            self._sock.send(question)
        except OSError as why:
            self._end(f"lost: {why.strerror}")
            return
        self._worker.loop.set_handler(self._sock.fileno(), self._answered)
        self._worker.loop.set_mask(self._sock.fileno(), EPOLLIN)

    def _answered(self, _mask: int) -> None:
        try:
            data = self._sock.recv(ANSWER_MAX)
        except BlockingIOError:
            return
        except OSError as why:
            self._end(f"lost: {why.strerror}")
            return
        events = self._machine.receive(data) if data else self._machine.receive_eof()
        for event in events:
            match event:
                case ExtensionsListed():
                    self._end("")
                case Rejected(code):
                    self._end(f"refused by gateway {self._gateway.name}: error {code}")
                case _:
                    self._end(f"gateway {self._gateway.name} does not answer as one")
            return

    def _end(self, failure: str) -> None:
        self._timer.cancel()
        abort(self._sock)
        self._worker.loop.close(self._sock)
        if self.done is not None:
            self.done(failure)
