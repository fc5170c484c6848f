"""Lines of one family each: an IPv4 and an IPv6 client are both bonded over all of them.

`dsl` has only IPv4 and `lte` only IPv6, towards the HAG as towards everybody; `wifi` has both.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from ends import Ends
from plane_lab import HAG, INET, curl, figures, own_lab, until

from hagw.lab.lab import Lab
from tests.attentive import metered

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.beside]

SIZE = 10_000_000
SHARE = 500_000
LINES = ("dsl", "lte", "wifi")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with own_lab("families", hagw=False) as made:
        for argv in (["-6", "address", "flush", "dev", "dsl0"], ["-4", "address", "flush", "dev", "lte0"]):
            made.run("cpe", ["ip", *argv], check=True)
        for node in ("hag", "cpe"):
            made.hagw_start(node)
        until(lambda: Ends(made).at_rest("cpe"), 10.0)
        yield made


def families_of_subflows(lab: Lab) -> set[str]:
    """Return the lines' addresses that the CPE's connections to the HAG use."""
    shown = lab.run("cpe", ["ss", "-Htn", "dport", "=", "5124"], capture_output=True, text=True, check=True).stdout
    return {
        line.split()[3].rpartition(":")[0].partition("%")[0].strip("[]").removeprefix("::ffff:")
        for line in shown.splitlines()
    }


@pytest.mark.parametrize("family", [4, 6])
def test_a_client_of_either_family_uses_every_line(lab: Lab, family: int) -> None:
    address = f"[{INET[6]}]" if family == 6 else INET[4]
    done = curl(lab, f"http://{address}/10M.bin", "-o", "/dev/null", "-w", "%{local_port} %{size_download}")
    assert done.returncode == 0, done.stderr
    port, size = done.stdout.split()
    assert int(size) == SIZE
    flow = Ends(lab).flow_of(int(port))
    assert flow["path"] == "converted"
    down = {line: flow["by_uplink"].get(line, {"down": 0})["down"] for line in LINES}
    assert min(down.values()) > SHARE, down
    used = families_of_subflows(lab)
    assert "198.18.1.2" in used
    assert "2001:db8:2::2" in used


@pytest.mark.parametrize("survivor", LINES)
def test_any_line_alone_carries_both_families(lab: Lab, survivor: str) -> None:
    with lab.links_restored():
        for line in LINES:
            if line != survivor:
                lab.link(line, carrier="off")
        for url in (f"http://{INET[4]}/1M.bin", f"http://[{INET[6]}]/1M.bin"):
            done = curl(lab, url, "-o", "/dev/null", "-w", "%{local_port}")
            assert done.returncode == 0, done.stderr
            port = int(done.stdout)
            until(lambda port=port: carried(lab, port, survivor) > SHARE, 5.0)  # type: ignore[misc]  # as they were
    until(lambda: {line["state"] for line in lines(lab)} == {"up"}, 15.0)


@pytest.mark.parametrize("family", [4, 6])
def test_a_family_that_breaks_on_a_line_is_left_to_the_other_one(lab: Lab, family: int) -> None:
    """The provider of `wifi` loses the HAG's address of one family, silently and on the way up."""
    way = [f"-{family}", "route", "{}", "blackhole", f"{HAG[family]}/{32 if family == 4 else 128}"]
    address = {4: "192.168.3.2", 6: "2001:db8:3::2"}
    other = address[10 - family]
    with metered(lab) as streams:
        stream = streams.download("lan1", INET[4])
        until(lambda: address[4] in families_of_subflows(lab), 5.0)
        begun_s = stream.elapsed_s()
        lab.run("isp-wifi", ["ip", *(each.format("add") for each in way)], check=True)
        try:
            noticed_s = until(lambda: broken(lab) == [family], 8.0)
            moved_s = noticed_s + until(lambda: other in families_of_subflows(lab), 5.0)
            until(lambda: lines(lab)[2]["state"] == "up", 2.0)
            assert lines(lab)[2]["reason"] == ""
            before = lines(lab)[2]["bytes_down"]
            until(
                lambda: lines(lab)[2]["bytes_down"] - before > SHARE, 5.0
            )  # the transfer that was there uses it again
        finally:
            lab.run("isp-wifi", ["ip", *(each.format("del") for each in way)], check=True)
        gap_s = stream.meter.longest_gap_s(begun_s, stream.elapsed_s())
        figures(f"IPv{family} breaks on one line: noticed; in use by the other family; gap", "ms", [1000 * noticed_s])
        figures("in use by the other family", "ms", [1000 * moved_s])
        figures("gap", "ms", [1000 * gap_s])
        until(lambda: broken(lab) == [], 20.0)
        stream.stop()
    assert gap_s < 0.7


def broken(lab: Lab) -> list[int]:
    """Return the families that status calls broken on `wifi`."""
    return [each["family"] for each in lines(lab)[2]["broken_families"]]


def carried(lab: Lab, port: int, line: str) -> int:
    """Return what a converted flow received over a line."""
    flow = Ends(lab).flow_of(port)
    assert flow["path"] == "converted"
    down: int = flow["by_uplink"].get(line, {"down": 0})["down"]
    return down


def lines(lab: Lab) -> list[dict[str, Any]]:
    """Return the uplinks as the CPE's status has them."""
    done = lab.run("cpe", ["hagw", "status", "--json"], capture_output=True, text=True, check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)["uplinks"]
    return found
