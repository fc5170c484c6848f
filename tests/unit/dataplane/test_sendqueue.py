"""The send queue follows what the lines take, and nothing else."""

import socket

from hagw.dataplane.mptcp_socket import SubflowInfo
from hagw.dataplane.sendqueue import FIRST_BYTES, MIN_BYTES, SO_SNDBUFFORCE, SPAN_MIN_S, SendQueue


class Recorder(socket.socket):
    """A socket that remembers the send buffers asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def setsockopt(self, level: int, option: int, value: object, *_: object) -> None:  # type: ignore[override]
        assert (level, option) == (socket.SOL_SOCKET, SO_SNDBUFFORCE)
        assert isinstance(value, int)
        self.sizes.append(2 * value)


def subflow(peer: str, acked: int, srtt_ms: float = 50, min_rtt_ms: float = 100) -> SubflowInfo:
    return SubflowInfo(
        local=("198.51.100.10", 5124), remote=(peer, 40000), srtt_us=int(srtt_ms * 1000),
        min_rtt_us=int(min_rtt_ms * 1000), bytes_acked=acked, bytes_received=0, unacked=10, notsent_bytes=0,
        mss=1400, delivery_rate_bps=0, app_limited=False,
    )  # fmt: skip


def run(rates: dict[str, int], ticks: int, srtt_ms: float = 50) -> list[int]:
    """Let subflows take `rates` bytes a second each for some ticks of 0.2 s; return the sizes set."""
    queue = SendQueue()
    with Recorder() as sock:
        for tick in range(ticks):
            now = 100 + tick * 0.2
            infos = tuple(subflow(peer, int(rate * 0.2 * tick), srtt_ms) for peer, rate in rates.items())
            queue.update(sock, infos, now)
        return sock.sizes


def test_the_queue_holds_about_two_round_trips_of_all_lines() -> None:
    (size,) = run({"192.0.2.1": 6_000_000, "192.0.2.2": 2_000_000, "192.0.2.3": 2_000_000}, ticks=10, srtt_ms=120)
    assert abs(size - 10_000_000 * 0.24) < 200_000


def test_a_round_trip_stretched_by_the_connection_itself_does_not_lengthen_its_queue() -> None:
    queue = SendQueue()
    with Recorder() as sock:
        for tick in range(10):
            infos = (subflow("192.0.2.1", 1_000_000 * tick, srtt_ms=400, min_rtt_ms=100),)
            queue.update(sock, infos, 100 + tick * 0.2)
        assert abs(sock.sizes[-1] - 5_000_000 * 0.3) < 200_000


def test_subflows_that_share_our_address_are_told_apart() -> None:
    assert run({"192.0.2.1": 5_000_000, "192.0.2.2": 5_000_000}, ticks=20) == run({"192.0.2.1": 10_000_000}, ticks=20)


def test_a_slow_connection_is_left_to_the_kernel() -> None:
    assert run({"192.0.2.1": 100_000}, ticks=10) == []


def test_the_queue_never_becomes_smaller_than_its_floor() -> None:
    (size,) = run({"192.0.2.1": 300_000}, ticks=10, srtt_ms=5)
    assert abs(size - MIN_BYTES) <= 2


def test_a_share_of_8_mbit_s_queues_no_longer_than_all_of_the_lines() -> None:
    """What a lost line held goes out again behind the queue of the share that is left."""
    (size,) = run({"192.0.2.1": 1_000_000}, ticks=10)
    assert size / 1_000_000 < 1.15 * SPAN_MIN_S


def test_a_subflow_that_joins_with_a_history_is_no_burst() -> None:
    queue = SendQueue()
    with Recorder() as sock:
        for tick in range(10):
            infos = [subflow("192.0.2.1", 200_000 * tick)]
            if tick >= 5:
                infos.append(subflow("192.0.2.2", 900_000_000))
            queue.update(sock, tuple(infos), 100 + tick * 0.2)
        assert max(sock.sizes) < 1_000_000


def test_the_queue_is_held_from_the_start_and_grows_with_the_rate() -> None:
    queue = SendQueue()
    with Recorder() as sock:
        queue.begin(sock)
        for tick in range(10):
            queue.update(sock, (subflow("192.0.2.1", 5_000_000 * tick, srtt_ms=40),), 100 + tick * 0.2)
        first, grown = sock.sizes
    assert first == FIRST_BYTES
    assert abs(grown - 25_000_000 * SPAN_MIN_S) < 500_000


def test_the_share_of_a_line_that_died_goes_with_it() -> None:
    queue = SendQueue()
    with Recorder() as sock:
        for tick in range(10):
            infos = [subflow("192.0.2.1", 1_000_000 * tick)]
            if tick < 7:  # silent from the fifth look on, withdrawn before the eighth
                infos.append(subflow("192.0.2.2", 1_000_000 * min(tick, 5)))
            queue.update(sock, tuple(infos), 100 + tick * 0.2)
            if tick == 6:
                before = sock.sizes[-1]
            if tick == 7:
                assert sock.sizes[-1] < 0.7 * before
        assert abs(sock.sizes[-1] - 5_000_000 * SPAN_MIN_S) < 200_000
