"""Uplinks that hagw finds and configures itself, with the daemon running."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from callers import BODY_BYTES, document, fetch, until, wait_state

from hagw.lab.lab import Lab

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.beside]


def uplink(lab: Lab, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in document(lab, "cpe", "status")["uplinks"] if each["name"] == name)
    return found


@pytest.fixture
def matched(lab: Lab, tmp_path: Path) -> Iterator[Lab]:
    """Line dsl is matched by name; lte, whose interface starts bare and switched off, is hagw's to configure."""
    before = lab.config("cpe")
    file = tmp_path / "cpe.yaml"
    config = yaml.safe_load(before)
    dsl, lte = config["uplinks"][:2]
    del dsl["interface"]
    dsl["match"] = {"name": "dsl*"}
    lte |= {"address": "static", "addresses": ["100.64.2.2/24", "2001:db8:2::2/64"], "mtu": 1400}
    lte |= {"gateway4": "100.64.2.1", "gateway6": "2001:db8:2::1"}
    file.write_text(yaml.safe_dump(config))
    lab.hagw_stop("cpe")
    lab.run("cpe", ["sh", "-c", "ip address flush dev lte0 scope global; ip link set lte0 down"], check=True)
    lab.apply("cpe", file)
    lab.hagw_start("cpe")
    yield lab
    lab.hagw_stop("cpe")
    lab.run("cpe", ["ip", "link", "set", "lte0", "up"], check=True)
    for address in ("100.64.2.2/24", "2001:db8:2::2/64"):
        lab.run("cpe", ["ip", "address", "replace", address, "dev", "lte0"], check=True)
    for default in ("100.64.2.1", "2001:db8:2::1"):
        lab.run(
            "cpe", ["ip", "route", "replace", "default", "via", default, "dev", "lte0", "metric", "300"], check=True
        )
    file.write_text(before)
    lab.apply("cpe", file)
    lab.hagw_start("cpe")


def test_lines_are_found_configured_repaired_and_followed(matched: Lab) -> None:
    wait_state(matched, "bonded")
    assert uplink(matched, "dsl")["interface"] == "dsl0"
    shown = matched.run("cpe", ["ip", "address", "show", "lte0"], capture_output=True, text=True).stdout
    assert "mtu 1400" in shown
    assert "2001:db8:2::2/64" in shown
    matched.run("cpe", ["ip", "address", "del", "100.64.2.2/24", "dev", "lte0"], check=True)
    until(lambda: "100.64.2.2" in matched.run("cpe", ["ip", "address"], capture_output=True, text=True).stdout, 10.0)
    rename = "ip link set {0} down; ip link set {0} name {1}; ip link set {1} up"
    addresses = "ip address replace 198.18.1.2/24 dev {1}; ip route replace default via 198.18.1.1 dev {1} metric 100"
    for old, new in (("dsl0", "dsl7"), ("dsl7", "dsl0")):
        matched.run("cpe", ["sh", "-c", f"{rename}; {addresses}".format(old, new)], check=True)
        until(lambda new=new: uplink(matched, "dsl")["interface"] == new, 20.0)
        until(lambda: uplink(matched, "dsl")["state"] == "up", 20.0)
    with matched.in_namespace("lan1"):
        assert fetch() == BODY_BYTES
    matched.hagw_stop("cpe")
    shown = matched.run("cpe", ["ip", "address", "show", "lte0"], capture_output=True, text=True).stdout
    assert "mtu 1500" in shown
    assert "100.64.2.2" not in shown
    assert ",UP" not in shown
