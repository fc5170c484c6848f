"""Rules under living traffic: how soon a change holds, standby that hands back, and UDP that follows its rule."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Self

import pytest
from ends import Ends
from plane_lab import INET, Echo, Server, Store, connect, figures, own_lab, pattern, read_exactly, until

from hagw.lab.lab import Lab
from hagw.lab.traffic import Meter
from tests.attentive import metered

pytestmark = [pytest.mark.netns, pytest.mark.slow]

RULE = """
rules:
  - name: NAME
    precedence: 1
    traffic: {destination: [203.0.113.10]}
    steering: {mode: MODE, uplinks: LINES}
"""
SIZE = 40_000_000
ADDRESS = {"dsl": "198.18.1.2", "lte": "198.18.12.2"}  # behind its provider's translation


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with own_lab("inforce") as made:
        made.link("dsl", rate_down="40mbit")
        made.link("lte", rate_down="40mbit")
        yield made


@pytest.fixture(scope="module")
def base(lab: Lab) -> str:
    return lab.config("cpe")


def steer(lab: Lab, base: str, name: str, mode: str, lines: str) -> None:
    """Put the rule in force."""
    file = lab.directory / "steered.yaml"
    file.write_text(base + RULE.replace("NAME", name).replace("MODE", mode).replace("LINES", lines), encoding="utf-8")
    lab.apply("cpe", file)


def carried(lab: Lab) -> dict[str, int]:
    """Return the IP bytes each line has carried down."""
    return {name: int(link["bytes_down"]) for name, link in lab.status()["links"].items()}


class Flows:
    """A new connection every 20 ms, from when until when which rule decided."""

    def __init__(self, lab: Lab, port: int) -> None:
        self._lab, self._port = lab, port
        self.begun: dict[int, float] = {}  # client port: when it was connected
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            began = time.monotonic()
            with connect(self._lab, INET[4], self._port) as client:
                client.sendall(b"x")
                assert read_exactly(client, 1) == b"x"
                self.begun[client.getsockname()[1]] = began

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(40.0)

    def by_rule(self) -> dict[str, list[float]]:
        """Return by rule when its connections were begun."""
        found: dict[str, list[float]] = {}
        for flow in Ends(self._lab).flows():
            began = self.begun.get(flow["client_port"])
            if began is not None:
                found.setdefault(flow["rule"], []).append(began)
        return {rule: sorted(times) for rule, times in found.items()}


CHANGES = (("first", "lte", "dsl"), ("second", "dsl", "lte"), ("third", "lte", "dsl"))


def test_a_changed_rule_holds_for_new_connections_at_once(lab: Lab, base: str) -> None:
    late_ms = []
    with Echo(lab) as echo:
        steer(lab, base, "before", "load-balancing", "[dsl]")
        for name, line, _ in CHANGES:
            with Flows(lab, echo.port) as flows:
                until(lambda: len(flows.begun) >= 5, 20.0)
                steer(lab, base, name, "load-balancing", f"[{line}]")
                ended, count = time.monotonic(), len(flows.begun)
                until(lambda: len(flows.begun) >= count + 12, 20.0)  # noqa: B023
            begun = flows.by_rule()
            late_ms.append(1000 * (max(max(times) for rule, times in begun.items() if rule != name) - ended))
            assert name in begun
    figures("the last connection by the old rule, after `hagw apply` ended", "ms", late_ms)
    assert max(late_ms) < 200


def test_a_changed_rule_moves_a_connection_that_lives(lab: Lab, base: str) -> None:
    moved_ms = []
    with metered(lab) as streams:
        steer(lab, base, "before", "load-balancing", "[dsl]")
        stream = streams.download("lan2", INET[4])
        for name, line, other in CHANGES:
            until(lambda: rate(lab)[other] > 8.0, 10.0)  # noqa: B023
            steer(lab, base, name, "load-balancing", f"[{line}]")
            ended = time.monotonic()
            until(lambda: rate(lab)[line] > 8.0, 10.0)  # noqa: B023
            moved_ms.append(1000 * (time.monotonic() - ended))
        assert stream.is_alive()
        stream.stop()
    figures("a living download carried by the new line, after `hagw apply` ended", "ms", moved_ms)
    assert max(moved_ms) < 3000


def rate(lab: Lab, span_s: float = 0.2) -> dict[str, float]:
    """Return what the lines carry now, in Mbit/s."""
    before, began = carried(lab), time.monotonic()
    time.sleep(span_s)
    after, span = carried(lab), time.monotonic() - began
    return {name: (after[name] - before[name]) * 8e-6 / span for name in before}


def test_standby_takes_over_and_hands_back_without_a_byte_lost(lab: Lab, base: str) -> None:
    arrived = bytearray()
    meter = Meter(time.monotonic())

    def fetch(port: int) -> None:
        with connect(lab, INET[4], port) as client:
            client.sendall(f"down {SIZE} 3\n".encode())
            while received := client.recv(256 * 1024):
                meter.add(time.monotonic(), len(received))
                arrived.extend(received)

    steer(lab, base, "standby", "active-standby", "[dsl, lte]")
    with lab.links_restored(), Server(lab, Store()) as store:
        thread = threading.Thread(target=fetch, args=(store.port,), daemon=True)
        thread.start()
        until(lambda: len(arrived) > 1_000_000, 5.0)
        lab.link("dsl", blackhole="both")
        broken = carried(lab)
        until(lambda: carried(lab)["lte"] - broken["lte"] > 3_000_000, 8.0)
        lab.link("dsl", blackhole="none")
        healed = carried(lab)
        until(lambda: carried(lab)["dsl"] - healed["dsl"] > 500_000, 8.0)
        back = carried(lab)
        thread.join(40.0)
        ended = carried(lab)
    gap_ms = 1000 * meter.longest_gap_s()
    figures("active-standby: longest pause of a download whose line died and came back", "ms", [gap_ms])
    assert arrived == pattern(SIZE, 3)
    assert ended["dsl"] - back["dsl"] > 4 * (ended["lte"] - back["lte"]), "it is the active line's again"
    assert gap_ms < 1000


class Datagrams:
    """A server of UDP in `inet` that answers each datagram with the address it saw it from."""

    def __init__(self, lab: Lab, port: int) -> None:
        with lab.in_namespace("inet"):
            self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind((INET[4], port))
        self._sock.settimeout(0.2)
        self._is_running = True
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_running = False
        self._thread.join(5.0)
        self._sock.close()

    def _run(self) -> None:
        while self._is_running:
            with contextlib.suppress(TimeoutError):
                _, client = self._sock.recvfrom(2048)
                self._sock.sendto(str(client[0]).encode(), client)


def seen_from(sock: socket.socket) -> str | None:
    """Ask the server which address it sees; None if no answer comes in time. Raise ConnectionRefusedError."""
    try:
        sock.send(b"?")
        return sock.recv(100).decode()
    except TimeoutError:
        return None


@contextlib.contextmanager
def quic(lab: Lab, timeout_s: float) -> Iterator[socket.socket]:
    """A client of QUIC's port, as far as a network can tell: one flow of UDP."""
    with lab.in_namespace("lan1"):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sock:
        sock.settimeout(timeout_s)
        sock.connect((INET[4], 443))
        yield sock


def test_quic_is_refused_where_tcp_is_bonded_and_follows_its_rule_elsewhere(lab: Lab, base: str) -> None:
    with lab.links_restored(), Datagrams(lab, 443):
        steer(lab, base, "bonded", "load-balancing", "[dsl, lte]")
        began = time.monotonic()
        with quic(lab, 2.0) as sock, pytest.raises(ConnectionRefusedError):
            seen_from(sock)
        refused_ms = 1000 * (time.monotonic() - began)
        with connect(lab, INET[4], 443) as tcp:
            port = tcp.getsockname()[1]
            until(lambda: (port, "converted") in [(f["client_port"], f["path"]) for f in Ends(lab).flows()], 20.0)
        steer(lab, base, "pinned", "direct", "[lte, dsl]")
        with quic(lab, 0.1) as sock:
            until(lambda: seen_from(sock), 20.0)
            sock.settimeout(2.0)  # from here on every answer counts, however late
            (first,) = {seen_from(sock) for _ in range(10)}
            line, other = sorted(ADDRESS, key=lambda name: ADDRESS[name] != first)
            assert ADDRESS[line] == first
            lab.link(line, blackhole="both")
            sock.settimeout(0.1)
            took_ms = 1000 * until(lambda: seen_from(sock) == ADDRESS[other], 10.0, every_s=0.01)
            sock.settimeout(2.0)
            assert {seen_from(sock) for _ in range(10)} == {ADDRESS[other]}
    figures("QUIC where TCP is bonded: refused after", "ms", [refused_ms])
    figures("QUIC by its rule: over the other line after its line died", "ms", [took_ms])
    assert refused_ms < 500
