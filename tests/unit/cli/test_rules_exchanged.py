"""`hagw rules`: out of the file and into it again, and nothing half."""

import json
from pathlib import Path

import pytest

from hagw.cli.app import run

FILE = """\
version: 1
role: cpe
lan: {interfaces: [lan0]}
uplinks: [{name: dsl, kind: dsl, interface: dsl0}, {name: lte, kind: wwan, interface: lte0}]
gateways: [{name: hag, addresses: [198.51.100.10]}]  # enrolled
rules:
  - name: films
    precedence: 7
    traffic: {application: [video]}
    steering: {mode: load-balancing, uplinks: [lte, dsl], weights: [30, 70]}
  - name: upload
    precedence: 9
    traffic: {source: [192.168.1.20/32], destination_port: ["22", "8000-8100"], protocol: [tcp], dscp: [af11]}
    steering:
      mode: active-standby
      uplinks: [dsl, lte]
      sending: {mode: load-balancing, uplinks: [lte]}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "hagw.yaml").write_text(FILE)
    monkeypatch.setenv("HAGW_CONFIG", str(tmp_path / "hagw.yaml"))
    return tmp_path / "hagw.yaml"


def test_out_and_in_again_is_the_same(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rules", "export"]) == 0
    document = capsys.readouterr().out
    (tmp_path / "rules.json").write_text(document)
    file.write_text(FILE[: FILE.index("rules:")])
    assert run(["rules", "import", str(tmp_path / "rules.json")]) == 0
    assert "+   - name: films" in capsys.readouterr().out
    assert "# enrolled" in file.read_text(), "the rest is as it was"
    assert run(["rules", "export"]) == 0
    assert capsys.readouterr().out == document


def test_which_line_is_which_access_can_be_said(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rules", "export", "--3gpp", "dsl", "--non-3gpp", "lte"]) == 0
    assert json.loads(capsys.readouterr().out)["traffContDecs"]["films"]["steerModeDl"]["3gLoad"] == 70


def test_what_does_not_reduce_is_told_by_rule_and_changes_nothing(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(FILE.replace("application: [video]", "domain: [example.org]"))
    assert run(["rules", "export"]) == 2
    assert capsys.readouterr().err == f"hagw: {file}: rule films: traffic.domain has no place in it\n"
    before = file.read_text()
    for text, why in (("{", "not valid JSON"), ('{"pccRules": {}}', "traffContDecs: an object is wanted here")):
        (tmp_path / "rules.json").write_text(text)
        assert run(["rules", "import", str(tmp_path / "rules.json")]) == 2
        assert why in capsys.readouterr().err
    assert run(["rules", "import", str(tmp_path / "none.json")]) == 1
    assert file.read_text() == before
