"""The relay over real loopback TCP: what goes in comes out, and each side's end is the other side's end."""

import random
import socket
from collections.abc import Iterator

import pytest
from plane_rig import Peer, tcp_pair, turn_for, until

from hagw.dataplane.loop import EPOLLIN, EPOLLOUT, Loop
from hagw.dataplane.relay import BUFFER_BYTES, Relay

PATTERN = random.Random(1).randbytes(3_000_017)


class Rig:
    """client — near (relay) far — server; the relay is started by the test."""

    def __init__(self) -> None:
        self.loop = Loop()
        client, near = tcp_pair()
        far, server = tcp_pair()
        self.client, self.server = Peer(client), Peer(server)
        self.near, self.far = near, far
        self.ended: list[bool] = []
        self.fds = (near.fileno(), far.fileno())
        for sock in (near, far):
            self.loop.add(sock.fileno(), 0, lambda mask: None)
        self.relay = Relay(self.loop, memoryview(bytearray(BUFFER_BYTES)), self, near, far)

    def relay_ended(self, relay: Relay, reset: bool) -> None:
        self.ended.append(reset)

    def start(self, *, to_near: bytes = b"", to_far: bytes = b"", near_eof: bool = False) -> None:
        self.relay.start(near_watched=0, far_watched=0, to_near=to_near, to_far=to_far, near_eof=near_eof)

    def closed(self) -> bool:
        return self.near.fileno() == self.far.fileno() == -1

    def close(self) -> None:
        for sock in (self.near, self.far, self.client.sock, self.server.sock):
            sock.close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.close()


@pytest.mark.parametrize("size", [1, BUFFER_BYTES - 1, BUFFER_BYTES, BUFFER_BYTES + 1, len(PATTERN)])
def test_bytes_arrive_unchanged_in_both_directions_at_once(rig: Rig, size: int) -> None:
    up, down = PATTERN[:size], PATTERN[-size:]
    rig.start()
    left = [memoryview(up), memoryview(down)]

    def done() -> bool:
        for index, peer in enumerate((rig.client, rig.server)):
            if left[index]:
                try:
                    left[index] = left[index][peer.sock.send(left[index]) :]
                except BlockingIOError:
                    pass
            peer.poll()
        return len(rig.client.received) >= size and len(rig.server.received) >= size

    until(rig.loop, done)
    assert rig.server.received == up
    assert rig.client.received == down
    assert (rig.relay.near.received, rig.relay.far.sent) == (size, size)
    assert (rig.relay.far.received, rig.relay.near.sent) == (size, size)


def test_bytes_given_at_the_start_go_first(rig: Rig) -> None:
    rig.client.send_all(rig.loop, b"third")
    rig.start(to_far=b"first, second, ", to_near=b"reply, ")
    rig.server.send_all(rig.loop, b"body")
    until(rig.loop, lambda: rig.server.has(b"first, second, third") and rig.client.has(b"reply, body"))


@pytest.mark.parametrize("direction", ["to_far", "to_near"])
def test_bytes_given_at_the_start_stay_in_front_of_what_is_waiting(rig: Rig, direction: str) -> None:
    """More than the socket takes at once, while the other side has already sent more."""
    sock, sender, receiver = (
        (rig.far, rig.client, rig.server) if direction == "to_far" else (rig.near, rig.server, rig.client)
    )
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    sender.send_all(rig.loop, b"behind")
    rig.start(**{direction: PATTERN})
    until(rig.loop, lambda: receiver.has(PATTERN + b"behind"))


def fill(rig: Rig, peer: Peer) -> int:
    """Send until the relay cannot pass any more of it on and takes no more; return how many bytes went in."""
    stuck = rig.relay.far if peer is rig.client else rig.relay.near
    sent = 0
    while True:
        try:
            sent += peer.sock.send(bytes(1 << 16))
        except BlockingIOError:
            before = rig.relay.near.received + rig.relay.far.received
            turn_for(rig.loop, 0.01)
            if stuck.pending is not None and rig.relay.near.received + rig.relay.far.received == before:
                return sent


def test_a_slow_reader_stops_the_sender_and_little_is_kept(rig: Rig) -> None:
    rig.start()
    sent = fill(rig, rig.client)
    near, far = rig.relay.near, rig.relay.far
    assert far.pending is not None
    assert near.received - far.sent == len(far.pending) <= BUFFER_BYTES
    assert not near.mask & EPOLLIN
    assert far.mask & EPOLLOUT
    assert near.received < sent
    until(rig.loop, lambda: rig.server.has(bytes(sent)))


def test_a_stopped_direction_does_not_stop_the_other(rig: Rig) -> None:
    rig.start()
    fill(rig, rig.client)
    rig.server.send_all(rig.loop, b"answer")
    until(rig.loop, lambda: rig.client.has(b"answer"))


def test_two_stopped_directions_both_go_on(rig: Rig) -> None:
    rig.start()
    up = fill(rig, rig.client)
    down = fill(rig, rig.server)
    assert rig.relay.near.pending is not None
    assert rig.relay.far.pending is not None
    until(rig.loop, lambda: rig.server.has(bytes(up)))
    until(rig.loop, lambda: rig.client.has(bytes(down)))


@pytest.mark.parametrize("first", ["client", "server"])
def test_half_close_passes_on_and_the_other_direction_goes_on(rig: Rig, first: str) -> None:
    one, other = (rig.client, rig.server) if first == "client" else (rig.server, rig.client)
    rig.start()
    one.send_all(rig.loop, b"request")
    one.sock.shutdown(socket.SHUT_WR)
    until(rig.loop, lambda: other.saw("eof"))
    assert other.received == b"request"
    assert rig.relay.half_closed_at is not None
    assert not rig.ended
    other.send_all(rig.loop, PATTERN[:500_000])
    other.sock.shutdown(socket.SHUT_WR)
    until(rig.loop, lambda: one.saw("eof"))
    assert one.received == PATTERN[:500_000]
    until(rig.loop, rig.closed)
    assert rig.ended == [False]


def test_both_ends_at_once_finish_in_order(rig: Rig) -> None:
    rig.start()
    for peer in (rig.client, rig.server):
        peer.send_all(rig.loop, b"last words")
        peer.sock.shutdown(socket.SHUT_WR)
    until(rig.loop, lambda: rig.client.saw("eof") and rig.server.saw("eof"))
    assert rig.client.received == rig.server.received == b"last words"
    until(rig.loop, rig.closed)
    assert rig.ended == [False]


def test_an_end_behind_much_data_comes_after_it(rig: Rig) -> None:
    """The sender is gone before the receiver begins to read."""
    rig.far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    rig.start()
    rig.client.send_all(rig.loop, PATTERN)
    rig.client.sock.shutdown(socket.SHUT_WR)
    turn_for(rig.loop, 0.02)
    until(rig.loop, lambda: rig.server.saw("eof"))
    assert rig.server.received == PATTERN


@pytest.mark.parametrize("resetting", ["client", "server"])
@pytest.mark.parametrize("when", ["idle", "flowing", "stuck", "half closed", "half closed by the other"])
def test_a_reset_is_a_reset_on_the_other_side(rig: Rig, resetting: str, when: str) -> None:
    one, other = (rig.client, rig.server) if resetting == "client" else (rig.server, rig.client)
    rig.start()
    match when:
        case "flowing":
            one.sock.send(PATTERN[:200_000])
            rig.loop.turn(0.01)
        case "stuck":
            fill(rig, one)
        case "half closed":
            one.sock.shutdown(socket.SHUT_WR)
            until(rig.loop, lambda: other.saw("eof"))
            other.ended = None
        case "half closed by the other":
            other.sock.shutdown(socket.SHUT_WR)
            until(rig.loop, lambda: one.saw("eof"))
    one.reset()
    until(rig.loop, rig.closed)
    assert rig.ended == [True]
    if when == "half closed":  # it has read the end; the reset shows when it writes
        until(rig.loop, lambda: other.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0)
    else:
        until(rig.loop, lambda: other.saw("reset"))


def test_a_client_that_had_finished_before_the_start_is_passed_on(rig: Rig) -> None:
    rig.client.sock.shutdown(socket.SHUT_WR)
    rig.start(to_far=b"all it said", near_eof=True)
    until(rig.loop, lambda: rig.server.saw("eof"))
    assert rig.server.received == b"all it said"
    rig.server.send_all(rig.loop, b"answer")
    rig.server.sock.shutdown(socket.SHUT_WR)
    until(rig.loop, lambda: rig.client.saw("eof"))
    assert rig.client.received == b"answer"
    assert rig.ended == [False]


def test_the_early_end_waits_for_early_bytes_that_did_not_fit(rig: Rig) -> None:
    rig.far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    rig.client.sock.shutdown(socket.SHUT_WR)
    rig.start(to_far=PATTERN, near_eof=True)
    until(rig.loop, lambda: rig.server.saw("eof"))
    assert rig.server.received == PATTERN


def test_a_side_that_is_dead_at_the_start_ends_the_relay_at_once(rig: Rig) -> None:
    rig.server.reset()
    until(rig.loop, lambda: rig.far.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0)
    rig.start(to_far=b"too late")
    assert rig.ended == [True]
    until(rig.loop, rig.closed)
    until(rig.loop, lambda: rig.client.saw("reset"))


def test_both_sides_see_a_reset_if_the_process_dies(rig: Rig) -> None:
    """Else half a file would look like a whole one."""
    rig.start()
    rig.server.send_all(rig.loop, b"half a file")
    until(rig.loop, lambda: rig.client.has(b"half a file"))
    rig.near.close()  # as the kernel does then
    rig.far.close()
    until(Loop(), lambda: rig.client.saw("reset") and rig.server.saw("reset"))


def test_a_hang_up_while_paused_does_not_spin(rig: Rig) -> None:
    """The server has closed for good after its last bytes, which the client is slow to take."""
    rig.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    rig.start()
    rig.client.sock.shutdown(socket.SHUT_WR)
    until(rig.loop, lambda: rig.server.saw("eof"))
    rig.server.send_all(rig.loop, PATTERN[:800_000])
    rig.server.sock.close()

    def stands_still() -> bool:
        """Say whether the hang-up is known, and the client's kernel takes nothing more."""
        return rig.relay.near.pending is not None and not rig.relay.far.watched and turn_for(rig.loop, 0.05) <= 2

    until(rig.loop, stands_still)
    assert rig.relay.near.pending is not None
    assert turn_for(rig.loop, 0.3) < 10
    until(rig.loop, lambda: rig.client.saw("eof"))
    assert rig.client.received == PATTERN[:800_000]
    assert rig.ended == [False]


def test_a_finished_relay_leaves_nothing_watched(rig: Rig) -> None:
    rig.start()
    rig.client.sock.shutdown(socket.SHUT_WR)
    rig.server.sock.shutdown(socket.SHUT_WR)
    until(rig.loop, rig.closed)
    for fd in rig.fds:
        with pytest.raises(OSError, match=r"Bad file descriptor|No such file"):
            rig.loop.set_mask(fd, EPOLLIN)
