"""The lab's network does what its description says: delays, rates, faults, providers, servers."""

import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hagw.lab import services
from hagw.lab.lab import Lab
from hagw.lab.link import tcp_payload_share
from hagw.lab.traffic import Download, preferring, sha256_of, upload
from tests.attentive import metered, watching

pytestmark = [pytest.mark.netns, pytest.mark.slow]

HAG = {4: "198.51.100.10", 6: "2001:db8:100::10"}
INET = {4: "203.0.113.10", 6: "2001:db8:113::10"}
LINES = ("dsl", "lte", "wifi")


def ping(lab: Lab, node: str, address: str, *options: str) -> tuple[float, float | None]:
    """Return the share of answers and the median-ish (minimum) round trip in ms."""
    done = lab.run(node, ["ping", "-n", *options, address], capture_output=True, text=True)
    loss = re.search(r"([\d.]+)% packet loss", done.stdout)
    least = re.search(r"= ([\d.]+)/", done.stdout)
    assert loss is not None, done.stderr
    return 1 - float(loss[1]) / 100, float(least[1]) if least else None


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(("line", "expected_ms"), [("dsl", 24.0), ("lte", 50.0), ("wifi", 16.0)])
def test_each_line_has_its_delay(lab: Lab, line: str, expected_ms: float, family: int) -> None:
    answers, rtt_ms = ping(lab, "cpe", HAG[family], "-I", f"{line}0", "-c", "5", "-i", "0.06")
    assert answers == 1
    assert expected_ms <= (rtt_ms or 0) < expected_ms + 2


@pytest.mark.parametrize("family", [4, 6])
def test_a_lan_host_reaches_the_internet_without_hagw(lab: Lab, family: int) -> None:
    answers, rtt_ms = ping(lab, "lan1", INET[family], "-c", "4", "-i", "0.1")
    assert answers == 1
    assert 44.0 <= (rtt_ms or 0) < 47.0  # dsl and the link inet


def test_the_gateway_reaches_the_internet_over_the_link_inet(lab: Lab) -> None:
    lab.link("inet", delay="30ms")
    _, rtt_ms = ping(lab, "hag", INET[4], "-c", "3", "-i", "0.1")
    assert 60.0 <= (rtt_ms or 0) < 62.0


@pytest.mark.parametrize("direction", ["down", "up"])
def test_plain_tcp_gets_what_each_line_can_carry(lab: Lab, direction: str) -> None:
    running = {}
    with metered(lab) as streams:
        for line in LINES:
            start = streams.download if direction == "down" else streams.upload
            running[line] = start("cpe", INET[4], f"{line}0")
        rates = {line: stream.run_for(3.0).rate_bps(1.2, 3.0) for line, stream in running.items()}
    limits = {line: lab.link(line)[f"rate_{direction}_bps"] * tcp_payload_share() for line in LINES}
    assert rates == pytest.approx(limits, rel=0.05)


def test_a_rate_changes_while_traffic_runs(lab: Lab) -> None:
    def carried() -> tuple[float, int]:
        return passed_s(), lab.link("dsl")["bytes_down"]

    with watching() as passed_s, metered(lab) as streams:
        stream = streams.download("lan1", INET[4])
        time.sleep(0.8)
        lab.link("dsl", rate_down="4mbit")
        time.sleep(0.5)  # what was in the queue leaves as it was to leave
        began, before = carried()
        time.sleep(1.0)
        ended, after = carried()
        stream.stop()
    assert 8 * (after - before) / (ended - began) == pytest.approx(4e6, rel=0.05)


@pytest.mark.parametrize(("blackhole", "arrives"), [("up", False), ("down", True), ("both", False), ("none", True)])
def test_a_blackhole_is_silent_and_has_a_direction(lab: Lab, blackhole: str, arrives: bool) -> None:
    lab.link("wifi", blackhole=blackhole)
    with datagrams(lab, "wifi0") as (sender, receiver):
        sender.sendto(b"x", (HAG[4], 9999))
        receiver.settimeout(10.0 if arrives else 1.0)
        assert heard(receiver) is arrives
    answers, _ = ping(lab, "cpe", HAG[4], "-I", "wifi0", "-c", "2", "-i", "0.05", "-W", "0.3")
    assert answers == (1 if blackhole == "none" else 0)
    assert "LOWER_UP" in link_flags(lab, "wifi0")


def test_a_blackhole_swallows_what_is_under_way(lab: Lab) -> None:
    with datagrams(lab, "lte0") as (sender, receiver):
        receiver.settimeout(10.0)
        sender.sendto(b"x", (HAG[4], 9999))
        assert heard(receiver)  # and the neighbour is known: nobody waits for an answer over a line so slow
        lab.link("lte", delay="1900ms")  # the time there is to swallow it in
        sender.sendto(b"x", (HAG[4], 9999))
        assert heard(receiver)
        sender.sendto(b"x", (HAG[4], 9999))
        time.sleep(0.1)
        lab.link("lte", blackhole="up")
        receiver.settimeout(2.5)
        assert not heard(receiver)


def test_carrier_goes_and_comes_back_at_the_near_end(lab: Lab) -> None:
    lab.link("dsl", carrier="off")
    assert "NO-CARRIER" in link_flags(lab, "dsl0")
    assert ping(lab, "hag", "198.18.1.2", "-c", "1", "-W", "0.2")[0] == 0
    lab.link("dsl", carrier="on")
    assert "NO-CARRIER" not in link_flags(lab, "dsl0")
    assert ping(lab, "hag", "198.18.1.2", "-c", "2", "-i", "1.1")[0] > 0


def test_loss_loses_its_share(lab: Lab) -> None:
    lab.link("wifi", loss="20%")
    answers, _ = ping(lab, "cpe", HAG[4], "-q", "-I", "wifi0", "-c", "300", "-i", "0.002")
    assert 0.5 < answers < 0.78  # 0.8 each way


def test_links_count_ip_bytes(lab: Lab) -> None:
    ping(lab, "cpe", HAG[4], "-I", "lte0", "-c", "1")  # so that no neighbour has to be asked for
    before = lab.link("lte")["bytes_up"]
    with datagrams(lab, "lte0") as (sender, receiver):
        for _ in range(100):
            sender.sendto(bytes(972), (HAG[4], 9999))
        assert all(heard(receiver) for _ in range(100))
    assert lab.link("lte")["bytes_up"] - before == pytest.approx(100_000, abs=300)


@pytest.mark.parametrize(("line", "seen"), [("dsl", "198.18.1.2"), ("lte", "198.18.12.2"), ("wifi", "198.18.13.2")])
def test_lte_and_wifi_are_behind_their_providers_nat(lab: Lab, line: str, seen: str) -> None:
    with datagrams(lab, f"{line}0") as (sender, receiver):
        sender.sendto(b"x", (HAG[4], 9999))
        assert receiver.recvfrom(10)[1][0] == seen


@pytest.mark.parametrize(("family", "foreign"), [(4, "192.168.3.2"), (6, "2001:db8:3::2")])
def test_providers_drop_foreign_sources(lab: Lab, family: int, foreign: str) -> None:
    """The same packet with the line's own address passes."""
    own = {4: "198.18.1.2", 6: "2001:db8:1::2"}[family]
    with datagrams(lab, "dsl0", family, foreign) as (sender, receiver):
        sender.sendto(b"x", (HAG[family], 9999))
        assert not heard(receiver)
    with datagrams(lab, "dsl0", family, own) as (sender, receiver):
        sender.sendto(b"x", (HAG[family], 9999))
        assert heard(receiver)


@pytest.mark.parametrize("host", ["203.0.113.10", "203.0.113.20", "[2001:db8:113::10]", "[2001:db8:113::20]"])
def test_files_arrive_intact(lab: Lab, host: str) -> None:
    expected = sha256_of(services.web_root(lab.directory) / "1k.bin")
    for scheme in ("http", "https"):
        fetched = Download(lab, "lan1", f"{scheme}://{host}/1k.bin").wait(10)
        assert (fetched.exit_code, fetched.size_bytes, fetched.sha256) == (0, 1000, expected), fetched.error


def test_uploads_arrive_intact(lab: Lab) -> None:
    file = services.web_root(lab.directory) / "1M.bin"
    with preferring(lab, "wifi"):
        assert upload(lab, "lan2", file) == sha256_of(file)


@pytest.mark.parametrize("family", [4, 6])
def test_the_echo_speaks_first_and_answers_a_half_closed_client(lab: Lab, family: int) -> None:
    sent = bytes(range(256)) * 400
    with lab.in_namespace("lan1"):
        client = socket.create_connection((INET[family], services.ECHO_PORT), timeout=5)
    with client, client.makefile("rb") as answers:
        assert answers.readline().startswith(b"220 ")
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        assert answers.read() == sent


@contextmanager
def datagrams(
    lab: Lab, device: str, family: int = 4, source: str | None = None
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A UDP sender on a line of the CPE and a receiver on the HAG's port 9999."""
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    with lab.in_namespace("cpe"):
        sender = socket.socket(kind, socket.SOCK_DGRAM)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
    with lab.in_namespace("hag"):
        receiver = socket.socket(kind, socket.SOCK_DGRAM)
    with sender, receiver:
        if source is not None:
            sender.bind((source, 0))
        receiver.bind((HAG[family], 9999))
        receiver.settimeout(1.0)
        yield sender, receiver


def heard(receiver: socket.socket) -> bool:
    try:
        receiver.recv(2000)
    except TimeoutError:
        return False
    return True


def link_flags(lab: Lab, interface: str) -> str:
    return str(lab.run("cpe", ["ip", "-o", "link", "show", interface], capture_output=True, text=True).stdout)
