"""What a line is like, on the real network: loss by direction, captive portals."""

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from plane_lab import INET, own_lab, until

from hagw.lab.lab import Lab
from tests.attentive import metered

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.beside]

LOGIN = "http://login.example/guest"
PORTAL = f"""
import http.server
class Portal(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(302)
        self.send_header("Location", "{LOGIN}")
        self.end_headers()
http.server.HTTPServer(("0.0.0.0", 8080), Portal).serve_forever()
"""
# What a guest who has not logged in meets: HTTP goes to the portal, nothing else goes anywhere.
GUEST = """
table inet portal {
  chain redirected { type nat hook prerouting priority dstnat; iifname "cpe0" tcp dport 80 redirect to :8080; }
  chain stopped { type filter hook forward priority -10; iifname "cpe0" drop; oifname "cpe0" drop; }
}
"""

LOSSY = """
table inet lossy {
  chain f { type filter hook forward priority -10; iifname "cpe0" udp dport 5124 numgen random mod 100 < 30 drop; }
}
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with own_lab("quality") as made:
        yield made


def line(lab: Lab, name: str) -> dict[str, Any]:
    shown = lab.run("cpe", ["hagw", "status", "--json"], capture_output=True, text=True, check=True).stdout
    return next(uplink for uplink in json.loads(shown)["uplinks"] if uplink["name"] == name)


def nft(lab: Lab, node: str, rules: str) -> None:
    lab.run(node, ["nft", "-f", "-"], input=rules, text=True, check=True)


def test_loss_in_one_direction_only_is_told_as_such(lab: Lab) -> None:
    nft(lab, "isp-dsl", LOSSY)
    try:
        with metered(lab) as streams:
            stream = streams.download("lan1", INET[4])
            time.sleep(25.0)
            assert stream.is_alive()
            stream.stop()
        dsl, wifi = line(lab, "dsl"), line(lab, "wifi")
    finally:
        lab.run("isp-dsl", ["nft", "delete", "table", "inet", "lossy"], check=True)
    assert dsl["loss_up"] == pytest.approx(0.3, abs=0.15)
    assert dsl["loss_down"] <= 0.06
    assert wifi["loss_up"] <= 0.03
    assert wifi["loss_down"] <= 0.06
    assert wifi["jitter_ms"] is not None


def test_a_captive_portal_is_found_and_its_address_shown(lab: Lab) -> None:
    lab.spawn("isp-wifi", "portal", [sys.executable, "-c", PORTAL])
    nft(lab, "isp-wifi", GUEST)
    try:
        lab.link("wifi", carrier="off")
        time.sleep(0.5)
        lab.link("wifi", carrier="on")
        took_s = until(lambda: line(lab, "wifi")["reason"] == f"captive portal at {LOGIN}", 15.0, every_s=0.2)
        assert line(lab, "wifi")["state"] == "down"
        assert took_s < 8.0
    finally:
        lab.run("isp-wifi", ["nft", "delete", "table", "inet", "portal"], check=True)
    until(lambda: line(lab, "wifi")["state"] == "up", 20.0, every_s=0.2)


def test_a_line_that_only_swallows_everything_is_no_portal(lab: Lab) -> None:
    with lab.links_restored():
        lab.link("wifi", carrier="off", blackhole="both")
        time.sleep(0.5)
        lab.link("wifi", carrier="on")
        time.sleep(8.0)
        wifi = line(lab, "wifi")
    assert wifi["state"] in ("suspect", "down")
    assert "portal" not in wifi["reason"]
    until(lambda: line(lab, "wifi")["state"] == "up", 20.0, every_s=0.2)
