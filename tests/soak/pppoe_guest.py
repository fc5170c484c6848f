"""Run in the guest of `pppoe_line`: a CPE whose DSL line is PPPoE in a VLAN, bonded with two others."""

import platform
import sys
import tempfile
import time
from importlib import resources
from pathlib import Path
from typing import Any, Final

from hagw.lab.gateway import HagwNotReady
from hagw.lab.lab import Lab
from hagw.lab.traffic import Streams
from tests.soak.old_kernel_guest import SERVER, status, until_bonded

WAIT_S: Final = 900.0  # an emulated machine on a busy one
VLAN: Final = "7"
WATCH_S: Final = 5.0
DSL: Final = "- {name: dsl, kind: dsl, interface: dsl0}"
PPPOE: Final = "- {name: dsl, kind: pppoe, interface: ppp0}"
SERVER_OPTIONS: Final = "noauth\nmtu 1492\nmru 1492\nnoccp\nlcp-echo-interval 20\nlcp-echo-failure 5\n"
CLIENT: Final = (
    *("pppd", "plugin", "rp-pppoe.so", f"nic-dsl0.{VLAN}", "noauth", "user", "home", "unit", "0", "mtu", "1492"),
    *("mru", "1492", "noipdefault", "nodefaultroute", "noccp", "lcp-echo-interval", "20", "lcp-echo-failure", "5"),
    *("nodetach", "debug", "logfile", "/tmp/pppd.log"),
)


def main() -> int:
    """Print what was seen, "all is well" at the end if it is; return the exit code."""
    text = resources.files("hagw.lab").joinpath("data/topologies/default.yaml").read_text(encoding="utf-8")
    assert DSL in text
    lab = Lab("pppoe")
    with tempfile.TemporaryDirectory() as directory:
        topology = Path(directory) / "topology.yaml"
        topology.write_text(text.replace(DSL, PPPOE), encoding="utf-8")
        try:
            lab.up(topology=topology, hagw=False)
            serve_pppoe(lab, Path(directory))
            pppd = dial(lab)
            for node in ("hag", "cpe"):
                lab.hagw_start(node, WAIT_S)
            until(lab, lambda lines: set(lines.values()) == {"up"})
            until_bonded(lab)
            carried = over_all_lines(lab)
            pppd.terminate()
            pppd.wait(30)
            until(lab, lambda lines: lines["dsl"] == "down")
            print("pppd has ended:", status(lab)["state"])
            dial(lab)
            until(lab, lambda lines: lines["dsl"] == "up")
            again = over_all_lines(lab)
            print(
                f"Linux {platform.release()}:", "all is well" if carried and again else "NOT all of it over three lines"
            )
            return 0 if carried and again else 1
        except HagwNotReady:
            for log in lab.directory.rglob("daemon.log"):
                print(log, log.read_text(encoding="utf-8", errors="replace"))
            raise
        finally:
            lab.down()


def serve_pppoe(lab: Lab, place: Path) -> None:
    """Have the DSL line carry a VLAN and nothing else, and its provider answer there."""
    for node, port in (("isp-dsl", "cpe0"), ("cpe", "dsl0")):
        lab.run(node, ["ip", "address", "flush", "dev", port], check=True)
        lab.run(
            node, ["ip", "link", "add", "link", port, "name", f"{port}.{VLAN}", "type", "vlan", "id", VLAN], check=True
        )
        lab.run(node, ["ip", "link", "set", f"{port}.{VLAN}", "up"], check=True)
    for family in ("-4", "-6"):
        lab.run("cpe", ["ip", family, "route", "flush", "default", "dev", "dsl0"])
    options = place / "options"
    options.write_text(SERVER_OPTIONS, encoding="utf-8")
    ends = ["-L", "198.18.1.1", "-R", "198.18.1.2", "-N", "1"]
    lab.popen("isp-dsl", ["pppoe-server", "-F", "-I", f"cpe0.{VLAN}", *ends, "-O", str(options)])


def dial(lab: Lab) -> Any:
    """Start pppd on the CPE and wait for its address; return the process."""
    pppd = lab.popen("cpe", CLIENT)
    deadline = time.monotonic() + WAIT_S
    while "198.18.1.2" not in address(lab):
        assert time.monotonic() < deadline, Path("/tmp/pppd.log").read_text(encoding="utf-8", errors="replace")
        assert pppd.poll() is None, Path("/tmp/pppd.log").read_text(encoding="utf-8", errors="replace")
        time.sleep(0.5)
    lab.run("cpe", ["ip", "route", "add", "default", "dev", "ppp0", "metric", "100"], check=True)
    print("dialled in:", " ".join(address(lab).split()))
    return pppd


def address(lab: Lab) -> str:
    """Return what `ip` says of the CPE's ppp0."""
    said = lab.run("cpe", ["ip", "-4", "address", "show", "dev", "ppp0"], capture_output=True, text=True).stdout
    return str(said)


def over_all_lines(lab: Lab) -> bool:
    """Download for some seconds; say whether every line, ppp0 among them, carried some of it."""
    before = received(lab)
    with Streams(lab) as streams:
        stream = streams.download("lan1", SERVER)
        time.sleep(WATCH_S)
        rate = stream.meter.rate_bps(1.0, stream.elapsed_s())
        stream.stop()
    carried = {name: count - before[name] for name, count in received(lab).items()}
    print(f"download: {rate / 1e6:.1f} Mbit/s, bytes by interface:", carried)
    return all(count > 100_000 for count in carried.values())


def received(lab: Lab) -> dict[str, int]:
    """Return the bytes that came in by each of the lines' interfaces."""
    told = lab.run("cpe", ["cat", "/proc/net/dev"], capture_output=True, text=True, check=True).stdout
    lines = (line.partition(":") for line in told.splitlines())
    counted = {name.strip(): int(rest.split()[0]) for name, colon, rest in lines if colon}
    return {name: counted.get(name, 0) for name in ("ppp0", "lte0", "wifi0")}


def until(lab: Lab, holds: Any) -> None:
    """Wait until the lines are as they should be, and print how they are."""
    deadline = time.monotonic() + WAIT_S
    while True:
        told: Any = status(lab)
        lines = {line["name"]: line["state"] for line in told.get("uplinks", [])}
        if (lines and holds(lines)) or time.monotonic() > deadline:
            print("lines:", {line["name"]: (line["state"], line["reason"]) for line in told.get("uplinks", [])})
            return
        time.sleep(1.0)


if __name__ == "__main__":
    sys.exit(main())
