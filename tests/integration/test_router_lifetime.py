"""A LAN host loses its IPv6 default route while IPv6 leads nowhere, and gets it back; dnsmasq advertises."""

import json
import subprocess
import time
from collections.abc import Iterator

import pytest
from plane_lab import INET, figures, own_lab, until

from hagw.lab import netns
from hagw.lab.lab import Lab

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.beside]

LIMIT_S = 3.0
LINES = {"dsl0": "2001:db8:1::1", "wifi0": "2001:db8:3::1", "lte0": "2001:db8:2::1"}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with own_lab("ra") as made:
        # While hosts send something, the gateway is asked several times a second what it reaches; else once a minute.
        pings = made.popen("lan2", ["ping", "-ni0.2", INET[4]], stdout=subprocess.DEVNULL)
        yield made
        pings.terminate()
        pings.wait(5)


@pytest.fixture(scope="module")
def daemon(lab: Lab) -> Iterator[subprocess.Popen[bytes]]:
    """dnsmasq advertises on the CPE, and lan1 believes it."""
    host = lab.namespace("lan1")
    netns.ip_batch(host, ["route del default via fd77::1"])
    with lab.in_namespace("lan1"):
        for key, value in (("accept_ra", "2"), ("autoconf", "1")):
            with open(f"/proc/sys/net/ipv6/conf/eth0/{key}", "w") as file:
                file.write(value)
    argv = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--pid-file=", "--user=root"]
    argv += ["--enable-ra", "--dhcp-range=fd77::,ra-only,64,1800", "--interface=lan0", "--bind-interfaces"]
    process = lab.popen("cpe", [*argv, "--dhcp-leasefile=/dev/null"], stdout=subprocess.DEVNULL)
    try:
        until(lambda: default_route(lab), 10.0)
        yield process
    finally:
        process.terminate()
        process.wait(5)


def default_route(lab: Lab) -> str:
    argv = ["ip", "-6", "route", "show", "default", "proto", "ra"]
    return lab.run("lan1", argv, capture_output=True, text=True).stdout.strip()


def converts_ipv6(lab: Lab) -> bool:
    """Tell whether the gateway is known to reach IPv6."""
    done = lab.run("cpe", ["hagw", "status", "--json"], capture_output=True, text=True, check=True)
    return bool(json.loads(done.stdout)["intercepting_ipv6"])


def addresses(lab: Lab) -> str:
    argv = ["ip", "-6", "-o", "address", "show", "dev", "eth0", "dynamic"]
    return lab.run("lan1", argv, capture_output=True, text=True).stdout.strip()


def routes(lab: Lab, verb: str, *lines: str) -> None:
    """Take the lines' IPv6 routers away, or give them back."""
    number = {line: 100 + at for at, line in enumerate(LINES)}
    commands = [f"route {verb} ::/0 via {LINES[line]} dev {line} metric {number[line]}" for line in lines]
    netns.ip_batch(lab.namespace("cpe"), commands)


def silence_ipv6_of_hag(lab: Lab, verb: str) -> None:
    netns.ip_batch(lab.namespace("hag"), [f"route {verb} ::/0 via 2001:db8:100::1"])


@pytest.fixture(autouse=True)
def _as_it_was(lab: Lab) -> Iterator[None]:
    """Whatever a test that failed has taken away, the next one finds it."""
    yield
    routes(lab, "replace", *LINES)
    silence_ipv6_of_hag(lab, "replace")


def test_nothing_is_said_where_the_system_says_nothing(lab: Lab) -> None:
    lab.run("cpe", ["ip", "-6", "route", "flush", "default"], check=True)
    silence_ipv6_of_hag(lab, "del")
    with lab.in_namespace("lan1"):
        sniffer = subprocess.Popen(
            ["timeout", "4", "tcpdump", "-nli", "eth0", "icmp6 and ip6[40] == 134"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    said, _ = sniffer.communicate()
    routes(lab, "add", *LINES)
    silence_ipv6_of_hag(lab, "add")
    assert said.strip() == b""


def test_a_host_loses_its_route_and_gets_it_back(lab: Lab, daemon: subprocess.Popen[bytes]) -> None:
    lost, found = [], []
    for _ in range(2):
        silence_ipv6_of_hag(lab, "del")  # the gateway's echoes say so
        lab.run("cpe", ["ip", "-6", "route", "flush", "default"], check=True)
        began = time.monotonic()
        until(lambda: not default_route(lab), 20.0)
        lost.append(time.monotonic() - began)
        assert addresses(lab), "they stay"
        # The daemon's own next word, here asked for by a host, does not bring the route back for long.
        lab.run("lan1", ["ip", "link", "set", "eth0", "down"])
        lab.run("lan1", ["ip", "link", "set", "eth0", "up"])
        until(lambda: addresses(lab), 10.0)
        time.sleep(1.5)
        until(lambda: not default_route(lab), LIMIT_S)
        routes(lab, "add", *LINES)
        silence_ipv6_of_hag(lab, "add")
        began = time.monotonic()
        until(lambda: default_route(lab), 20.0)
        found.append(time.monotonic() - began)
        netns.ip_batch(lab.namespace("lan1"), ["route replace default via 192.168.77.1"])
        until(lambda: lab.run("lan1", ["ping", "-nc1", "-W1", INET[6]], capture_output=True).returncode == 0, 5.0)
    figures("IPv6 lost everywhere: a host's default route is gone after", "ms", [1000 * each for each in lost])
    figures("IPv6 is back: a host has its default route after", "ms", [1000 * each for each in found])
    assert max(*lost, *found) < LIMIT_S


def test_a_host_keeps_its_route_while_a_gateway_or_a_line_has_ipv6(lab: Lab, daemon: subprocess.Popen[bytes]) -> None:
    until(lambda: converts_ipv6(lab), 20.0)
    lab.run("cpe", ["ip", "-6", "route", "flush", "default"], check=True)
    time.sleep(2.5)
    assert default_route(lab), "connections are converted"
    routes(lab, "add", "lte0")
    silence_ipv6_of_hag(lab, "del")
    time.sleep(2.5)
    assert default_route(lab), "one line has it"
    routes(lab, "add", "dsl0", "wifi0")
    silence_ipv6_of_hag(lab, "add")
