"""Verbs that look: over a pretended gateway, as a user types them."""

import io
import json
import re
import subprocess
import sys
import tarfile
from base64 import urlsafe_b64encode
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from hagw.cli.report import bundle, without_secrets, written
from tests.pretended import Pretended, pretended


def hagw(box: Pretended, *argv: str, **more: str) -> "subprocess.CompletedProcess[str]":
    command = (sys.executable, "-P", "-m", "hagw", *argv)
    environment = {**box.environment, **more}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, cwd=box.directory)


def test_what_users_type(tmp_path: Path) -> None:
    with pretended(tmp_path) as box:
        box.wait("/status", lambda found: found["state"] == "bonded")
        _events(box)
        _speed(box)
        shown = hagw(box, "top", "--looks", "2", "--interval", "0.5")
        assert shown.returncode == 0, shown.stderr
        assert {"dsl", "lte", "wifi"} <= set(shown.stdout.split())
        assert "worker-0.log" in hagw(box, "logs").stdout
        _report(box)
        completed = hagw(box, _HAGW_COMPLETE="complete_bash", COMP_WORDS="hagw speed", COMP_CWORD="1")
        assert completed.stdout.split() == ["speedtest"]


def test_what_is_wrong_and_what_was_recorded(tmp_path: Path) -> None:
    with pretended(tmp_path) as box:
        box.wait("/status", lambda found: found["state"] == "bonded")
        box.wait("/history?series=uplink.dsl.down_bps", lambda found: any(found["series"]["uplink.dsl.down_bps"]))
        assert "uplink.dsl.down_bps" in hagw(box, "series").stdout.splitlines()
        head, *rows = hagw(box, "series", "uplink.dsl.*_bps").stdout.splitlines()
        assert head.split() == ["WHEN", "uplink.dsl.down_bps", "uplink.dsl.up_bps"]
        assert float(rows[-1].split()[2]) > 0
        told = json.loads(hagw(box, "series", "uplink.dsl.down_bps", "--range", "24h", "--json").stdout)
        assert (told["range"], list(told["series"])) == ("24h", ["uplink.dsl.down_bps"])
        document = json.loads(hagw(box, "alerts", "--json").stdout)
        said = hagw(box, "alerts").stdout
        assert ("Nothing is wrong." in said) == (not document["alerts"])
        assert all(each["text"] in said for each in document["alerts"])
        wrong = hagw(box, "series", "--range", "2h")
        assert wrong.returncode != 0
        assert "range" in wrong.stderr


def _events(box: Pretended) -> None:
    found = json.loads(hagw(box, "events", "--json", "--kind", "uplink").stdout)
    assert {event["kind"] for event in found["events"]} == {"uplink"}
    assert "Line dsl is up." in hagw(box, "events").stdout


def _speed(box: Pretended) -> None:
    done = hagw(box, "speedtest", "dsl", "--max", "1 MB", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["state"], found["bytes"]) == (0, "done", 1_000_000)
    assert 2e6 < found["rate_bps"] < 17e6
    assert re.fullmatch(
        r"lte up: [0-9.]+ Mbit/s \(.*\)\n", hagw(box, "speedtest", "lte", "--up", "--max", "1 MB").stdout
    )
    assert hagw(box, "speedtest", "sat").returncode == 5


def _report(box: Pretended) -> None:
    done = hagw(box, "report", "r.tar.gz")
    assert done.returncode == 0, done.stderr
    path = box.directory / "r.tar.gz"
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as archive:
        texts = {m.name: archive.extractfile(m).read().decode() for m in archive.getmembers()}  # type: ignore[union-attr]
    assert json.loads(texts["hagw-report/status.json"])["role"] == "cpe"
    assert "uplinks:" in json.loads(texts["hagw-report/config.json"])["text"]
    assert not any("8f3c1d5e7a9b0246" in text for text in texts.values()), "the customer's key"
    assert hagw(box, "report", "r.tar.gz").returncode == 1, "an existing one is left alone"


def test_a_configuration_in_a_report_has_no_secret_however_short() -> None:
    text = "alerts:\n  webhooks:\n  - {name: ops, url: 'https://h.example/T0/horse', secret: horse123}\n"
    assert "horse" not in without_secrets(written({"schema": 1, "text": text, "generation": 3}))


BYTES = st.binary(min_size=32, max_size=32)
SECRET = st.one_of(BYTES.map(bytes.hex), BYTES.map(lambda raw: urlsafe_b64encode(raw).decode().rstrip("=")))
AROUND = st.sampled_from(
    (
        "key: {}",
        '"key": "{}"',
        "Authorization: Bearer {}",
        "token={}",
        "customer home, key {}.",
        "['{}']",
        "x\n{}\ny",
        "url: http://u:{}@h/",
    )
)


@given(st.lists(st.tuples(SECRET, AROUND), min_size=1, max_size=5))
def test_no_secret_is_in_a_report(found: list[tuple[str, str]]) -> None:
    text = "\n".join(around.format(secret) for secret, around in found)
    with tarfile.open(fileobj=io.BytesIO(bundle({"log": text}, 0.0))) as archive:
        member = archive.extractfile("hagw-report/log")
        assert member is not None
        told = member.read().decode()
    assert not [secret for secret, _ in found if secret in told]


def test_what_is_no_secret_stays() -> None:
    text = "uplink changed uplink=dsl state=up at 2001:db8:1200:11:22:33:44:55 put route4 unicast default via 10.64.1.1"
    assert without_secrets(text) == text
