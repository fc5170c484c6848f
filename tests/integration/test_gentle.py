"""A HAG that wants to be asked less says so over the control channel: its CPEs' echoes under load fall to a quarter."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from plane_lab import own_lab, until

from hagw.lab.lab import Lab

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.beside]

URL = "http://203.0.113.10/10M.bin?[1-200]"
SPAN_S = 2.0
ECHO_BYTES = 184  # question and answer
OFTEN_BPS = 3 * ECHO_BYTES * 4 * 0.75  # each line four times a second; doubts ask more, also of who is to be gentle
SELDOM_BPS = 3 * ECHO_BYTES * 4 * 0.7


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab whose CPE has enrolled: it has a control channel."""
    with own_lab("gentle", hagw=False) as made:
        directory = tmp_path_factory.mktemp("config")
        configure(made, directory, "hag", {"customers": []})
        (gateway,) = yaml.safe_load(made.config("cpe"))["gateways"]
        del gateway["customer"], gateway["key"]
        configure(made, directory, "cpe", {"gateways": [gateway]})
        made.hagw_start("hag")
        code = json.loads(hagw(made, "hag", "customer", "add", "miller", "--json"))["code"]
        hagw(made, "cpe", "enrol", "hag", code)
        made.hagw_start("cpe")
        yield made


def configure(lab: Lab, directory: Path, node: str, changes: dict[str, Any]) -> None:
    """Put this node's configuration, with these changes, in force."""
    file = directory / f"{node}.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(lab.config(node)), **changes}), encoding="utf-8")
    lab.apply(node, file)


def hagw(lab: Lab, node: str, *words: str) -> str:
    """Run a verb; return what it prints."""
    done = lab.run(node, ["hagw", *words], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def asked_bps(lab: Lab) -> float:
    """Return the bytes of echoes in a second, all lines, over a short span."""
    began, before = time.monotonic(), _asked(lab)
    time.sleep(SPAN_S)
    return (_asked(lab) - before) / (time.monotonic() - began)


def _asked(lab: Lab) -> int:
    return sum(line["probe_bytes_today"] or 0 for line in _status(lab)["uplinks"])


def _status(lab: Lab) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(hagw(lab, "cpe", "status", "--json"))
    return found


def test_echoes_under_load_become_few_and_many_again(lab: Lab, tmp_path: Path) -> None:
    until(lambda: _status(lab)["gateways"][0]["channel"]["state"] == "connected", 10)
    until(lambda: _status(lab)["state"] == "bonded", 20)
    load = lab.popen("lan1", ["curl", "-sS", "-m", "90", "-o", "/dev/null", URL])
    try:
        until_asked(lab, lambda rate: rate > OFTEN_BPS)
        listen = yaml.safe_load(lab.config("hag"))["listen"]
        configure(lab, tmp_path, "hag", {"customers": [], "listen": {**listen, "probing": "gentle"}})
        until_asked(lab, lambda rate: rate < SELDOM_BPS)
        assert _status(lab)["state"] == "bonded"
        configure(lab, tmp_path, "hag", {"customers": []})
        until_asked(lab, lambda rate: rate > OFTEN_BPS)
    finally:
        load.kill()
        load.wait()


def until_asked(lab: Lab, condition: Callable[[float], bool], within_s: float = 30.0) -> None:
    """Measure until it is so of the last rate."""
    rates: list[float] = []
    try:
        until(lambda: rates.append(asked_bps(lab)) or condition(rates[-1]), within_s)
    finally:
        print(f"{[round(rate) for rate in rates]} bytes of echoes a second")
