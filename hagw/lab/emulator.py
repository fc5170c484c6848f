"""The link emulator: a process that carries the frames of one or more links between pairs of TAP devices.

Run as `python -m hagw.lab.emulator LINKS SOCKET`; LINKS is a JSON file:
`[{"name": …, "near": [netns, interface], "far": [netns, interface], "state": {LinkState fields}}]`.
The socket appears once all devices exist; they vanish with the process.
Control: a Unix stream socket, a JSON line per request, one line per answer:
`{"op": "set", "link": L, "state": {…}}` and `{"op": "status"}`, both answered with the state and counters.
"""

import contextlib
import ctypes
import errno
import fcntl
import gc
import json
import os
import random
import select
import signal
import socket
import struct
import sys
import time
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from hagw.lab import netns
from hagw.lab.link import Direction, LinkState
from hagw.lab.middlebox import SUBTYPES, strip

_TUNSETIFF: Final = 0x400454CA
_TUNSETOFFLOAD: Final = 0x400454D0
_TUNSETCARRIER: Final = 0x400454E2
_IFF_TAP_NO_PI_VNET_HDR: Final = 0x0002 | 0x1000 | 0x4000
_CHECKSUM, _SEGMENTS = 0x01, 0x01 | 0x02 | 0x04 | 0x08  # TUN_F_CSUM; with TSO4, TSO6 and TSO_ECN
_VNET_HEADER: Final = 10
_HEADERS: Final = _VNET_HEADER + 14  # what a frame read from a TAP has before the IP header
_PR_SET_TIMERSLACK: Final = 29

# A loaded emulator looks at its devices at most this often. Fewer wake-ups: 30 % of a core for the demo's three lines
# and the link inet together (a third more at 0.2 ms). Frames are 0.2 to 0.8 ms late on average, never early.
TICK_S: Final = 0.0005
_BATCH: Final = 256


class Line:
    """One direction of one link: frames read from `source` leave through `sink`."""

    __slots__ = ("direction", "frames", "read_size", "sink", "source", "stripped")

    def __init__(self, source: int, sink: int) -> None:
        self.source, self.sink = source, sink
        self.direction = Direction()
        self.frames: deque[tuple[float, int, bytes]] = deque()
        self.read_size = 66_000
        self.stripped: frozenset[int] = frozenset()  # subtypes of Multipath TCP options

    def admit(self, now: float) -> None:
        """Take the frames the device has and give each its time of leaving."""
        read, chance, source, size = os.read, random.random, self.source, self.read_size
        depart, queue, stripped = self.direction.depart, self.frames.append, self.stripped
        for _ in range(_BATCH):
            try:
                frame = read(source, size)
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.EIO, errno.EBADFD):  # empty, or the interface is down
                    return
                raise
            ip_bytes = len(frame) - _HEADERS if frame[1] == 0 else segmented_ip_bytes(frame)
            out = depart(now, ip_bytes, chance())
            if out >= 0.0:
                queue((out, ip_bytes, strip(frame, stripped) if stripped else frame))

    def release(self, now: float) -> None:
        """Write the frames whose time has come; a closed direction loses them."""
        frames, direction = self.frames, self.direction
        while frames and frames[0][0] <= now:
            _, ip_bytes, frame = frames.popleft()
            if not direction.is_open:
                direction.lost += 1
                continue
            try:
                os.write(self.sink, frame)
            except OSError as error:
                if error.errno not in (errno.EIO, errno.EAGAIN, errno.ENOBUFS, errno.EINVAL):
                    raise
                direction.dropped += 1
            else:
                direction.bytes += ip_bytes


class Link:
    """A pair of TAP devices and the two directions between them; `up` is from near to far."""

    def __init__(self, name: str, near: tuple[str, str], far: tuple[str, str], state: LinkState) -> None:
        self.name = name
        self.near, self.far = open_tap(*near), open_tap(*far)
        self.up, self.down = Line(self.near, self.far), Line(self.far, self.near)
        self.set(state, time.monotonic())

    def set(self, state: LinkState, now: float) -> None:
        """Put new parameters into effect. Carrier goes at the near end, as when a modem loses its line."""
        self.state = state
        self.up.direction.configure(state.rate_up_bps, state, state.is_open("up"), now, loss=state.loss_up)
        self.down.direction.configure(state.rate_down_bps, state, state.is_open("down"), now, loss=state.loss_down)
        self.up.stripped = self.down.stripped = SUBTYPES[state.strip_mptcp]
        # Big segments may pass whole only where no packet can be told from its neighbours.
        shaped = state.rate_down_bps or state.rate_up_bps or state.loss or state.loss_up or state.loss_down
        for tap in (self.near, self.far):
            fcntl.ioctl(tap, _TUNSETOFFLOAD, _CHECKSUM if shaped else _SEGMENTS)
        fcntl.ioctl(self.near, _TUNSETCARRIER, struct.pack("i", state.carrier == "on"))

    def report(self) -> dict[str, Any]:
        """Return the parameters and counters as `hagw lab status` shows them."""
        up, down = self.up.direction, self.down.direction
        return {
            **asdict(self.state),
            "bytes_down": down.bytes,
            "bytes_up": up.bytes,
            "drops_down": down.dropped + down.lost,
            "drops_up": up.dropped + up.lost,
        }


class Emulator:
    """The loop over all links of this process and their control socket."""

    def __init__(self, links: list[Link], control: Path) -> None:
        self.links = {link.name: link for link in links}
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.server.bind(str(control))
        self.server.listen(8)
        self.clients: dict[socket.socket, bytes] = {}

    def run(self) -> None:
        """Carry frames until the process is ended."""
        lines = [line for link in self.links.values() for line in (link.up, link.down)]
        by_fd = {line.source: line for line in lines}
        clock, wait, sleep = time.monotonic, select.select, time.sleep
        woken, gap = 0.0, 1.0
        while True:
            due = min((line.frames[0][0] for line in lines if line.frames), default=None)
            watched: list[Any] = [*by_fd, self.server, *self.clients]
            now = clock()
            if gap < 2 * TICK_S and now < woken + TICK_S:
                sleep(woken + TICK_S - now)
                now = clock()
            readable, _, _ = wait(watched, (), (), None if due is None else max(0.0, due - now))
            now = clock()
            woken, gap = now, now - woken
            for ready in readable:
                if isinstance(ready, int):
                    by_fd[ready].admit(now)
                else:
                    self._serve(ready)
            for line in lines:
                line.release(now)

    def _serve(self, ready: socket.socket) -> None:
        if ready is self.server:
            client, _ = self.server.accept()
            client.settimeout(1.0)
            self.clients[client] = b""
            return
        try:
            received = ready.recv(65536)
            self.clients[ready] += received
            while b"\n" in self.clients[ready]:
                line, _, self.clients[ready] = self.clients[ready].partition(b"\n")
                ready.sendall(json.dumps(self._answer(json.loads(line))).encode() + b"\n")
        except (OSError, ValueError, KeyError):  # it left, or asked for what does not exist
            received = b""
        if not received:
            del self.clients[ready]
            ready.close()

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["op"] == "set":
            link = self.links[request["link"]]
            link.set(LinkState(**request["state"]), time.monotonic())
            return link.report()
        return {name: link.report() for name, link in self.links.items()}


def segmented_ip_bytes(frame: bytes) -> int:
    """Return the IP bytes a big TCP segment has on a real line: each of its packets repeats the headers.

    `frame` starts with a virtio_net_hdr whose gso_type is set (struct virtio_net_hdr, linux/virtio_net.h).
    """
    gso_size: int
    csum_start: int
    gso_size, csum_start = struct.unpack_from("<HH", frame, 4)
    tcp = _VNET_HEADER + csum_start
    headers = csum_start - 14 + (frame[tcp + 12] >> 4) * 4
    payload = len(frame) - _HEADERS - headers
    return payload + headers * -(-payload // gso_size)


def open_tap(namespace: str, interface: str) -> int:
    """Make a TAP device in a namespace and return its descriptor."""
    with netns.entered(namespace):
        tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH14x", interface.encode(), _IFF_TAP_NO_PI_VNET_HDR))
    return tap


def main(described: Path, control: Path) -> None:
    """Make the described links and carry their frames."""
    links = [
        Link(entry["name"], tuple(entry["near"]), tuple(entry["far"]), LinkState(**entry["state"]))
        for entry in json.loads(described.read_text(encoding="utf-8"))
    ]
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    # Punctuality: no garbage collector pauses, exact timers, and precedence over what runs in the nodes.
    gc.disable()
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    Emulator(links, control).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
