"""Plain TCP of a LAN host over all lines: it arrives intact, ends as it should, and leaves nothing behind."""

import hashlib
import json
import os
import socket
import statistics
import threading
import time
from collections.abc import Iterator

import pytest
from ends import Ends
from plane_lab import (
    INET,
    INET_OTHER,
    Server,
    Store,
    connect,
    figures,
    own_lab,
    pattern,
    read_line,
    read_to_end,
    reset,
    until,
)

from hagw.lab.lab import Lab
from hagw.lab.services import ECHO_PORT

pytestmark = [pytest.mark.netns, pytest.mark.beside]

KIB, MIB = 1 << 10, 1 << 20
SIZES = (0, 1, 1447, 1448, 1449, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, MIB)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with own_lab("flows") as made:
        yield made


@pytest.fixture(scope="module")
def ends(lab: Lab) -> Ends:
    made = Ends(lab)
    made.remember()
    return made


@pytest.fixture(scope="module")
def store(lab: Lab) -> Iterator[Store]:
    served = Store()
    with Server(lab, served):
        yield served


def digest(data: bytes) -> tuple[int, str]:
    return len(data), hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("size", [*SIZES, pytest.param(20 * MIB, marks=pytest.mark.slow)])
def test_downloads_arrive_intact(lab: Lab, ends: Ends, store: Store, size: int, family: int) -> None:
    with connect(lab, INET[family], 5310) as client:
        client.sendall(f"down {size} {size}\n".encode())
        assert read_to_end(client) == digest(pattern(size, size))
        port = client.getsockname()[1]
    flow = ends.flow_of(port)
    assert (flow["path"], flow["server"], flow["bytes_down"]) == ("converted", INET[family], size)


@pytest.mark.parametrize(
    ("size", "family"),
    [*((size, family) for size in SIZES for family in (4, 6)), pytest.param(20 * MIB, 6, marks=pytest.mark.slow)],
)
def test_uploads_arrive_intact(lab: Lab, ends: Ends, store: Store, size: int, family: int) -> None:
    """The client ends first; the server's answer comes after that."""
    data = pattern(size, size + 1)
    with connect(lab, INET[family], 5310) as client:
        client.sendall(b"up\n" + data)
        client.shutdown(socket.SHUT_WR)
        assert read_line(client) == "{} {}".format(*digest(data))
        assert client.recv(1) == b""
        port = client.getsockname()[1]
    flow = ends.flow_of(port)
    assert (flow["path"], flow["bytes_up"]) == ("converted", size + 3)


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.parametrize("direction", ["down", "up"])
def test_200_megabytes_arrive_intact(lab: Lab, store: Store, direction: str) -> None:
    data = pattern(200_000_000, 5)
    with lab.links_restored():
        for line in ("dsl", "lte", "wifi"):
            lab.link(line, rate_down="100mbit", rate_up="100mbit")
        with connect(lab, INET[4], 5310) as client:
            if direction == "down":
                client.sendall(b"down 200000000 5\n")
                assert read_to_end(client) == digest(data)
            else:
                client.sendall(b"up\n" + data)
                client.shutdown(socket.SHUT_WR)
                assert read_line(client) == "{} {}".format(*digest(data))


@pytest.mark.parametrize("size", [0, 3 * MIB])
def test_the_server_may_end_first(lab: Lab, store: Store, size: int) -> None:
    """Its end arrives while the client goes on sending for as long as it likes."""
    down, up = pattern(size, 6), pattern(size + 1, 7)
    with connect(lab, INET[4], 5310) as client:
        client.sendall(f"first {size} 6 {size}\n".encode())
        assert read_to_end(client) == digest(down)
        time.sleep(0.1)
        client.sendall(up)
        client.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + 10
        while str(size) not in store.taken:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert store.taken[str(size)] == digest(up)


def test_both_directions_at_once(lab: Lab) -> None:
    """Like an editor's session with a terminal: neither side waits for the other."""
    up, down = pattern(4 * MIB, 8), pattern(4 * MIB, 9)
    came: list[tuple[int, str]] = []

    def serve(sock: socket.socket) -> None:
        reader = threading.Thread(target=lambda: came.append(read_to_end(sock)))
        reader.start()
        sock.sendall(down)
        sock.shutdown(socket.SHUT_WR)
        reader.join()

    with Server(lab, serve, port=5312), connect(lab, INET[4], 5312) as client:
        writer = threading.Thread(target=lambda: (client.sendall(up), client.shutdown(socket.SHUT_WR)))
        writer.start()
        assert read_to_end(client) == digest(down)
        writer.join()
        deadline = time.monotonic() + 10
        while not came:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert came == [digest(up)]


@pytest.mark.parametrize("direction", ["down", "up"])
@pytest.mark.parametrize("resetting", ["client", "server"])
def test_a_reset_in_mid_transfer_is_a_reset_and_leaves_nothing(
    lab: Lab, ends: Ends, resetting: str, direction: str
) -> None:
    moved = threading.Event()
    seen: list[str] = []

    def transfer(sock: socket.socket, *, sends: bool, resets: bool) -> None:
        """Move bytes until the end; once something was moved, one side resets."""
        total = 0
        try:
            while total < 64 * MIB:
                total += sock.send(bytes(64 * KIB)) if sends else len(sock.recv(64 * KIB)) or 64 * MIB
                if total > 2 * MIB:
                    moved.set()
                    if resets:
                        reset(sock)
                        return
            seen.append("end")
        except OSError as error:
            seen.append(type(error).__name__)

    def serve(sock: socket.socket) -> None:
        transfer(sock, sends=direction == "down", resets=resetting == "server")

    with Server(lab, serve, port=5312):
        client = connect(lab, INET[4], 5312)
        with client:
            transfer(client, sends=direction == "up", resets=resetting == "client")
            assert moved.is_set()
            deadline = time.monotonic() + 5
            while not seen:
                assert time.monotonic() < deadline
                time.sleep(0.01)
    assert seen[0] in ("ConnectionResetError", "BrokenPipeError")
    ends.assert_nothing_left()


def sixty_four(lab: Lab, failures: list[str]) -> list[threading.Thread]:
    """Begin 64 transfers: half of them down, half up, from both LAN hosts, to two addresses of both families."""

    def one(number: int) -> None:
        size = 100_000 + 1_009 * number
        address = (INET, INET_OTHER)[number // 2 % 2][4 if number // 4 % 2 else 6]
        data = pattern(size, number)
        with socks[number] as client:
            client.connect((address, 5310))
            if number % 2:
                client.sendall(f"down {size} {number}\n".encode())
                good = read_to_end(client) == digest(data)
            else:
                client.sendall(b"up\n" + data)
                client.shutdown(socket.SHUT_WR)
                good = read_line(client) == "{} {}".format(*digest(data))
        if not good:
            failures.append(f"{number}: {size} bytes with {address}")

    socks = {}
    for number in range(64):
        with lab.in_namespace("lan1" if number % 3 else "lan2"):
            socks[number] = socket.socket(socket.AF_INET if number // 4 % 2 else socket.AF_INET6)
        socks[number].settimeout(30)
    threads = [threading.Thread(target=one, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    return threads


def test_64_at_once(lab: Lab, ends: Ends, store: Store) -> None:
    failures: list[str] = []
    for thread in sixty_four(lab, failures):
        thread.join()
    assert not failures
    ends.assert_nothing_left()


@pytest.mark.slow
@pytest.mark.alone
def test_half_closed_connections_outlive_a_line_that_is_suspected(lab: Lab, ends: Ends) -> None:
    """Begun on demand and half closed at once they have one subflow, and the HAG's kernel lets no other join."""
    asked: list[int] = []
    answers: list[bytes] = []
    may_answer = threading.Event()

    def serve(sock: socket.socket) -> None:
        size, _ = read_to_end(sock)
        asked.append(size)
        assert may_answer.wait(30.0)
        sock.sendall(b"%d" % size)

    def ask(number: int) -> None:
        with connect(lab, INET[4], 5313) as client:
            client.sendall(bytes(number))
            client.shutdown(socket.SHUT_WR)
            if client.recv(16) == b"%d" % number:
                answers.append(b"")

    with Server(lab, serve, port=5313):
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(1, 33)]
        for thread in threads:
            thread.start()
        until(lambda: len(asked) == 32, 20.0)
        lab.link("wifi", blackhole="both")  # the line with the shortest round trip begins them
        time.sleep(0.5)
        may_answer.set()
        until(lambda: state_of(lab, "wifi") == "suspect", 10.0)
        lab.link("wifi", blackhole="none")
        for thread in threads:
            thread.join()
    assert len(answers) == 32
    ends.assert_nothing_left(15.0)


def state_of(lab: Lab, line: str) -> str:
    status = json.loads(lab.run("cpe", ["hagw", "status", "--json"], capture_output=True, text=True).stdout)
    return next(uplink["state"] for uplink in status["uplinks"] if uplink["name"] == line)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("family", [4, 6])
def test_a_server_that_speaks_first_is_not_kept_waiting(lab: Lab, family: int) -> None:
    """Best line and the link behind the HAG have a round trip of 36 ms; direct TCP would need twice that.

    Comes after the best line was lost: warm connections are to begin over it again.
    """
    times = []
    for _ in range(9):
        began = time.monotonic()
        with connect(lab, INET[family], ECHO_PORT) as client:
            assert read_line(client).startswith("220 ")
            times.append(1000 * (time.monotonic() - began))
            client.sendall(b"hello\n")
            assert read_line(client) == "hello"
    figures(f"banner over IPv{family}", "ms", times)
    assert statistics.median(times) <= 2 * 36 + 2


@pytest.mark.parametrize("family", [4, 6])
def test_a_refused_port_is_refused_and_the_second_time_by_the_server_itself(lab: Lab, family: int) -> None:
    port = 81 + family
    with connect(lab, INET[family], port) as client, pytest.raises(ConnectionResetError):
        client.recv(1)

    def is_refused() -> bool:
        try:
            connect(lab, INET[family], port).close()
        except ConnectionRefusedError:
            return True
        return False

    until(is_refused, 10.0, every_s=0.3)
    with connect(lab, INET_OTHER[family], port) as client, pytest.raises(ConnectionResetError):
        client.recv(1)  # another server: known to nobody yet


def test_clients_that_only_connect_leave_nothing(lab: Lab, ends: Ends, store: Store) -> None:
    before = ends.total("cpe", "flows_total")
    for number in range(40):
        client = connect(lab, INET[4], 5310)
        if number % 2:
            reset(client)
        else:
            client.close()
    ends.assert_nothing_left()
    assert ends.total("cpe", "flows_total") - before == 40


def test_the_workers_were_never_replaced(lab: Lab, ends: Ends) -> None:
    """Comes last: whatever was done to them, the same processes have served everything."""
    for node in ("cpe", "hag"):
        assert all(stats["accept_errors"] == 0 for stats in ends.stats(node))
        assert sorted(lab.pids(node, "worker")) == sorted(stats["pid"] for stats in ends.stats(node))
        assert all(os.path.exists(f"/proc/{stats['pid']}") for stats in ends.stats(node))
