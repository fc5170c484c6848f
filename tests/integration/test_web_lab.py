"""`lab demo --ui`: the real CPE's page from outside the lab, and where in the lab it can be reached."""

import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

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
        change = {"old_password": document["password"], "password": "a lab horse battery"}
        token = {"x-csrf-token": login.json()["csrf_token"]}
        assert client.post("/api/v1/session/password", json=change, headers=token).status_code == 200
        status = client.get("/api/v1/status").json()
        assert (status["role"], status["state"]) == ("cpe", "bonded")


def test_the_page_is_reached_from_the_lan_and_from_no_uplink(shown: tuple[Lab, dict[str, Any]]) -> None:
    lab, _ = shown
    asked = ["curl", "-sk", "-m", "3", "-o", "/dev/null", "-w", "%{http_code}"]
    reached = lab.run("lan1", [*asked, "https://192.168.77.1:8443/"], capture_output=True, text=True)
    assert reached.stdout == "200"
    lab.run("cpe", ["nft", "delete", "table", "inet", "hagw"], capture_output=True)  # not by grace of the firewall
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


def test_the_page_goes_on_while_the_daemon_is_away(shown: tuple[Lab, dict[str, Any]]) -> None:
    lab, document = shown
    with browser(document) as client:
        for pid in lab.pids("cpe", "daemon"):
            os.kill(pid, signal.SIGKILL)
        assert client.get("/").status_code == 200
        assert client.get("/api/v1/health").status_code == 503
        lab.hagw_start("cpe")
        assert client.get("/api/v1/health").status_code == 401
