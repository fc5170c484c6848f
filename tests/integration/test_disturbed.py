"""Somebody else changes the CPE's network state under load: it is put right quickly, and connections live on."""

import json
import select
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from plane_lab import INET, figures, own_lab, until

from hagw.lab.lab import Lab
from hagw.lab.traffic import Streams

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.beside]

TRIALS = 20
SOL_NETLINK, ADD_MEMBERSHIP = 270, 1
NEWTABLE, DELTABLE = 10 << 8, 10 << 8 | 2


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with own_lab("drift") as made:
        yield made


class TableEvents:
    """What the kernel tells everybody about table `inet hagw` of a node, and when it arrived here."""

    def __init__(self, lab: Lab, node: str = "cpe") -> None:
        with lab.in_namespace(node):
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 12)
        self._socket.setsockopt(socket.SOL_SOCKET, 33, 1 << 20)
        self._socket.bind((0, 0))
        self._socket.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, 7)

    def wait(self, kind: int, within_s: float) -> float:
        """Return when (monotonic) a table message of this kind arrived."""
        deadline = time.monotonic() + within_s
        while select.select([self._socket], [], [], max(0.0, deadline - time.monotonic()))[0]:
            messages = self._socket.recv(65536)
            at = time.monotonic()
            if kind in _kinds(messages):
                return at
        raise AssertionError(f"no message of kind {kind} within {within_s} s")

    def forget(self) -> None:
        """Pass over what has arrived so far."""
        while select.select([self._socket], [], [], 0.0)[0]:
            self._socket.recv(65536)

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()


def _kinds(messages: bytes) -> Iterator[int]:
    offset = 0
    while offset + 16 <= len(messages):
        size, kind = struct.unpack_from("=IH", messages, offset)
        if b"\0hagw\0" in messages[offset + 16 : offset + size] or b"hagw\0" in messages[offset + 20 : offset + 32]:
            yield kind
        offset += (size + 3) & ~3


@contextmanager
def table_events(lab: Lab) -> Iterator[TableEvents]:
    events = TableEvents(lab)
    try:
        yield events
    finally:
        events.close()


def drift(lab: Lab) -> dict[str, Any]:
    """Return the drift account of the CPE's status."""
    done = lab.run("cpe", ["hagw", "status", "--json"], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)["drift"]
    return found


REPAIRS = {
    "ip rule flush": ("ip rule flush", "ip rule"),
    "ip -6 rule flush": ("ip -6 rule flush", "ip -6 rule"),
    "rules of one line deleted": ("ip rule del priority 5103; ip rule del priority 5141", "ip rule"),
    "a line's table flushed": ("ip route flush table 5101", "ip route show table 5101"),
    "a line's IPv6 table flushed": ("ip -6 route flush table 5101", "ip -6 route show table 5101"),
    "the best line's route deleted": ("ip route del default table 5191", "ip route show table 5191"),
    "the workers' route deleted": ("ip route flush table 5190", "ip route show table 5190"),
    "a route replaced": (
        "ip route replace default via 100.64.2.1 dev lte0 table 5101 proto 104 onlink",
        "ip route show table 5101",
    ),
    "forwarding switched off": ("sysctl -qw net.ipv4.ip_forward=0", "sysctl net.ipv4.ip_forward"),
    "a line's reverse path filter": (
        "sysctl -qw net.ipv4.conf.lte0.rp_filter=1",
        "sysctl net.ipv4.conf.lte0.rp_filter",
    ),
    "a chain of the table flushed": (
        "nft flush chain inet hagw prerouting",
        "nft -s list chain inet hagw prerouting",
    ),
}


@pytest.mark.parametrize("what", REPAIRS)
def test_what_others_change_is_put_right_within_a_second_and_connections_live_on(
    lab: Lab, streams: Streams, what: str
) -> None:
    tamper, show = REPAIRS[what]

    def shown() -> str:
        done: str = lab.run("cpe", ["sh", "-c", show], capture_output=True, text=True, check=True).stdout
        return done

    before, counted = shown(), drift(lab)["repairs"]
    down, up = streams.download("lan1", INET[4]), streams.upload("lan2", INET[6])
    time.sleep(0.7)
    took_ms = []
    begun_s = down.elapsed_s(), up.elapsed_s()
    for _ in range(3):
        lab.run("cpe", ["sh", "-c", tamper], check=True)
        took_ms.append(1000 * until(lambda: shown() == before, 10.0, every_s=0.005))
        time.sleep(0.3)
    gaps = [
        stream.meter.longest_gap_s(begin_s, stream.elapsed_s())
        for stream, begin_s in zip((down, up), begun_s, strict=True)
    ]
    figures(f"{what}: put right after", "ms", took_ms)
    print(f"{what}: longest gap {1000 * max(gaps):.0f} ms")
    assert down.is_alive()
    assert up.is_alive()
    down.stop(), up.stop()
    assert max(took_ms) < 1000
    assert max(gaps) < 1.0
    until(lambda: drift(lab)["repairs"] >= counted + 3, 10.0)


UNANNOUNCED = {
    "cpe": (
        "sysctl -qw net.mptcp.pm_type=0 net.ipv4.tcp_migrate_req=0",
        "sysctl net.mptcp.pm_type net.ipv4.tcp_migrate_req",
    ),
    "hag": ("ip mptcp limits set subflow 1 add_addr_accepted 1", "ip mptcp limits show"),
}


def test_what_the_kernel_tells_nobody_of_is_put_right_within_seconds_and_counted(lab: Lab) -> None:
    def shown() -> list[str]:
        return [lab.run(node, show.split(), capture_output=True, text=True, check=True).stdout for node, show in shows]

    shows = [(node, show) for node, (_, show) in UNANNOUNCED.items()]
    before, counted = shown(), drift(lab)["lost"]["sysctls"]
    for node, (tamper, _) in UNANNOUNCED.items():
        lab.run(node, tamper.split(), check=True)
    took_s = until(lambda: shown() == before, 8.0, every_s=0.1)
    print(f"parameters at the CPE, limits at the HAG: put right after {took_s:.1f} s")
    until(lambda: drift(lab)["lost"]["sysctls"] >= counted + 2, 5.0)


@pytest.mark.alone
@pytest.mark.parametrize("family", [4, 6])
def test_a_flushed_ruleset_is_back_within_20_ms_and_converted_connections_live_on(
    lab: Lab, streams: Streams, family: int
) -> None:
    before = drift(lab)
    down, up = streams.download("lan1", INET[family]), streams.upload("lan2", INET[family])
    time.sleep(1.0)
    took_ms = []
    with table_events(lab) as events:
        for _ in range(TRIALS):
            events.forget()
            lab.run("cpe", ["nft", "flush", "ruleset"], check=True)
            gone = events.wait(DELTABLE, 10.0)
            took_ms.append(1000 * (events.wait(NEWTABLE, 10.0) - gone))
            time.sleep(0.25)
    figures(f"IPv{family}: nft flush ruleset: table back after", "ms", took_ms)
    end_s = down.elapsed_s()
    assert down.is_alive()
    assert up.is_alive()
    assert down.meter.rate_bps(end_s - 0.5, end_s) > 5e6
    down.stop(), up.stop()
    assert sorted(took_ms)[-3] < 20  # but for two in which the machine did something else
    assert max(took_ms) < 200
    until(lambda: drift(lab)["repairs"] >= before["repairs"] + TRIALS, 10.0)  # the last one is told of a moment later
    after = drift(lab)
    assert after["lost"]["table"] == before["lost"]["table"] + TRIALS
    assert after["repairs"] == before["repairs"] + TRIALS
    assert after["last"]["repaired"] == ["put nft table inet hagw"]


@pytest.fixture
def leaky(lab: Lab) -> Iterator[None]:
    """Providers that carry what LAN hosts send as it is, both ways: the server sees it, and answers."""
    for isp in ("isp-dsl", "isp-lte", "isp-wifi"):
        lab.run(isp, ["nft", "flush", "chain", "inet", "isp", "forward"], check=True)
    hops = (("core", "198.18.11.2", "2001:db8:11::2"), ("isp-dsl", "198.18.1.2", "2001:db8:1::2"))
    for node, via4, via6 in hops:
        lab.run(node, ["ip", "route", "add", "192.168.77.0/24", "via", via4], check=True)
        lab.run(node, ["ip", "route", "add", "fd77::/64", "via", via6], check=True)
    yield
    for node, _, _ in hops:
        lab.run(node, ["ip", "route", "del", "192.168.77.0/24"], check=True)
        lab.run(node, ["ip", "route", "del", "fd77::/64"], check=True)


def counter(lab: Lab, name: str) -> int:
    """Return the packets that a counter of the CPE's table has counted."""
    shown = lab.run("cpe", ["nft", "-j", "list", "counter", "inet", "hagw", name], capture_output=True, check=True)
    found: int = json.loads(shown.stdout)["nftables"][-1]["counter"]["packets"]
    return found


@pytest.mark.alone  # the table has to be back before the first reset is: 24 ms
@pytest.mark.parametrize("family", [4, 6])
def test_resets_for_packets_that_left_as_they_were_do_not_reach_the_host(
    lab: Lab, streams: Streams, leaky: None, family: int
) -> None:
    """Without the table a host's packets go to the server itself, which has never heard of the connection."""
    down, up = streams.download("lan1", INET[family]), streams.upload("lan2", INET[family])
    time.sleep(1.0)
    strays = 0
    for _ in range(10):
        lab.run("cpe", ["nft", "flush", "ruleset"], check=True)
        time.sleep(0.8)  # longer than a full line's round trip: else one removal's resets arrive during the next
        strays += counter(lab, "strays")  # the table is new, it counts from zero
    print(f"IPv{family}: {strays} packets dropped after 10 flushes")
    assert strays > 0
    assert down.is_alive()
    assert up.is_alive()
    down.stop(), up.stop()


def states(lab: Lab) -> dict[str, str]:
    done = lab.run("cpe", ["hagw", "status", "--json"], capture_output=True, text=True, check=True)
    return {line["name"]: line["state"] for line in json.loads(done.stdout)["uplinks"]}


@pytest.mark.alone  # gaps of less than a second
def test_default_routes_that_somebody_deletes_are_not_missed(lab: Lab, streams: Streams) -> None:
    """The main table's are the system's: they stay away, and lines go on with the router they had."""
    own = lab.run("cpe", ["ip", "route", "show", "default"], capture_output=True, text=True, check=True).stdout
    down, up = streams.download("lan1", INET[4]), streams.upload("lan2", INET[4])
    time.sleep(0.7)
    begun_s = down.elapsed_s(), up.elapsed_s()
    try:
        lab.run("cpe", ["ip", "route", "flush", "default"], check=True)
        time.sleep(1.2)  # longer than any burst of events is waited for
        tables = [f"510{slot}" for slot in (1, 2, 3)]
        shown = [
            lab.run("cpe", ["ip", "route", "show", "table", table], capture_output=True, text=True, check=True).stdout
            for table in tables
        ]
        new = streams.download("lan2", INET[4])
        until(lambda: new.meter.rate_bps(0.0, new.elapsed_s()) > 0, 10.0)
        gaps = [
            stream.meter.longest_gap_s(begin_s, stream.elapsed_s())
            for stream, begin_s in zip((down, up), begun_s, strict=True)
        ]
        until(lambda: states(lab) == dict.fromkeys(("dsl", "lte", "wifi"), "up"), 5.0, every_s=0.2)
    finally:
        for line in own.splitlines():
            lab.run("cpe", ["ip", "route", "replace", *line.split()], check=True)
    print(f"default routes deleted: longest gap {1000 * max(gaps):.0f} ms")
    assert [table for table, text in zip(tables, shown, strict=True) if not text.startswith("default via")] == []
    assert all(stream.is_alive() for stream in (down, up, new))
    down.stop(), up.stop(), new.stop()
    assert max(gaps) < 0.5
