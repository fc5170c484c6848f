"""A CPE enrols with a code, keeps in touch over whichever line is alive, and is out seconds after its revocation."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from plane_lab import own_lab, until

from hagw.lab.gateway import node_directory
from hagw.lab.lab import Lab

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.beside, pytest.mark.timeout(300)]

URL = "http://203.0.113.10/1M.bin"
REVOKED_WITHIN_S = 5.0
FETCHED: list[str] = []  # how each of them went


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab whose gateway has no customer, and whose CPE has no key."""
    with own_lab("enrol", hagw=False) as made:
        directory = tmp_path_factory.mktemp("config")
        hag, cpe = (yaml.safe_load(made.config(node)) for node in ("hag", "cpe"))
        hag["customers"] = []
        for gateway in cpe["gateways"]:
            del gateway["customer"], gateway["key"]
        for node, wanted in (("hag", hag), ("cpe", cpe)):
            file: Path = directory / f"{node}.yaml"
            file.write_text(yaml.safe_dump(wanted), encoding="utf-8")
            made.apply(node, file)
        made.hagw_start("hag")
        yield made


def hagw(lab: Lab, node: str, *words: str, code: int = 0) -> str:
    """Run a verb; return what it prints."""
    done = lab.run(node, ["hagw", *words], capture_output=True, text=True, timeout=30)
    assert done.returncode == code, done.stderr
    return str(done.stdout if code == 0 else done.stderr)


def gateway(lab: Lab) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(hagw(lab, "cpe", "status", "--json"))["gateways"][0]
    return found


def fetch(lab: Lab) -> str:
    """Fetch a file on a LAN host; return how it went: converted, direct."""
    before = {flow["id"] for flow in flows(lab)}
    done = lab.run("lan1", ["curl", "-sSf", "-m", "20", "-o", "/dev/null", URL], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    path = next((flow["path"] for flow in flows(lab) if flow["id"] not in before), "forwarded")
    FETCHED.append(path)
    return path


def flows(lab: Lab, recent_s: int = 0) -> list[dict[str, Any]]:
    words = ("--recent", str(recent_s)) if recent_s else ()
    found: list[dict[str, Any]] = json.loads(hagw(lab, "cpe", "flows", "--json", *words))["flows"]
    return found


def test_enrolment_use_loss_of_the_line_rotation_and_revocation(lab: Lab) -> None:
    code = json.loads(hagw(lab, "hag", "customer", "add", "miller", "--json"))["code"]
    assert "certificate" in hagw(lab, "cpe", "enrol", "hag", code[:20] + "A" * 16, code=5)
    assert json.loads(hagw(lab, "cpe", "enrol", "hag", code, "--json"))["customer"] == "miller"
    assert "used" in hagw(lab, "cpe", "enrol", "hag", code, code=5)
    lab.hagw_start("cpe")
    until(lambda: gateway(lab)["channel"]["state"] == "connected", 10)
    assert fetch(lab) == "converted"
    check_examined(lab)

    first = gateway(lab)["channel"]["uplink"]
    lab.link(first, blackhole="both")
    lost = time.monotonic()
    until(
        lambda: fetch(lab) and gateway(lab)["channel"]["uplink"] not in (first, None), 20
    )  # an idle line is not asked
    print(f"the channel was back over another line after {time.monotonic() - lost:.2f} s")
    lab.link(first, blackhole="none")

    hagw(lab, "hag", "customer", "rotate", "miller")
    until(lambda: not shown(lab)["rotating"], 10)
    until(lambda: gateway(lab)["state"] == "up", 10)
    assert fetch(lab) == "converted"

    check_accounts(lab)
    check_told(lab)

    hagw(lab, "hag", "customer", "revoke", "miller")
    revoked = time.monotonic()
    until(lambda: gateway(lab)["channel"]["state"] == "refused", REVOKED_WITHIN_S)
    print(f"the CPE knew after {time.monotonic() - revoked:.2f} s")
    until(lambda: fetch(lab) != "converted", REVOKED_WITHIN_S)
    print(f"nothing was converted after {time.monotonic() - revoked:.2f} s")
    assert time.monotonic() - revoked < REVOKED_WITHIN_S


def check_examined(lab: Lab) -> None:
    """The examination asks over every line with the enrolment's key, which the configuration does not have."""
    done = lab.run("cpe", ["hagw", "doctor", "--json"], capture_output=True, text=True, timeout=90)
    found = [(finding["id"], finding["severity"]) for finding in json.loads(done.stdout)["findings"]]
    assert {(f"line.{line}.echo", "ok") for line in ("dsl", "lte", "wifi")} <= set(found)
    assert ("gateways", "problem") not in found


def check_accounts(lab: Lab) -> None:
    """What was carried is counted, also while the database is away, and a month's limit holds."""
    until(lambda: counted(lab) >= 1_000_000 * FETCHED.count("converted"), 10)
    database = node_directory(lab.directory, "hag") / "state" / "customers.db"
    before = counted(lab)
    database.rename(database.with_suffix(".away"))
    assert fetch(lab) == "converted"
    spool = database.parent / "usage"
    until(lambda: any(spool.glob("*.json")), 10)
    database.with_suffix(".away").rename(database)
    until(lambda: counted(lab) >= before + 1_000_000, 10)
    assert counted(lab) < before + 1_100_000
    hagw(lab, "hag", "customer", "set", "miller", "--month-bytes", "1 MB")
    until(lambda: fetch(lab) != "converted", 15)
    hagw(lab, "hag", "customer", "set", "miller", "--month-bytes", "none")
    until(lambda: fetch(lab) == "converted", 15, every_s=1.0)


def check_told(lab: Lab) -> None:
    """Limits and probe parameters that the channel carries are acted on."""
    hagw(lab, "hag", "customer", "set", "miller", "--connections", "1")
    until(lambda: gateway(lab)["channel"]["limits"] == {"connections_max": 1}, 5)
    until(lambda: not any(flow["state"] == "relaying" for flow in flows(lab)), 10)
    began = time.monotonic()
    with converted_for_long(lab):
        until(lambda: fetch(lab) == "direct", 20)  # a worker hears of another's flows each second
    why = [flow["why"] for flow in flows(lab, recent_s=60) if "our limit of 1 connections" in flow["why"]]
    print(f"{len(why)} flows beyond the limit went directly; {time.monotonic() - began:.1f} s")
    assert why
    hagw(lab, "hag", "customer", "set", "miller", "--connections", "none")

    file = lab.directory / "hag-other-port.yaml"
    wanted = yaml.safe_load(lab.config("hag"))
    wanted["listen"] |= {"probe_port": 5999, "probing": "gentle"}
    file.write_text(yaml.safe_dump(wanted), encoding="utf-8")
    lab.apply("hag", file)
    until(lambda: fetch(lab) and asked_ports(lab) == {5999}, 10)  # an idle line is not asked
    until(lambda: fetch(lab) == "converted", 10)


@contextmanager
def converted_for_long(lab: Lab) -> Iterator[None]:
    """Have a converted flow that goes on; a worker may not have heard yet that the one before has ended."""
    words = ("curl", "-sS", "-m", "60", "--limit-rate", "100k", "-o", "/dev/null", URL.replace("1M", "10M"))
    deadline = time.monotonic() + 20.0
    while True:
        slow = lab.popen("lan1", list(words))
        try:
            until(lambda: any(flow["state"] == "relaying" for flow in flows(lab)), 10)
            if [flow["path"] for flow in flows(lab) if flow["state"] == "relaying"] == ["converted"]:
                yield
                return
        finally:
            slow.kill()
            slow.wait()
        assert time.monotonic() < deadline, "no flow is converted"


def asked_ports(lab: Lab) -> set[int]:
    """Return the ports that the CPE's echoes go to, of lines that were asked since they were told where."""
    told = lab.run("cpe", ["ss", "-Hun", "state", "connected"], capture_output=True, text=True, check=True).stdout
    return {int(line.split()[-1].rpartition(":")[2]) for line in told.splitlines()}


def counted(lab: Lab) -> int:
    """Return the bytes that the registry knows of, as the gateway counted them."""
    found = json.loads(hagw(lab, "hag", "customer", "usage", "miller", "--json"))["usage"]
    return sum(each["bytes_down"] + each["bytes_up"] for each in found if not each["uplink"])


def shown(lab: Lab) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(hagw(lab, "hag", "customer", "show", "miller", "--json"))
    return found
