"""The worker's epoll loop: one thread, level-triggered descriptors, timers, work deferred to the end of a turn.

Measured (facts in docs/performance.md): a bare loop like this costs as much CPU per byte as a relay in C;
asyncio costs 2.4 times as much. Hence no asyncio here.
"""

import heapq
import select
import socket
import time
from collections import deque
from collections.abc import Callable

EPOLLIN = select.EPOLLIN
EPOLLOUT = select.EPOLLOUT
EPOLLERR = select.EPOLLERR
EPOLLHUP = select.EPOLLHUP
EPOLLRDHUP = select.EPOLLRDHUP

Handler = Callable[[int], None]
EVENTS_A_TURN = 256
DEFERRED_A_TURN = 16
TIMERS_KEPT = 4096
ACCEPT_PAUSE_S = 0.05


class Timer:
    """A call in the future; `cancel` is cheap and leaves the entry to be skipped when it is due."""

    __slots__ = ("action", "when")

    def __init__(self, when: float, action: Callable[[], None] | None) -> None:
        self.when = when
        self.action = action

    def cancel(self) -> None:
        self.action = None

    def __lt__(self, other: "Timer") -> bool:
        return self.when < other.when


class Loop:
    """Owns the epoll descriptor; handlers get the ready mask. `now` is the monotonic time of this turn.

    `on_fault` gets whatever a handler, timer or deferred action lets through, with the object whose method it was
    (None where it was none); without it such an error leaves `turn`.
    """

    def __init__(self) -> None:
        self.on_fault: Callable[[object, Exception], None] | None = None
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._timers: list[Timer] = []
        self._timers_max = TIMERS_KEPT
        self._deferred: deque[Callable[[], None]] = deque()
        self._closing: list[socket.socket] = []
        self._running = False
        self.turns = 0
        self.now = time.monotonic()

    def add(self, fd: int, mask: int, handler: Handler) -> None:
        """Watch `fd` for `mask`; errors and hang-ups are always reported."""
        self._handlers[fd] = handler
        self._epoll.register(fd, mask)

    def set_handler(self, fd: int, handler: Handler) -> None:
        """Hand a watched descriptor to somebody else, with its mask as it is."""
        self._handlers[fd] = handler

    def set_mask(self, fd: int, mask: int) -> None:
        """Change what a watched descriptor is watched for."""
        self._epoll.modify(fd, mask)

    def pause(self, fd: int, delay_s: float) -> None:
        """Leave a listener alone for a while: without descriptors to accept with, it would be ready all the time."""
        handler = self._handlers[fd]
        self.set_mask(fd, 0)
        self.call_in(delay_s, lambda: self._resume(fd, handler))

    def _resume(self, fd: int, handler: Handler) -> None:
        if self._handlers.get(fd) is handler:
            self.set_mask(fd, EPOLLIN)

    def remove(self, fd: int) -> None:
        """Stop watching `fd`; harmless when it is not watched."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def close(self, sock: socket.socket) -> None:
        """Stop watching and close at the end of this turn, so that no event of this turn meets a reused number."""
        self.remove(sock.fileno())
        self._closing.append(sock)

    def call_at(self, when: float, action: Callable[[], None]) -> Timer:
        """Call `action` at monotonic time `when` or soon after."""
        timer = Timer(when, action)
        heapq.heappush(self._timers, timer)
        if len(self._timers) > self._timers_max:
            self._forget_cancelled()
        return timer

    def call_in(self, delay_s: float, action: Callable[[], None]) -> Timer:
        """Call `action` after `delay_s`."""
        return self.call_at(time.monotonic() + delay_s, action)

    def defer(self, action: Callable[[], None]) -> None:
        """Call `action` soon, a bounded number a turn, so that a long list of work does not stop the relay."""
        self._deferred.append(action)

    def stop(self) -> None:
        """Leave `run` after this turn."""
        self._running = False

    def run(self) -> None:
        """Serve until `stop`."""
        self._running = True
        while self._running:
            self.turn()

    def turn(self, wait_max_s: float = 60.0) -> None:
        """Serve one batch of events, then due timers, deferred work and closes."""
        ready = self._epoll.poll(self._wait_s(wait_max_s), EVENTS_A_TURN)
        self.now = time.monotonic()
        self.turns += 1
        handlers = self._handlers
        for fd, mask in ready:
            handler = handlers.get(fd)
            if handler is not None:
                try:
                    handler(mask)
                except Exception as why:  # noqa: BLE001 - the session boundary
                    self._fault(handler, why)
        self._run_due()
        for _ in range(min(len(self._deferred), DEFERRED_A_TURN)):
            action = self._deferred.popleft()
            try:
                action()
            except Exception as why:  # noqa: BLE001 - the session boundary
                self._fault(action, why)
        if self._closing:
            for sock in self._closing:
                sock.close()
            self._closing.clear()

    def _wait_s(self, wait_max_s: float) -> float:
        if self._deferred:
            return 0.0
        while self._timers and self._timers[0].action is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return wait_max_s
        return min(max(self._timers[0].when - time.monotonic(), 0.0), wait_max_s)

    def _forget_cancelled(self) -> None:
        """Most timers are cancelled long before they are due: drop those whenever the heap has doubled."""
        self._timers[:] = [timer for timer in self._timers if timer.action is not None]
        heapq.heapify(self._timers)
        self._timers_max = max(TIMERS_KEPT, 2 * len(self._timers))

    def _run_due(self) -> None:
        timers = self._timers
        while timers and timers[0].when <= self.now:
            action = heapq.heappop(timers).action
            if action is not None:
                try:
                    action()
                except Exception as why:  # noqa: BLE001 - the session boundary
                    self._fault(action, why)

    def _fault(self, action: Callable[..., None], why: Exception) -> None:
        """The session boundary: an error nobody foresaw ends the connection it happened in, and that alone."""
        if self.on_fault is None:
            raise why
        owner = getattr(getattr(action, "func", action), "__self__", None)
        self.on_fault(owner, why)
