"""`lab demo --ui`: the real CPE's page from outside the lab, and where in the lab it can be reached."""

import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from hagw.cli.client import get
from hagw.cli.quick import INTERRUPTED
from hagw.lab.lab import Lab

SOURCE = Path(__file__).parents[2]
pytestmark = [pytest.mark.netns, pytest.mark.beside]


@pytest.fixture(scope="module")
def shown() -> Iterator[tuple[Lab, dict[str, Any]]]:
    name = f"ui-{os.getpid()}"
    before = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout
    argv = [sys.executable, "-m", "hagw", "lab", "--name", name, "demo", "--ui", "--port", "0"]
    with subprocess.Popen(argv, cwd=SOURCE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        try:
            assert demo.stdout is not None
            assert demo.stderr is not None
            line = demo.stdout.readline()
            assert line, demo.stderr.read()
            assert subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout == before
            yield Lab(name), json.loads(line)
        finally:
            demo.send_signal(signal.SIGINT)
            demo.communicate(timeout=30)
    assert demo.returncode == 0
    assert not Lab(name).directory.exists()


@contextmanager
def browser(document: dict[str, Any]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=document["url"], verify=False, timeout=20) as client:
        yield client


def test_the_page_and_the_real_cpes_status_are_seen_from_outside(shown: tuple[Lab, dict[str, Any]]) -> None:
    lab, document = shown
    assert set(document) == {"schema", "url", "user", "password", "fingerprint"}
    port = int(document["url"].rstrip("/").rpartition(":")[2])
    pem = ssl.get_server_certificate(("127.0.0.1", port))
    lab_says = lab.run("cpe", ["hagw", "web", "--fingerprint"], capture_output=True, text=True).stdout.strip()
    assert document["fingerprint"] == lab_says
    assert pem
    with browser(document) as client:
        assert client.get("/").status_code == 200
        body = {"user": document["user"], "password": document["password"]}
        login = client.post("/api/v1/session", json=body)
        assert login.json()["must_change_password"] is True
        assert login.json()["certificate_sha256"] == document["fingerprint"]
        change = {"old_password": document["password"], "password": "a lab horse battery"}
        token = {"x-csrf-token": login.json()["csrf_token"]}
        assert client.post("/api/v1/session/password", json=change, headers=token).status_code == 200
        status = client.get("/api/v1/status").json()
        assert (status["role"], status["state"]) == ("cpe", "bonded")


def test_the_page_is_reached_from_the_lan_and_from_no_uplink(shown: tuple[Lab, dict[str, Any]], tmp_path: Path) -> None:
    lab, _ = shown
    asked = ["curl", "-sk", "-m", "2", "-o", "/dev/null", "-w", "%{http_code}"]
    reached = lab.run("lan1", [*asked, "https://192.168.77.1:8443/"], capture_output=True, text=True)
    assert reached.stdout == "200"
    open_file = tmp_path / "open.yaml"
    open_file.write_text(f"{lab.config('cpe')}\nfirewall: {{enabled: false}}\n")
    lab.apply("cpe", open_file)  # it is not by grace of the firewall
    for node in ("isp-dsl", "isp-lte"):
        for address in lab.topology.nodes["cpe"].addresses:
            refused = lab.run(node, [*asked, f"https://{address.ip}:8443/"], capture_output=True, text=True)
            assert refused.stdout == "000", (node, address)


def test_the_page_has_no_rights(shown: tuple[Lab, dict[str, Any]]) -> None:
    lab, _ = shown
    (pid,) = lab.pids("cpe", "web")
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
    )
    assert status["Uid"].split() == ["65534"] * 4
    assert "0" not in status["Gid"].split()
    assert status["Groups"].strip() == ""
    for capabilities in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[capabilities], 16) == 0
    own = Path(lab.node_env("cpe")["HAGW_RUNTIME_DIR"])
    script = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({str(own / 'hagw.sock')!r})"
    done = subprocess.run([sys.executable, "-c", script], user=65534, group=65534, extra_groups=[], capture_output=True)
    assert b"PermissionError" in done.stderr


def test_both_roles_tell_their_metrics_and_the_counters_of_their_own_kernel(shown: tuple[Lab, dict[str, Any]]) -> None:
    lab, _ = shown
    fetched = lab.run("lan1", ["curl", "-s", "-m", "10", "http://203.0.113.10/1M.bin"], capture_output=True)
    assert len(fetched.stdout) == 1_000_000
    found = {node: metrics(lab, node) for node in ("cpe", "hag")}
    for node in found:
        assert found[node]["hagw_mptcp_connections", ()] > 0, node
    # The CPE begins the joins, the HAG answers them: each tells of its own namespace.
    assert found["cpe"]["hagw_mptcp_mib_total", (("counter", "MPJoinSynTx"),)] > 0
    assert found["hag"]["hagw_mptcp_mib_total", (("counter", "MPJoinSynRx"),)] > 0
    assert found["hag"]["hagw_mptcp_mib_total", (("counter", "MPJoinSynTx"),)] == 0
    assert found["cpe"]["hagw_state", (("state", "bonded"),)] == 1
    carried = sum(value for (name, _), value in found["hag"].items() if name == "hagw_worker_payload_bytes_total")
    assert carried >= 1_000_000


def test_a_webhook_hears_of_a_dead_line_and_of_its_return(shown: tuple[Lab, dict[str, Any]], tmp_path: Path) -> None:
    lab, _ = shown
    heard = tmp_path / "heard"
    file = tmp_path / "cpe.yaml"
    hook = '{name: ops, url: "http://203.0.113.10:8099/T000/secret", secret: correct-horse}'
    file.write_text(f"{lab.config('cpe')}\nalerts:\n  after: 1 s\n  webhooks: [{hook}]\n")
    lab.apply("cpe", file)
    server = lab.popen("inet", [sys.executable, "-c", HOOK, str(heard)])
    try:
        lab.link("wifi", carrier="off")
        assert _heard(heard, 1) == [("raised", "uplink", "wifi")]
        lab.link("wifi", carrier="on")
        assert _heard(heard, 2)[1] == ("recovered", "uplink", "wifi")
    finally:
        server.kill()
        server.wait()
    log = (lab.directory / "nodes" / "cpe" / "daemon.log").read_text()
    assert "event=alert" in log
    assert "T000" not in log
    assert "correct-horse" not in log


HOOK = """
import http.server, sys
class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        with open(sys.argv[1], "ab") as file:
            file.write(body + b"\\n")
        self.send_response(204)
        self.end_headers()
http.server.HTTPServer(("203.0.113.10", 8099), Hook).serve_forever()
"""


def _heard(file: Path, count: int) -> list[tuple[str, str, str]]:
    """Return what a webhook heard, once that is `count` notices."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        lines = file.read_text().splitlines() if file.exists() else []
        if len(lines) >= count:
            break
        time.sleep(0.1)
    return [(each["event"], each["kind"], each["subject"]) for each in map(json.loads, lines)]


def metrics(lab: Lab, node: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return a node's metrics by name and labels."""
    door = Path(lab.node_env(node)["HAGW_RUNTIME_DIR"]) / "hagw.sock"
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(door)), base_url="http://hagw", timeout=10) as client:
        text = client.get("/api/v1/metrics").text
    families = text_string_to_metric_families(text)
    return {(each.name, tuple(each.labels.items())): each.value for family in families for each in family.samples}


def test_a_speed_test_goes_over_its_line_alone_and_ends_when_it_is_interrupted(
    shown: tuple[Lab, dict[str, Any]], tmp_path: Path
) -> None:
    lab, _ = shown
    file = tmp_path / "cpe.yaml"
    file.write_text(f"{lab.config('cpe')}\nspeedtest: {{down: 'http://203.0.113.10/10M.bin'}}\n")
    lab.apply("cpe", file)
    before = lab.status()["links"]
    asked = ["hagw", "speedtest", "dsl", "--json", "--max", "2 MB"]
    done = lab.run("cpe", asked, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["state"], found["bytes"], found["progress"]) == ("done", 2_000_000, 1.0)
    after = lab.status()["links"]
    carried = {name: after[name]["bytes_down"] - before[name]["bytes_down"] for name in ("dsl", "lte", "wifi")}
    assert carried["dsl"] > 2_000_000
    assert carried["lte"] + carried["wifi"] < 1_000_000, carried
    door = Path(lab.node_env("cpe")["HAGW_RUNTIME_DIR"]) / "hagw.sock"
    with lab.popen("cpe", ["hagw", "speedtest", "dsl"], stdout=subprocess.PIPE) as going:
        test = _latest(door, lambda test: test["state"] == "running" and 0 < test["progress"] < 1)
        going.send_signal(signal.SIGINT)
    assert going.returncode == INTERRUPTED
    ended = _latest(door, lambda test: test["state"] != "running")
    assert (ended["id"], ended["state"]) == (test["id"], "cancelled")


def _latest(door: Path, until: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return the latest speed test once it is as wanted."""
    deadline = time.monotonic() + 20
    while not until(
        found := {"state": "none", "progress": 0, **next(iter(get(door, "/speedtests")["speedtests"]), {})}
    ):
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return found


def test_the_page_goes_on_while_the_daemon_is_away(shown: tuple[Lab, dict[str, Any]]) -> None:
    lab, document = shown
    with browser(document) as client:
        for pid in lab.pids("cpe", "daemon"):
            os.kill(pid, signal.SIGKILL)
        assert client.get("/").status_code == 200
        assert client.get("/api/v1/health").status_code == 503
        lab.hagw_start("cpe")
        assert client.get("/api/v1/health").status_code == 401
